"""Names as BCC spells them: system-call prefixes, event names, patterns; given as str or bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from trapline.hints import TypeAlias

Name: TypeAlias = str | bytes


def to_text(name: Name) -> str:
    """Return a name given as str or bytes as str."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


def to_bytes(name: Name) -> bytes:
    """Return a name given as str or bytes as bytes."""
    return name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name


# In the order in which BCC tries them.
SYSCALL_PREFIXES = (
    "sys_",
    "__x64_sys_",
    "__x32_compat_sys_",
    "__ia32_compat_sys_",
    "__arm64_sys_",
    "__s390x_sys_",
    "__s390_sys_",
    "__riscv_sys_",
)


def find_syscall_prefix(has_symbol: Callable[[str], bool]) -> str:
    """Return what precedes a system call's name in kallsyms: the first prefix under which bpf(2) is known."""
    for prefix in SYSCALL_PREFIXES:
        if has_symbol(f"{prefix}bpf"):
            return prefix
    return SYSCALL_PREFIXES[0]


def fix_syscall_name(name: str, prefix: Callable[[], str]) -> str:
    """Return `name` with any architecture's system-call prefix replaced by the running kernel's.

    Args:
        name: of a function.
        prefix: returns the prefix; called only for a system call, since it takes all the kernel's symbols.
    """
    for known in SYSCALL_PREFIXES:
        if name.startswith(known):
            return prefix() + name[len(known) :]
    return name


def kprobe_event_name(event: str, *, retprobe: bool, offset: int = 0) -> str:
    """Return BCC's name for an open kprobe event: ``p_EVENT`` or ``r_EVENT``, plus ``_0xOFFSET``."""
    name = ("r_" if retprobe else "p_") + re.sub("[+.]", "_", event)
    return f"{name}_0x{offset:x}" if offset else name


def uprobe_event_name(path: str, address: int, pid: int, *, retprobe: bool) -> str:
    """Return BCC's name for an open uprobe event: ``p_PATH_0xADDRESS`` with ``_PID`` where there is one."""
    name = f"{'r' if retprobe else 'p'}_{re.sub('[^a-zA-Z0-9_]', '_', path)}_0x{address:x}"
    return name if pid == -1 else f"{name}_{pid}"


def match_names(pattern: Name, names: Iterable[str]) -> Sequence[str]:
    """Return the names that a regular expression matches completely."""
    regex = re.compile(to_text(pattern))
    return [name for name in names if regex.fullmatch(name)]
