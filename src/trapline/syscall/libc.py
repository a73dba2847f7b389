"""The C library's entry points that Python does not offer: syscall(2), mmap(2) with an address, munmap(2)."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

from trapline.abi.arch import Arch, resolve_arch
from trapline.errors import KernelError

PROT_READ = 1
PROT_WRITE = 2
PROT_EXEC = 4
MAP_SHARED = 1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.restype = ctypes.c_int
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


@cache
def host_arch() -> Arch:
    """Return the architecture of the running kernel."""
    return resolve_arch(os.uname().machine)


def syscall(name: str, *args: int) -> int:
    """Make system call `name` with integer (or address) arguments; return its result, or ``-errno``.

    A call that a signal interrupted (EINTR) is made again.
    """
    number = host_arch().syscalls[name]
    words = [ctypes.c_long(a) for a in args]
    while True:
        result: int = _syscall(ctypes.c_long(number), *words)
        if result != -1:
            return result
        error = ctypes.get_errno()
        if error != errno.EINTR:
            return -error


def address_of(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Return the address of `buffer`; it is valid as long as the object lives."""
    return ctypes.addressof(buffer)


class Mapping:
    """A shared mapping of a file descriptor.

    Args:
        fd: what to map.
        size, offset: in bytes; multiples of the page size.
        writable: map it for writing too.
        protection: more of ``PROT_…``.
        what: for messages.

    Raises:
        KernelError: mmap(2) failed.
    """

    def __init__(
        self,
        fd: int,
        size: int,
        offset: int = 0,
        *,
        writable: bool = False,
        protection: int = 0,
        what: str = "mapping",
    ) -> None:
        protection |= PROT_READ | (PROT_WRITE if writable else 0)
        address = _mmap(None, size, protection, MAP_SHARED, fd, offset)
        if address is None or address == ctypes.c_void_p(-1).value:
            error = ctypes.get_errno()
            hint = "raise kernel.perf_event_mlock_kb or use fewer pages" if error == errno.EPERM else None
            raise KernelError(f"cannot map {what}: {os.strerror(error)}", errno=error, hint=hint)
        self.address: int = address
        self.size = size
        array = (ctypes.c_char * size).from_address(address)
        view = memoryview(array).cast("B")
        self.view = view if writable else view.toreadonly()

    def close(self) -> None:
        """Unmap it; closing twice is allowed.  Views that were handed out must not be used afterwards."""
        address, self.address = self.address, 0
        if address:
            self.view.release()
            _munmap(address, self.size)

    def __del__(self) -> None:
        if getattr(self, "address", 0):
            self.close()
