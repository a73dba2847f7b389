"""Processes: their mappings, and descriptors that stand for them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from trapline.errors import KernelError
from trapline.records import record
from trapline.syscall.fd import Fd
from trapline.syscall.libc import syscall


@record(frozen=True)
class MemoryMap:
    """A line of ``/proc/PID/maps``; `offset` is in the file `path` (empty for anonymous memory)."""

    start: int
    end: int
    permissions: str
    offset: int
    device: str
    inode: int
    path: str

    @property
    def executable(self) -> bool:
        """Whether code may run there."""
        return "x" in self.permissions


def parse_memory_maps(text: str) -> Iterator[MemoryMap]:
    """Yield the mappings that the contents of ``/proc/PID/maps`` describe."""
    for line in text.splitlines():
        parts = line.split(None, 5)
        if len(parts) < 5:
            continue
        start, _, end = parts[0].partition("-")
        path = parts[5] if len(parts) > 5 else ""
        yield MemoryMap(int(start, 16), int(end, 16), parts[1], int(parts[2], 16), parts[3], int(parts[4]), path)


def read_memory_maps(pid: int) -> list[MemoryMap]:
    """Return the mappings of a process; empty when it is gone (or a kernel thread)."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            return list(parse_memory_maps(file.read()))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def read_vdso() -> bytes:
    """Return the code that the kernel maps into every process; empty when it maps none."""
    for mapping in read_memory_maps(os.getpid()):
        if mapping.path == "[vdso]":
            try:
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(mapping.start)
                    return memory.read(mapping.end - mapping.start)
            except OSError:
                break
    return b""


def open_pidfd(pid: int) -> Fd:
    """pidfd_open(2): a descriptor that becomes readable when the process ends.

    Raises:
        KernelError: there is no such process (ESRCH).
    """
    result = syscall("pidfd_open", pid, 0)
    if result < 0:
        raise KernelError(f"Failed to attach to pid {pid}: {os.strerror(-result)}", errno=-result)
    return Fd(result, f"process {pid}")
