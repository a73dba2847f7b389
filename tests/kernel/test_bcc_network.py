"""Network programs of BCC scripts: socket filters, XDP, traffic control, cgroups; by pointers and by cursors."""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.limits import scaled

from trapline.bcc import BPF, BPFAttachType
from trapline.bcc.failures import BccError
from trapline.engine import network

pytestmark = pytest.mark.limit(60)


@contextlib.contextmanager
def receiver() -> Iterator[tuple[socket.socket, int]]:
    """Open a UDP socket on lo; yields it and its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(0.3)
        yield opened, opened.getsockname()[1]


def send(port: int, data: bytes = b"hello") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, ("127.0.0.1", port))


def arrives(receiving: socket.socket, port: int) -> bool:
    send(port)
    try:
        return receiving.recv(100) == b"hello"
    except TimeoutError:
        return False


POINTERS = r"""
#include <uapi/linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
BPF_ARRAY(seen, u64, 2);
static inline int is_ours(void *data, void *data_end)
{
    struct ethhdr *eth = data;
    if (data + sizeof(*eth) > data_end || eth->h_proto != htons(ETH_P_IP))
        return 0;
    struct iphdr *ip = data + sizeof(*eth);
    if ((void *)(ip + 1) > data_end || ip->protocol != IPPROTO_UDP)
        return 0;
    struct udphdr *udp = (void *)ip + ip->ihl * 4;
    if ((void *)(udp + 1) > data_end)
        return 0;
    return udp->dest == htons(PORT);
}
int on_xdp(struct xdp_md *ctx)
{
    void *data_end = (void *)(long)ctx->data_end;
    void *data = (void *)(long)ctx->data;
    if (!is_ours(data, data_end))
        return XDP_PASS;
    seen.increment(0);
    return XDP_DROP;
}
int on_tc(struct __sk_buff *skb)
{
    if (!is_ours((void *)(long)skb->data, (void *)(long)skb->data_end))
        return TC_ACT_OK;
    seen.atomic_increment(1, skb->len);
    return TC_ACT_SHOT;
}
"""


def test_xdp_drops_packets() -> None:
    with receiver() as (receiving, port), BPF(text=POINTERS, cflags=[f"-DPORT={port}"]) as b:
        fn = b.load_func("on_xdp", BPF.XDP)
        assert arrives(receiving, port)
        BPF.attach_xdp("lo", fn, BPF.XDP_FLAGS_SKB_MODE)
        assert not arrives(receiving, port)
        assert b["seen"][0].value == 1
        b.attach_xdp("lo", fn, BPF.XDP_FLAGS_SKB_MODE)  # replaces it
        assert not arrives(receiving, port)
        BPF.remove_xdp("lo")
        assert arrives(receiving, port)
        b.attach_xdp("lo", fn, BPF.XDP_FLAGS_SKB_MODE)
        b.cleanup()
        assert arrives(receiving, port)


def test_programs_are_run_on_a_packet() -> None:
    text = r"""
    int swap(struct xdp_md *ctx)
    {
        u8 *data = (void *)(long)ctx->data;
        if ((void *)(data + 14) > (void *)(long)ctx->data_end || data[12] != 8)
            return XDP_DROP;
        u8 first = data[0];
        data[0] = data[6];
        data[6] = first;
        return XDP_TX;
    }"""
    from trapline.bcc.libbcc import bpf_test_run_opts, lib

    packet = bytes(range(12)) + b"\x08\0" + bytes(50)
    with BPF(text=text) as b:
        fn = b.load_func("swap", BPF.XDP)
        given, made = ct.create_string_buffer(packet, len(packet)), ct.create_string_buffer(200)
        size, result, duration = ct.c_uint32(), ct.c_uint32(), ct.c_uint32()
        outcome = (ct.byref(size), ct.byref(result), ct.byref(duration))
        assert lib.bpf_prog_test_run(fn.fd, 1, ct.byref(given), len(packet), ct.byref(made), *outcome) == 0
        assert (result.value, size.value) == (BPF.XDP_TX, len(packet))
        assert made.raw[: len(packet)] == b"\x06" + packet[1:6] + b"\0" + packet[7:]
        dropped = ct.create_string_buffer(bytes(64), 64)
        opts = bpf_test_run_opts(data_in=ct.addressof(dropped), data_size_in=64, repeat=3)
        assert lib.bpf_prog_test_run_opts(fn.fd, ct.byref(opts)) == 0 and opts.retval == BPF.XDP_DROP
        assert lib.bpf_prog_test_run(-1, 1, given, len(packet), None, None, None, None) < 0


def test_xdp_of_others() -> None:
    from trapline.syscall.netlink import set_xdp_program

    index = network.interface_index("lo")
    with receiver() as (receiving, port), BPF(text=POINTERS, cflags=[f"-DPORT={port}"]) as b:
        fn = b.load_func("on_xdp", BPF.XDP)
        set_xdp_program(index, fn.fd, BPF.XDP_FLAGS_SKB_MODE)
        try:
            assert not arrives(receiving, port)
            with pytest.raises(BccError, match="Failed to attach BPF to device lo") as caught:
                b.attach_xdp("lo", fn, BPF.XDP_FLAGS_SKB_MODE | BPF.XDP_FLAGS_UPDATE_IF_NOEXIST)
            assert caught.value.hint == "another XDP program is attached there"
            b.attach_xdp("lo", fn, BPF.XDP_FLAGS_SKB_MODE)
            b.remove_xdp("lo")
            assert arrives(receiving, port)
            set_xdp_program(index, fn.fd, BPF.XDP_FLAGS_SKB_MODE)
        finally:
            b.remove_xdp("lo", BPF.XDP_FLAGS_SKB_MODE)
        assert arrives(receiving, port)


def test_traffic_control_programs_load() -> None:
    with BPF(text=POINTERS, cflags=["-DPORT=1"]) as b:
        for kind in (BPF.SCHED_CLS, BPF.SCHED_ACT):
            assert b.load_func("on_tc", kind).fd > 0
        with pytest.raises(BccError, match="arg 1 must be of type"):
            b.attach_xdp("lo", 3)
        with pytest.raises(BccError, match="no network interface nosuch"):
            b.attach_xdp("nosuch", b.load_func("on_xdp", BPF.XDP))


CURSORS = r"""
#include <bcc/proto.h>
BPF_HASH(ports, u32, u64);
int filter(struct __sk_buff *skb)
{
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    if (!(ethernet->type == 0x0800))
        goto DROP;
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    if (ip->nextp != IPPROTO_UDP || ip->ver != 4)
        goto DROP;
    u32 header = ip->hlen << 2;
    void *_ = cursor_advance(cursor, header - sizeof(*ip));
    struct udp_t *udp = cursor_advance(cursor, sizeof(*udp));
    if (udp->dport != PORT || ip->dst != 0x7f000001 || ethernet->src != 0)
        goto DROP;
    u32 key = udp->dport;
    u64 first = load_byte(skb, cursor), zero = 0, *count = ports.lookup_or_try_init(&key, &zero);
    if (count)
        *count += first + (load_half(skb, (u64)cursor) << 8) + ((u64)load_word(skb, (u64)cursor) << 24);
    return -1;
DROP:
    return 0;
}
"""


def test_socket_filters_and_cursors() -> None:
    with receiver() as (_, port), BPF(text=CURSORS, cflags=[f"-DPORT={port}"]) as b:
        fn = b.load_func("filter", BPF.SOCKET_FILTER)
        BPF.attach_raw_socket(fn, "lo")
        try:
            send(port + 1 if port < 65535 else 1, b"other")
            send(port)
            end = time.monotonic() + scaled(10)
            packet = b""
            while not packet and time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    packet = os.read(fn.sock, 2048)
            assert packet.endswith(b"hello")
            first, half, word = ord("h"), 0x6865, 0x68656C6C
            # lo shows each packet as sent and as received
            assert b["ports"][ct.c_uint(port)].value in [n * (first + (half << 8) + (word << 24)) for n in (1, 2)]
        finally:
            os.close(fn.sock)


# The place of the payload is known when the packet comes; what the loop reads is compared one by one.
PAYLOAD = r"""
#include <bcc/proto.h>
BPF_ARRAY(greetings, u64, 1);
int filter(struct __sk_buff *skb)
{
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    if (ethernet->type != 0x0800 || skb->pkt_type == 4)  // lo shows each packet as sent, too
        return 0;
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    struct udp_t *udp = cursor_advance(cursor, sizeof(*udp));
    if (ip->nextp != 17 || udp->dport != PORT)
        return 0;
    u32 header = ip->hlen << 2, more = (load_byte(skb, 42) >> 7) << 2;
    u32 start = 22 + header + more, length = ip->tlen - header - more;
    if (length < 13)
        return 0;
    unsigned long text[5];
    int i, j = 0;
    for (i = start; i < start + 5; i++)
        text[j++] = load_byte(skb, i);
    if (text[0] == 'h' && text[1] == 'e' && text[2] == 'l' && text[3] == 'l' && text[4] == 'o')
        greetings.increment(0);
    return 0;
}
"""


def test_a_loop_over_bytes_of_a_packet() -> None:
    with receiver() as (receiving, port), BPF(text=PAYLOAD, cflags=[f"-DPORT={port}"]) as b:
        fn = b.load_func("filter", BPF.SOCKET_FILTER)
        BPF.attach_raw_socket(fn, "lo")
        try:
            receiving.settimeout(scaled(10))
            for data in (b"hello", b"hells", b"hi", b"hello, world"):  # the third ends before the loop
                send(port, data)
                assert receiving.recv(100) == data  # which the filter has seen then
            assert b["greetings"][0].value == 2
        finally:
            os.close(fn.sock)


@pytest.fixture
def cgroup() -> Iterator[int]:
    root = Path("/sys/fs/cgroup")
    if not (root / "cgroup.procs").exists():
        root = root / "unified"
    if not (root / "cgroup.procs").exists():
        pytest.skip("needs cgroup2")
    path = root / f"trapline_{uuid.uuid4().hex[:8]}"
    path.mkdir()
    before = (root / "cgroup.procs", str(os.getpid()))
    (path / "cgroup.procs").write_text(str(os.getpid()))
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    before[0].write_text(before[1])
    path.rmdir()


CGROUPS = r"""
BPF_ARRAY(bytes, u64, 1);
int on_egress(struct __sk_buff *skb) { bytes.atomic_increment(0, skb->len); return 1; }
int on_connect(struct bpf_sock_addr *ctx)
{
    if (ctx->user_port == htons(FROM))
        ctx->user_port = htons(TO);
    return 1;
}
int on_create(struct bpf_sock *sk) { return sk->type != SOCK_RAW; }
"""


def test_cgroup_programs(cgroup: int) -> None:
    with receiver() as (receiving, port), BPF(text=CGROUPS, cflags=["-DFROM=9", f"-DTO={port}"]) as b:
        egress = b.load_func("on_egress", BPF.CGROUP_SKB)
        connect = b.load_func("on_connect", BPF.CGROUP_SOCK_ADDR, attach_type=BPFAttachType.CGROUP_INET4_CONNECT)
        BPF.attach_func(egress, cgroup, BPFAttachType.CGROUP_INET_EGRESS)
        BPF.attach_func(connect, cgroup, BPFAttachType.CGROUP_INET4_CONNECT)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", 9))
                assert sender.getpeername()[1] == port
                sender.send(b"hello")
            assert receiving.recv(100) == b"hello"
            assert b["bytes"][0].value == 20 + 8 + 5
        finally:
            BPF.detach_func(connect, cgroup, BPFAttachType.CGROUP_INET4_CONNECT)
            BPF.detach_func(egress, cgroup, BPFAttachType.CGROUP_INET_EGRESS)
        with pytest.raises(BccError, match="Failed to detach BPF function with attach_type 1"):
            BPF.detach_func(egress, cgroup, BPFAttachType.CGROUP_INET_EGRESS)
        create = b.load_func("on_create", BPF.CGROUP_SOCK)
        BPF.attach_func(create, cgroup, BPFAttachType.CGROUP_INET_SOCK_CREATE)
        try:
            with pytest.raises(PermissionError):
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        finally:
            BPF.detach_func(create, cgroup, BPFAttachType.CGROUP_INET_SOCK_CREATE)


STORAGE = r"""
BPF_SK_STORAGE(sockets, u64);
BPF_CGROUP_STORAGE(groups, u64);
BPF_ARRAY(packets, u64, 1);
int on_egress(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    if (!sk)
        return 1;
    sk = bpf_sk_fullsock(sk);
    if (!sk)
        return 1;
    u64 *bytes = sockets.sk_storage_get(sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (bytes)
        *bytes += skb->len;
    u64 *count = groups.get_local_storage(0);
    *count += 1;
    int zero = 0;
    packets.update(&zero, count);
    return 1;
}
"""


def test_storage_of_sockets_and_cgroups(cgroup: int) -> None:
    with receiver() as (_, port), BPF(text=STORAGE) as b:
        fn = b.load_func("on_egress", BPF.CGROUP_SKB)
        BPF.attach_func(fn, cgroup, BPFAttachType.CGROUP_INET_EGRESS)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(2):
                    sender.sendto(b"hello", ("127.0.0.1", port))
                assert b["sockets"][ct.c_int(sender.fileno())].value == 2 * (20 + 8 + 5)
            assert b["packets"][0].value == 2
        finally:
            BPF.detach_func(fn, cgroup, BPFAttachType.CGROUP_INET_EGRESS)


REDIRECT = r"""
BPF_SOCKMAP(back, 4);
BPF_SOCKHASH(known, u32, 4);
int on_parse(struct __sk_buff *skb) { return skb->len; }
int on_data(struct __sk_buff *skb) { return back.sk_redirect_map(skb, 0, 0); }
int on_message(struct sk_msg_md *msg)
{
    u32 key = 7;
    char *data = msg->data;
    if (data + 1 > (char *)msg->data_end || data[0] != 'x')
        return SK_PASS;
    return known.msg_redirect_hash(msg, &key, BPF_F_INGRESS);
}
int on_state(struct bpf_sock_ops *ops)
{
    u32 key = ops->local_port;
    if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
        known.sock_hash_update(ops, &key, BPF_NOEXIST);
    return 0;
}
"""


def test_socket_maps() -> None:
    with BPF(text=REDIRECT) as b:
        assert b.load_func("on_message", BPF.SK_MSG).fd > 0
        assert b.load_func("on_state", BPF.SOCK_OPS).fd > 0
        back = b["back"].get_fd()
        BPF.attach_func(b.load_func("on_parse", BPF.SK_SKB), back, BPFAttachType.SK_SKB_STREAM_PARSER)
        BPF.attach_func(b.load_func("on_data", BPF.SK_SKB), back, BPFAttachType.SK_SKB_STREAM_VERDICT)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                client.settimeout(scaled(10))
                b["back"][ct.c_uint(0)] = ct.c_int(accepted.fileno())
                client.sendall(b"hey")
                assert client.recv(10) == b"hey"  # what it sent, out of the other end's socket


WRITING = r"""
#include <bcc/proto.h>
static inline int leave_when_short(struct __sk_buff *skb, u8 *cursor) { return load_byte(skb, (u64)cursor + 1000); }
int on_packet(struct __sk_buff *skb)
{
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    ethernet->dst = 0x010203040506;
    ip->ttl = 7;
    ip->foffset = 0x1ff;
    ip->df = 1;
    ip->foffset += 1;
    skb->mark = 5;
    return ip->ttl + ip->foffset + (ip->df << 10) + (ip->mf << 11) + (ethernet->dst & 0xff) + skb->mark;
}
int on_checksum(struct __sk_buff *skb)
{
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    u32 source = ip->src;
    incr_cksum_l3(&ip->hchecksum, source, 0x7f000001U);
    ip->src = 0x7f000001;
    u64 sum = 0;
    for (int i = 0; i < 10; i++)
        sum += load_half(skb, 14 + 2 * i);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)sum;
}
int on_short(struct __sk_buff *skb)
{
    u8 *cursor = 0;
    return leave_when_short(skb, cursor) + 1;
}
"""


def test_packets_are_written() -> None:
    with BPF(text=WRITING) as b:
        packet = bytes(64)
        result = b.load_func("on_packet", BPF.SCHED_CLS).program.program.run(data=packet)
        assert result == 7 + 0x200 + (1 << 10) + 6 + 5
        header = bytes.fromhex("45000034 1f2e 4000 4006 0000 c0a80102 0a000001")
        total = sum(int.from_bytes(header[i : i + 2], "big") for i in range(0, 20, 2))
        checksum = 0xFFFF - (total % 0xFFFF)
        packet = bytes(14) + header[:10] + checksum.to_bytes(2, "big") + header[12:] + bytes(40)
        assert b.load_func("on_checksum", BPF.SCHED_CLS).program.program.run(data=packet) == 0xFFFF
        assert b.load_func("on_short", BPF.SCHED_CLS).program.program.run(data=packet) == 0
