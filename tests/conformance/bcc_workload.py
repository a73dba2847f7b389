"""What makes BCC's tools print something: functions that a child runs under the name `COMM`.

Most are those of tool_workload.py; here are the ones that only BCC's tools need.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable

from tests.conformance import tool_workload
from tests.harness.limits import scaled

COMM = "bccwork"
_LIBC = ctypes.CDLL(None, use_errno=True)
TERMINAL = "TRAPLINE_BENCH_TERMINAL"  # the variable that names it
OUTPUT = "TRAPLINE_BENCH_OUTPUT"  # and the file that takes what the tool prints
PATIENCE = 5.0  # seconds that a workload may take on an idle machine
_SHM_KEY = 0x54524150
_EVER = 2**31 - 1
_RTM_NEWQDISC, _RTM_DELQDISC, _TC_H_ROOT = 36, 37, 0xFFFFFFFF
_NLM_F_REQUEST_ACK_CREATE = 0x405
_SO_PROTOCOL = 38
_PLACE = "/tmp/trapline-bcc"


def named() -> None:
    """Open, write, sync, read, rename and delete a file with a name of its own, and miss one."""
    os.makedirs(_PLACE, exist_ok=True)
    path = f"{_PLACE}/first-name"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x" * 5000)
    os.fsync(fd)
    os.pread(fd, 5000, 0)
    os.close(fd)
    for look in (os.stat, lambda path: os.open(path, os.O_RDONLY)):
        with contextlib.suppress(OSError):
            look("/no-such-file-for-bcc")
    os.statvfs("/tmp")
    os.rename(path, f"{_PLACE}/second-name")
    time.sleep(0.05)
    os.unlink(f"{_PLACE}/second-name")


def listing() -> None:
    """Read the directory and a file in it, again and again for a second."""
    os.makedirs(_PLACE, exist_ok=True)
    path = f"{_PLACE}/often-read"
    with open(path, "wb") as file:
        file.write(b"y" * 3000)
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        os.listdir(_PLACE)
        fd = os.open(path, os.O_RDWR)
        os.read(fd, 3000)
        os.write(fd, b"z" * 100)
        os.close(fd)
        os.sync()
        time.sleep(0.02)
    os.unlink(path)


def tcp_and_wait() -> None:
    """Send 3,000 bytes through a TCP connection of both families, one after the other, and stay for a while."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            server = socket.create_server((host, 54321), family=family, backlog=100)
        except OSError:
            continue
        client = socket.create_connection((host, 54321))
        accepted, _ = server.accept()
        client.sendall(b"x" * 3000)
        time.sleep(0.3)
        client.close()
        while accepted.recv(4096):
            pass
        accepted.close()
        server.close()
    time.sleep(1.2)


def mount() -> None:
    """Mount and unmount a file system in memory."""
    os.makedirs(_PLACE, exist_ok=True)
    for _ in range(2):
        _LIBC.mount(b"bccdev", _PLACE.encode(), b"tmpfs", 0, b"size=1m")
        _LIBC.umount(_PLACE.encode())


def shared_memory() -> None:
    """Make, map, unmap and remove a System V shared memory segment of 4,096 bytes."""
    _LIBC.shmat.restype = ctypes.c_void_p
    number = _LIBC.shmget(_SHM_KEY, 4096, 0o1600)
    address = _LIBC.shmat(number, None, 0)
    _LIBC.shmdt(ctypes.c_void_p(address))
    _LIBC.shmctl(number, 0, None)


def pass_file() -> None:
    """Send an open file through a Unix socket and take it out."""
    left, right = socket.socketpair()
    fd = os.open("/etc/passwd", os.O_RDONLY)
    left.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    right.recvmsg(10, 100)


def threads() -> None:
    """Let threads take turns for a second."""
    lock = threading.Lock()
    until = time.monotonic() + 1.0

    def turn() -> None:
        while time.monotonic() < until:
            with lock:
                sum(range(500))
            time.sleep(0.001)

    started = [threading.Thread(target=turn) for _ in range(3)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def allocate() -> None:
    """Allocate with the C library, and keep it."""
    _LIBC.malloc.restype = ctypes.c_void_p
    for _ in range(10):
        _LIBC.malloc(ctypes.c_size_t(70_001))
    time.sleep(2.5)


def ext4() -> None:
    """Write, sync and read a file of an ext4 file system."""
    image, place = "/tmp/trapline-ext4.img", "/tmp/trapline-ext4"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    os.makedirs(place, exist_ok=True)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-t", "ext4", "-o", "loop", image, place], check=True)
    fd = os.open(f"{place}/ext4-file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x" * 4096)
    os.fsync(fd)
    os.close(fd)
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("1")
    fd = os.open(f"{place}/ext4-file", os.O_RDWR)
    os.pread(fd, 4096, 0)
    os.close(fd)
    subprocess.run(["umount", place], check=True)
    os.unlink(image)


def btrfs() -> None:
    """Write, sync and read a file of a Btrfs file system."""
    tool_workload.use_image("btrfs")


def f2fs() -> None:
    """Write, sync and read a file of an F2FS file system."""
    tool_workload.use_image("f2fs")


def huge() -> None:
    """Ask for more huge pages than there is memory, so that the kernel reclaims pages and moves them together."""
    # An emulated Linux 6.1 needs half a minute for it. The kernel stops at a signal: if this process were killed in
    # between, nobody would give the pages back.
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, scaled(PATIENCE - 1))
    for count in ("100000", "0"):
        _write("/proc/sys/vm/nr_hugepages", count)


def typing() -> None:
    """Write to the terminal of the bench, a text and two parts: only the latter is an array to Linux 6.0 and later."""
    fd = os.open(os.environ[TERMINAL], os.O_WRONLY | os.O_NOCTTY)
    os.write(fd, b"hello terminal\n")
    os.writev(fd, [b"hello terminal in parts\n", b"\n"])
    os.close(fd)


def buffers() -> None:
    """List and read as `listing`, and write to a block device through the page cache."""
    tool_workload.writeback()
    listing()


def drop() -> None:
    """Let the SYN of a connection be dropped on its way out, by a queue that drops all."""
    _change_queue(_RTM_NEWQDISC, b"blackhole")
    try:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", 54322))
        time.sleep(0.2)
        client.close()
    finally:
        _change_queue(_RTM_DELQDISC, b"blackhole")


def _change_queue(kind: int, name: bytes) -> None:
    """Set or delete the queueing discipline of the loopback interface."""
    # struct tcmsg, and an attribute: TCA_KIND
    body = struct.pack("=BxxxiIII", 0, socket.if_nametoindex("lo"), 0, _TC_H_ROOT, 0)
    body += struct.pack("=HH", 4 + len(name) + 1, 1) + name.ljust((len(name) + 4) & ~3, b"\0")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST_ACK_CREATE, 1, 0) + body)
        error = struct.unpack_from("=i", kernel.recv(1000), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def resolve_rdma() -> None:
    """Let the RDMA connection manager find the device to an address, one made of the loopback interface."""
    for word in ("rdma_rxe", "rdma_ucm"):
        subprocess.run(["modprobe", word], check=True)
    subprocess.run(["rdma", "link", "add", "trapline0", "type", "rxe", "netdev", "lo"], check=True)
    fd = os.open("/dev/infiniband/rdma_cm", os.O_RDWR)
    answer = ctypes.c_uint32()
    # struct rdma_ucm_create_id: RDMA_PS_TCP, IB_QPT_RC
    create = struct.pack("=QQHB5x", 1, ctypes.addressof(answer), 0x106, 2)
    os.write(fd, struct.pack("=IHH", 0, len(create), 4) + create)
    # struct rdma_ucm_resolve_ip: from any address to 127.0.0.1, within a second
    to = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 7471) + socket.inet_aton("127.0.0.1") + bytes(20)
    resolve = bytes(28) + to + struct.pack("=II", answer.value, 1000)
    os.write(fd, struct.pack("=IHH", 3, len(resolve), 0) + resolve)
    time.sleep(0.5)
    os.close(fd)
    subprocess.run(["rdma", "link", "delete", "trapline0"], check=True)


def protocol() -> None:
    """Add to what the tool prints which protocol a TCP socket got."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made, open(os.environ[OUTPUT], "a") as output:
        output.write(f"{COMM}: protocol {made.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL)}\n")


def nfs() -> None:
    """Write, sync, read and look at a file of an NFS server in this kernel."""
    export, place = "/tmp/trapline-export", "/tmp/trapline-nfs"
    for path in (export, place):
        os.makedirs(path, exist_ok=True)
    subprocess.run(["modprobe", "nfsd"], check=True)
    if not os.path.exists("/proc/fs/nfsd/threads"):
        subprocess.run(["mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd"], check=True)
    for version in ("-2\n", "-3\n", "+4\n"):  # the older ones want rpcbind
        with contextlib.suppress(OSError):
            _write("/proc/fs/nfsd/versions", version)
    # What mountd would answer: who 127.0.0.1 is, what the file system 0 is, and that it may be written.
    for cache, line in (
        ("auth.unix.ip", f"nfsd 127.0.0.1 {_EVER} bench\n"),
        ("nfsd.fh", f"bench 1 \\x00000000 {_EVER} {export}\n"),
        ("nfsd.export", f"bench {export} {_EVER} {0x2412} 65534 65534 0\n"),
    ):
        _write(f"/proc/net/rpc/{cache}/channel", line)
    _write("/proc/fs/nfsd/nfsv4gracetime", "10")  # no file is opened before
    _write("/proc/fs/nfsd/portlist", "tcp 2049\n")
    _write("/proc/fs/nfsd/threads", "2")
    options = b"vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1"
    if _LIBC.mount(b"127.0.0.1:/", place.encode(), b"nfs4", 0, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    fd = os.open(f"{place}/nfs-file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"data")
    os.fsync(fd)
    os.pread(fd, 4, 0)
    os.close(fd)
    os.stat(f"{place}/nfs-file")
    subprocess.run(["umount", place], check=True)
    _write("/proc/fs/nfsd/threads", "0")


def nodes() -> None:
    """Run on a processor of one NUMA node, then on one of another."""
    for node in (0, 1, 0, 1):
        cpus = f"/sys/devices/system/node/node{node}/cpulist"
        if not os.path.exists(cpus):
            with open(os.environ[OUTPUT], "a") as output:
                output.write("The machine has one NUMA node.\n")
            return
        with open(cpus) as file:
            os.sched_setaffinity(0, {int(re.split("[,-]", file.read())[0])})
        time.sleep(0.05)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def exits() -> None:
    """Let a child end with code 7."""
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    os.waitpid(pid, 0)
    tool_workload.commands()


def everything() -> None:
    """Use files, programs and processors for two seconds."""
    tool_workload.second()


def read_ahead() -> None:
    """Read a fresh file from its start, so that the kernel reads ahead of it."""
    tool_workload.block()
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("1")
    with open("/usr/bin/python3", "rb") as file:
        while file.read(4096):
            pass
    time.sleep(1)


WORKLOADS: dict[str, Callable[[], None]] = {
    **tool_workload.WORKLOADS,
    **{
        f.__name__: f
        for f in (
            named, listing, tcp_and_wait, mount, shared_memory, pass_file, threads, allocate, ext4, exits, everything,
            read_ahead, typing, btrfs, f2fs, huge, buffers, drop, resolve_rdma, protocol, nfs, nodes,
        )
    },
}  # fmt: skip
