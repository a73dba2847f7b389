"""What makes BCC's tools print something: functions that a child runs under the name `COMM`.

Most are those of tool_workload.py; here are the ones that only BCC's tools need.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable

from tests.conformance import tool_workload

COMM = "bccwork"
_LIBC = ctypes.CDLL(None, use_errno=True)
TERMINAL = "TRAPLINE_BENCH_TERMINAL"  # the variable that names it
_SHM_KEY = 0x54524150
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


def compact() -> None:
    """Let the kernel move pages together."""
    with open("/proc/sys/vm/compact_memory", "w") as command:
        command.write("1")
    time.sleep(0.5)


def typing() -> None:
    """Write to the terminal of the bench."""
    fd = os.open(os.environ[TERMINAL], os.O_WRONLY | os.O_NOCTTY)
    os.write(fd, b"hello terminal\n")
    os.close(fd)


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
            named, listing, tcp_and_wait, mount, shared_memory, pass_file, threads, allocate, compact, ext4, exits,
            everything, read_ahead, typing,
        )
    },
}  # fmt: skip
