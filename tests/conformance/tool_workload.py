"""What makes the tools print something: ``python3 -I -S tool_workload.py NAME``, as root; needs nothing but Python.

Each may run twice on a kernel: what one leaves behind, the next one takes away.
"""

from __future__ import annotations

import contextlib
import ctypes
import lzma
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_NANOSLEEP = 35
_MADV_PAGEOUT = 21
_BLOCK = "/dev/nullb0"
_SCRATCH = "/tmp/trapline-workload"


def _modprobe(*words: str) -> None:
    subprocess.run(["modprobe", *words], check=False, capture_output=True)


def _spawn(*argv: str) -> None:
    if pid := os.fork():
        os.waitpid(pid, 0)
        return
    try:
        os.execv(argv[0], argv)
    finally:
        os._exit(127)


def block() -> None:
    """Read 8 KiB from a request-based block device, past the page cache."""
    _modprobe("null_blk", "nr_devices=1")
    fd = os.open(_BLOCK, os.O_RDONLY | os.O_DIRECT)
    for _ in range(4):
        os.preadv(fd, [mmap.mmap(-1, 8192)], 0)
    os.close(fd)


def writeback() -> None:
    """Dirty pages of a block device and sync."""
    _modprobe("null_blk", "nr_devices=1")
    fd = os.open(_BLOCK, os.O_WRONLY)
    os.write(fd, b"x" * 65536)
    os.sync()
    os.close(fd)
    time.sleep(0.3)


def files() -> None:
    """Open, look at, write, sync and miss files."""
    # With the process in its name, for each run must miss it anew.
    for path in ("/etc/passwd", f"/no-such-file-here-{os.getpid()}"):
        for call in (os.stat, os.statvfs, lambda path: os.close(os.open(path, os.O_RDONLY))):
            with contextlib.suppress(OSError):
                call(path)
    fd = os.open(_SCRATCH, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"data")
    os.fsync(fd)
    os.pread(fd, 4, 0)
    os.close(fd)
    os.unlink(_SCRATCH)


def commands() -> None:
    """Run a program with arguments, twice."""
    for _ in range(2):
        _spawn("/bin/true", "first", "second")


def kill() -> None:
    """Send a harmless signal."""
    os.kill(os.getpid(), signal.SIGWINCH)


def ids() -> None:
    """Set the user ids that the process has, which asks for capabilities."""
    os.setuid(0)
    os.setresuid(0, 0, 0)


def nap() -> None:
    """Call nanosleep(2) itself: C libraries call clock_nanosleep(2)."""
    _LIBC.syscall(_SYS_NANOSLEEP, (ctypes.c_long * 2)(0, 5_000_000), None)


def second() -> None:
    """Do something for more than a second, for tools that print each second."""
    until = time.monotonic() + 2.2
    while time.monotonic() < until:
        files()
        commands()


def busy() -> None:
    """Use a CPU for half a second."""
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        pass


def tcp() -> None:
    """Send 3,000 bytes through a TCP connection on the loopback interface."""
    server = socket.create_server(("127.0.0.1", 54321), backlog=100)
    client = socket.create_connection(("127.0.0.1", 54321))
    accepted, _ = server.accept()
    client.sendall(b"x" * 3000)
    client.close()
    while accepted.recv(4096):
        pass
    accepted.close()
    server.close()
    time.sleep(0.2)


def retransmit() -> None:
    """Let a connection's SYN be dropped by a full backlog, until it is sent again after a second."""
    server = socket.create_server(("127.0.0.1", 54322), backlog=0)
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", 54322))
        clients.append(client)
    time.sleep(1.6)
    for client in clients:
        client.close()
    server.close()


def unix() -> None:
    """Send a text through a Unix socket."""
    left, right = socket.socketpair()
    left.sendall(b"hello from the workload")
    right.recv(100)


def lookup() -> None:
    """Resolve a host name with the C library."""
    with contextlib.suppress(socket.gaierror):  # a machine without /etc/hosts: the call is what is traced
        socket.getaddrinfo("localhost", 80)


def thread() -> None:
    """Start a thread."""
    import _thread

    _thread.start_new_thread(busy, ())
    time.sleep(0.2)


def bash() -> None:
    """Become an interactive bash that a child types a command into."""
    import pty

    terminal, end = pty.openpty()
    if os.fork():
        for number in range(3):
            os.dup2(end, number)
        os.closerange(3, 100)
        os.execv("/bin/bash", ["/bin/bash", "--norc", "-i"])
    os.close(end)
    os.write(terminal, b"echo typed; exit\n")
    with contextlib.suppress(OSError):
        while os.read(terminal, 1000):
            pass


def out_of_memory() -> None:
    """Let a process of a small cgroup be killed for its memory."""
    group = "/sys/fs/cgroup/trapline-workload"
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as control:
        control.write("+memory")
    os.makedirs(group, exist_ok=True)
    for name, value in (("memory.max", "16M"), ("memory.swap.max", "0")):
        try:
            with open(f"{group}/{name}", "w") as limit:
                limit.write(value)
        except OSError:
            pass
    pid = os.fork()
    if pid == 0:
        with open(f"{group}/cgroup.procs", "w") as members:
            members.write(str(os.getpid()))
        os._exit(len(b"x" * (64 << 20)) & 1)
    os.waitpid(pid, 0)
    os.rmdir(group)


def swap() -> None:
    """Push a page out to a compressed swap device and touch it again."""
    _modprobe("zram", "num_devices=1")
    with open("/sys/block/zram0/reset", "w") as reset:
        reset.write("1")
    with open("/sys/block/zram0/disksize", "w") as size:
        size.write(str(16 << 20))
    header = bytearray(4096)
    header[1024:1036] = (1).to_bytes(4, "little") + (4095).to_bytes(4, "little") + bytes(4)
    header[4086:] = b"SWAPSPACE2"
    with open("/dev/zram0", "r+b", buffering=0) as device:
        device.write(header)
        os.fsync(device.fileno())
    _LIBC.swapon(b"/dev/zram0", 0)
    memory = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"y" * len(memory))
    memory.madvise(_MADV_PAGEOUT)
    for at in range(0, len(memory), 4096):
        memory[at]
    time.sleep(1.2)
    _LIBC.swapoff(b"/dev/zram0")


def tls() -> None:
    """Send a text through a TLS connection without certificates."""
    library = ctypes.CDLL("libssl.so.3")
    for name in ("TLS_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_method())))
    library.SSL_CTX_ctrl(context, 124, ctypes.c_long(0x0303), None)  # SSL_CTX_set_max_proto_version, TLS 1.2
    library.SSL_CTX_set_cipher_list(context, b"aNULL:@SECLEVEL=0")
    connections = []
    sockets = socket.socketpair()
    for end in sockets:
        end.setblocking(False)
        connection = ctypes.c_void_p(library.SSL_new(context))
        library.SSL_set_fd(connection, end.fileno())
        connections.append(connection)
    client, server = connections
    library.SSL_set_connect_state(client)
    library.SSL_set_accept_state(server)
    library.SSL_ctrl(server, 118, ctypes.c_long(1), None)  # SSL_set_dh_auto
    for _ in range(5):
        for connection in connections:
            library.SSL_do_handshake(connection)
    text = ctypes.create_string_buffer(b"hello from the workload")
    library.SSL_write(client, text, 23)
    library.SSL_read(server, text, 23)


def xfs() -> None:
    """Write, sync and read a file of an XFS file system."""
    use_image("xfs")


def use_image(kind: str) -> None:
    """Write, sync and read a file of the file system whose image lies packed beside this file."""
    image, place = f"/tmp/trapline-{kind}.img", f"/tmp/trapline-{kind}"
    packed = os.path.join(os.path.dirname(__file__), f"{kind}.img.xz")
    with lzma.open(packed) as source, open(image, "wb") as unpacked:
        shutil.copyfileobj(source, unpacked, 1 << 20)
    os.makedirs(place, exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", "loop", image, place], check=True)
    fd = os.open(f"{place}/file", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"data")
    os.fsync(fd)
    os.pread(fd, 4, 0)
    os.close(fd)
    subprocess.run(["umount", place], check=True)
    os.unlink(image)


def _set(path: str, value: str) -> None:
    with open(path, "w") as attribute:
        attribute.write(value)


def md() -> None:
    """Flush an array of one block device."""
    _modprobe("null_blk", "nr_devices=1")
    _modprobe("raid1")
    array = "/sys/block/md127/md"
    if not os.path.exists(array):
        _set("/sys/module/md_mod/parameters/new_array", "md127")
    with open("/sys/block/nullb0/dev") as number:
        member = number.read().strip()
    for name, value in (
        ("metadata_version", "none"), ("level", "raid1"), ("raid_disks", "1"), ("new_dev", member),
        ("dev-nullb0/size", "16384"), ("dev-nullb0/slot", "0"), ("component_size", "16384"),
    ):  # fmt: skip
        _set(f"{array}/{name}", value)
    _set(f"{array}/array_state", "active")
    fd = os.open("/dev/md127", os.O_WRONLY)
    os.write(fd, b"x" * 4096)
    os.fsync(fd)
    os.close(fd)
    _set(f"{array}/array_state", "clear")


WORKLOADS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        block, writeback, files, commands, kill, ids, nap, second, busy, tcp, retransmit, unix, lookup, thread,
        bash, out_of_memory, swap, tls, xfs, md,
    )
}  # fmt: skip


if __name__ == "__main__":
    WORKLOADS[sys.argv[1]]()
