"""Machine code that is kept as bytes, made callable."""

from __future__ import annotations

import ctypes
import errno
import os

from trapline.syscall.libc import PROT_EXEC, Mapping

_MFD_EXEC = 0x10  # Linux 6.3


class MachineCode:
    """Position-independent code in memory that can be run but not written.

    It is mapped from an anonymous file: so no memory is ever both, and the kernel makes the instruction cache see it.

    Args:
        code: instructions of this machine.
        entry: where in them the function begins; it takes an address and returns an integer.

    Raises:
        OSError, KernelError: the system lets nobody run code that is not in a file (``vm.memfd_noexec``, SELinux).
    """

    def __init__(self, code: bytes, entry: int = 0) -> None:
        descriptor = _executable_file()
        try:
            os.write(descriptor, code)
            page = os.sysconf("SC_PAGE_SIZE")
            self._mapping = Mapping(descriptor, -(-len(code) // page) * page, protection=PROT_EXEC, what="code")
        finally:
            os.close(descriptor)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        self.call = prototype(self._mapping.address + entry)

    def close(self) -> None:
        """Unmap it; it must not be called any more."""
        self._mapping.close()


def shipped_code(codes: dict[str, tuple[int, str]]) -> tuple[bytes, int] | None:
    """Return the code for this machine's architecture, and where it begins; ``None`` when there is none.

    Args:
        codes: ``CODE`` of a module that `tools.develop.native_code` wrote.
    """
    from binascii import a2b_base64  # not every run needs it

    found = codes.get(os.uname().machine)
    return None if found is None else (a2b_base64(found[1]), found[0])


def _executable_file() -> int:
    flags = os.MFD_CLOEXEC
    try:
        return os.memfd_create("trapline", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("trapline", flags)
