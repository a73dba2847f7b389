"""Numbers of system calls and their names (``bcc.syscall`` of the scripts), for this machine."""

from __future__ import annotations

import os

from trapline.abi.number_names import SYSCALLS, number_names


def _read() -> dict[int, bytes]:
    names, unknown = number_names(SYSCALLS + os.uname().machine)
    return {number: name.encode() for number, name in enumerate(names) if name != unknown}


syscalls = _read()


def syscall_name(syscall_num: int) -> bytes:
    """Return the name of a system call; ``[unknown: N]`` for one that is not known."""
    return syscalls.get(syscall_num, b"[unknown: %d]" % syscall_num)
