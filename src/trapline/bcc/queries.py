"""Questions about the machine that `BPF` answers without an object: its static methods."""

from __future__ import annotations

import re
import time

from trapline.bcc.attach import probe_limit
from trapline.bcc.libraries import find_binary
from trapline.bcc.libraries import find_library as find_library_path
from trapline.bcc.names import Name, find_syscall_prefix, fix_syscall_name, to_bytes, to_text
from trapline.bcc.probes import filter_kprobe_functions, filter_tracepoints
from trapline.bcc.symbols import KERNEL_PID, SymbolCache, format_symbol, is_build_id, resolve_build_id
from trapline.engine.machine import machine
from trapline.errors import TraplineError
from trapline.hints import Any

_caches: dict[int, SymbolCache] = {}


# -- system calls


def get_syscall_prefix() -> bytes:
    """Return what precedes a system call's name in this kernel's symbols (``__x64_sys_``)."""
    return to_bytes(find_syscall_prefix(lambda name: machine().kernel_address(name) is not None))


def get_syscall_fnname(name: Name) -> bytes:
    """Return the kernel function of a system call: ``__x64_sys_openat`` for ``openat``."""
    return get_syscall_prefix() + to_bytes(name)


def fix_syscall_fnname(name: Name) -> bytes:
    """Return a function name with another machine's system-call prefix replaced by this one's."""
    return to_bytes(fix_syscall_name(to_text(name), lambda: to_text(get_syscall_prefix())))


# -- probes


def get_kprobe_functions(event_re: Name) -> list[bytes]:
    """Return the traceable kernel functions that a regular expression matches completely, sorted."""
    return filter_kprobe_functions(event_re, machine().functions())


def get_tracepoints(tp_re: Name) -> list[bytes]:
    """Return the tracepoints ``category:name`` at whose start a regular expression matches."""
    return filter_tracepoints(tp_re, machine().tracepoints())


def tracepoint_exists(category: Name, event: Name) -> bool:
    """Whether the kernel has the tracepoint ``category:event``."""
    return machine().has_tracepoint(to_text(category), to_text(event))


def get_probe_limit() -> int:
    """Return how many probes a process may have open (``BCC_PROBE_LIMIT``, or 1000)."""
    return probe_limit()


# -- what the kernel supports


def support_kfunc() -> bool:
    """Whether KFUNC_PROBE (fentry) can be used: the kernel has BTF and BPF trampolines."""
    return machine().has_btf and machine().kernel_address("bpf_trampoline_link_prog") is not None


def support_fmod_ret() -> bool:
    """Whether KMOD_RET can be used."""
    return support_kfunc() and machine().kernel_address("bpf_modify_return_test") is not None


def support_lsm() -> bool:
    """Whether LSM_PROBE can be used: the kernel has BPF LSM hooks and BTF."""
    return machine().has_btf and machine().kernel_address("bpf_lsm_bpf") is not None


def support_raw_tracepoint() -> bool:
    """Whether raw tracepoints can be used (Linux 4.17)."""
    known = ("bpf_find_raw_tracepoint", "bpf_get_raw_tracepoint")
    return any(machine().kernel_address(name) is not None for name in known)


def support_raw_tracepoint_in_module() -> bool:
    """Whether raw tracepoints of modules can be used (Linux 5.0)."""
    return machine().kernel_address("bpf_trace_modules") is not None


def kernel_struct_has_field(struct_name: Name, field_name: Name) -> int:
    """Return 1 if the kernel's struct has the field (also in anonymous members), 0 if not, -1 for an unknown one."""
    try:
        found = machine().has_field(to_text(struct_name), to_text(field_name))
    except TraplineError:
        return -1
    return -1 if found is None else int(found)


def kernel_enum_has_val(enum_name: Name, value_name: Name) -> int:
    """Return 1 if the kernel's enum has the enumerator, 0 if not, -1 for an unknown enum."""
    try:
        found = machine().has_enumerator(to_text(enum_name), to_text(value_name))
    except TraplineError:
        return -1
    return -1 if found is None else int(found)


# -- symbols


def symbol_cache(pid: int) -> SymbolCache:
    """Return the symbols of a process (of the kernel for negative pids), read once."""
    pid = max(pid, KERNEL_PID)
    if pid not in _caches:
        _caches[pid] = SymbolCache(pid, machine())
    return _caches[pid]


def sym(addr: Any, pid: int, show_module: bool = False, show_offset: bool = False, demangle: bool = True) -> bytes:
    """Return the name of an address of a process.

    Args:
        addr: the address, or an element of a stack with build ids (see `add_module`).
        pid: the process; -1 for the kernel.
        show_module: append the file's (or kernel module's) name in brackets.
        show_offset: append the bytes from the symbol's start, in hexadecimal.
        demangle: show C++ names as they are written.

    Returns:
        The name; ``[unknown]`` where there is none.
    """
    if is_build_id(addr):
        return format_symbol(
            lambda entry: _readable(resolve_build_id(machine(), entry, pid), demangle),
            addr,
            show_module=show_module,
            show_offset=show_offset,
        )
    cache = symbol_cache(pid)
    return format_symbol(
        lambda address: cache.resolve(address, demangle), addr, show_module=show_module, show_offset=show_offset
    )


def ksym(addr: int, show_module: bool = False, show_offset: bool = False) -> bytes:
    """Return the name of a kernel address; see `sym`."""
    return sym(addr, KERNEL_PID, show_module, show_offset, False)


def ksymname(name: Name) -> int:
    """Return the address of a kernel symbol, -1 when there is none."""
    return symbol_cache(KERNEL_PID).resolve_name(None, name)


def _readable(found: tuple[bytes | None, int, bytes | None], demangle: bool) -> tuple[bytes | None, int, bytes | None]:
    name, offset, module = found
    if name is not None and demangle:
        name = to_bytes(machine().demangle(to_text(name)))
    return name, offset, module


def add_module(modname: Name) -> int:
    """Remember a program or library by its build id, so that `sym` resolves stacks with build ids in it.

    Args:
        modname: a path, or the short name of a library (``c``).

    Returns:
        0, or -1 for a file that cannot be read or has no build id.
    """
    path = find_binary(to_text(modname))
    return -1 if path is None or machine().add_build_id(path) is None else 0


def get_user_functions_and_addresses(name: Name, sym_re: Name) -> list[tuple[bytes, int]]:
    """Return (function, offset in the file) of the functions of a program or library that a pattern matches.

    Of functions at one address only the first is listed.
    """
    path = find_library_path(to_text(name)) or to_text(name)
    regex = re.compile(to_bytes(sym_re))
    seen: set[int] = set()
    found: list[tuple[bytes, int]] = []
    for offset, _, symbol in machine().file_functions(path):
        text = to_bytes(symbol)
        if offset not in seen and regex.match(text):
            seen.add(offset)
            found.append((text, offset))
    return found


def get_user_functions(name: Name, sym_re: Name) -> list[bytes]:
    """Return the functions of a program or library whose names a regular expression matches."""
    return [function for function, _ in get_user_functions_and_addresses(name, sym_re)]


def get_user_addresses(name: Name, sym_re: Name) -> list[int]:
    """Return the file offsets of the functions of a program or library whose names a regular expression matches."""
    return [address for _, address in get_user_functions_and_addresses(name, sym_re)]


# -- files and clocks


def find_exe(bin_path: Name) -> bytes | None:
    """Return the path of an executable (searched in ``PATH`` if it has no directory), or ``None``."""
    import shutil

    found = shutil.which(to_text(bin_path))
    return None if found is None else to_bytes(found)


def find_library(libname: Name, pid: int = 0) -> bytes | None:
    """Return the path of a library given as ``c`` or ``pthread``, as process `pid` sees it, or ``None``."""
    found = find_library_path(to_text(libname), pid)
    return None if found is None else to_bytes(found)


def monotonic_time() -> float:
    """Return the monotonic clock in nanoseconds: the clock of ``bpf_ktime_get_ns``."""
    return float(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
