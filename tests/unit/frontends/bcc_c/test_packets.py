"""Network programs: what their context leads to, and headers that are read through the kernel."""

from __future__ import annotations

import pytest
from tests.unit.frontends.bcc_c.fixture import FixtureTarget, compile_text

from trapline.codegen import compile_module
from trapline.errors import SemanticError, UnsupportedError
from trapline.frontends.bcc_c.prelude.packets import _HEADERS
from trapline.ir import function as f
from trapline.ir.passes import run

XDP = "struct xdp_md { u32 data, data_end; };\n"
SKB = "struct __sk_buff { u32 len, mark, data, data_end; };\n"


def helpers(text: str) -> list[str]:
    """Return the helpers that a text calls, and ``load N`` for its reads of N bytes of a packet."""
    module = run(compile_text(text).module)
    found = []
    for op in (op for program in module.programs for op in program.function.ops()):
        if isinstance(op, f.Helper):
            found.append(op.name)
        elif isinstance(op, f.LoadPacket):
            found.append(f"load {op.size}")
    return found


def test_packets_are_read_directly() -> None:
    text = (
        XDP
        + """
    int f(struct xdp_md *ctx) {
        u8 *data = (void *)(long)ctx->data;
        if ((void *)(data + 1) > (void *)(long)ctx->data_end) return 1;
        return *data;
    }
    int g(struct pt_regs *ctx) { return *(u8 *)ctx->di; }
    """
    )
    assert helpers(text) == ["probe_read"]  # of g alone
    assert [p.type for p in compile_text(text).module.programs] == ["XDP", "KPROBE"]


def test_the_context_of_a_network_program_may_be_written() -> None:
    assert helpers(SKB + "int f(struct __sk_buff *skb) { skb->mark = 3; return 0; }") == []
    with pytest.raises(SemanticError, match="cannot write to the context"):
        helpers("int f(struct pt_regs *ctx) { ctx->di = 3; return 0; }")


HEADER = (
    SKB
    + """
int f(struct __sk_buff *skb) {
    u8 *cursor = 0;
    struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
    struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
    BODY
}
"""
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return ip->hlen;", ["load 1"]),
        ("return ethernet->src == 0 && ip->dst;", ["load 4", "load 2", "load 4"]),
        ("return incr_cksum_l3(&ip->hchecksum, ip->src, 1u);", ["load 4", "l3_csum_replace"]),
        ("return incr_cksum_l4(&ip->hchecksum, 1, (u16)2, 1);", ["l4_csum_replace"]),
        ("ip->ttl = 3; return 0;", ["skb_store_bytes"]),
        ("ip->hlen = 3; return 0;", ["load 1", "skb_store_bytes"]),
        ("return load_half(skb, (u64)cursor) + bpf_dext_pkt(skb, 3, 2, 5);", ["load 2", "load 1"]),
    ],
)
def test_headers_are_read_through_the_kernel(body: str, expected: list[str]) -> None:
    assert helpers(HEADER.replace("BODY", body)) == expected


def test_headers_of_a_script() -> None:
    text = SKB + "struct mine_t { u32 a : 4, b : 12; u16 c; } BPF_PACKET_HEADER;\n"
    text += "int f(struct __sk_buff *skb) { struct mine_t *p = 0; return p->b + p->c; }"
    assert helpers(text) == ["load 2", "load 2"]


def test_bits_must_be_constants() -> None:
    with pytest.raises(UnsupportedError, match="must be constants"):
        helpers(HEADER.replace("BODY", "return bpf_dext_pkt(skb, 0, skb->len, 3);"))


def test_sizes_of_headers() -> None:
    sizes = {"ethernet_t": 14, "dot1q_t": 4, "arp_t": 28, "ip_t": 20, "ip6_t": 40, "ip6_opt_t": 8, "udp_t": 8}
    sizes |= {"tcp_t": 20, "icmp_t": 4, "icmp6_t": 4, "vxlan_t": 8, "vxlan_gbp_t": 8}
    assert sizes.keys() == _HEADERS.keys()
    checks = "".join(f"_Static_assert(sizeof(struct {tag}) == {size}, {tag!r});" for tag, size in sizes.items())
    compile_text(checks.replace("'", '"') + "int f(void *ctx) { return 0; }")


def test_code_is_made() -> None:
    module = compile_text(HEADER.replace("BODY", "return ip->ver;")).module
    assert compile_module(module, FixtureTarget()).programs[0].instructions
