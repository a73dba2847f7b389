"""What can be probed on this machine: functions, tracepoints, perf events."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from itertools import chain, repeat

from trapline.abi.perf import HARDWARE_EVENTS, SOFTWARE_EVENTS
from trapline.digest import digest
from trapline.errors import TargetError
from trapline.hints import TYPE_CHECKING
from trapline.kernel.patterns import compile_pattern, is_pattern
from trapline.syscall import machine
from trapline.syscall.privilege import KPROBE_BLACKLIST, read_blacklisted_names, read_kprobe_blacklist
from trapline.syscall.tracefs import read_events, read_functions_by_module

if TYPE_CHECKING:
    from trapline.syscall.kallsyms import SymbolTable
    from trapline.syscall.privilege import BlacklistEntry

VMLINUX = "vmlinux"
# Tracing these hangs or floods a kernel that nevertheless allows it; bpftrace leaves out the same.
_DANGEROUS = frozenset({"arch_cpu_idle", "default_idle", "bpf_dispatcher_xdp_func"})
_DANGEROUS_PREFIXES = ("rcu_", "__ftrace_invalid_address__")
_PADDING = ("__pfx_", "__cfi_")  # symbols of the space before a function
_KEPT = "functions"  # the name under which the lists of functions are kept
_KEPT_FORMAT = "trapline-functions-1"


def _without_dangerous(names: list[str]) -> list[str]:
    """Leave out of sorted names what a wildcard must not match."""
    for prefix in _DANGEROUS_PREFIXES:
        del names[bisect_left(names, prefix) : bisect_left(names, prefix + "\U0010ffff")]
    return [name for name in names if "." not in name or not _is_part(name)]


def _is_part(name: str) -> bool:
    """Whether it is a part that the compiler split off: ``name.part.0``."""
    return any(rest[:1].isdecimal() for rest in name.split(".part.")[1:])


def _stamp() -> str:
    """Return what changes when the kernel's functions do: by another kernel or boot, or by a module that comes or goes.

    The blacklist is part of debugfs, which may be mounted later.
    """
    modules = sorted((m.name, m.size, m.address, m.instance) for m in machine.loaded_modules())
    about = os.uname().version, machine.boot_id(), os.path.exists(KPROBE_BLACKLIST), modules
    return digest(repr(about).encode()).hex()


def _encode_functions(functions: dict[str, list[str]], stamp: str) -> bytes:
    blocks = [f"{_KEPT_FORMAT} {stamp}", *("\n".join((module, *names)) for module, names in functions.items())]
    return "\n\n".join(blocks).encode("utf-8", "surrogateescape")


def _decode_functions(blob: bytes, stamp: str) -> dict[str, list[str]] | None:
    """Return what `_encode_functions` got with the same stamp; ``None`` of anything else."""
    head, *blocks = blob.decode("utf-8", "surrogateescape").split("\n\n")
    if head != f"{_KEPT_FORMAT} {stamp}":
        return None
    found = {}
    for block in blocks:
        module, *names = block.split("\n")
        found[module] = names
    return found


class ProbeCatalogue:
    """The probes of the running kernel; every list is read when it is first needed.

    Args:
        load_symbols: returns the kernel's symbols, for kernels that do not list traceable functions.
        traceable_file: read the traceable functions from here instead of from the kernel.
        load: returns what `save` got under the same name in this or another process, or ``None``.
        save: keeps the lists of functions, which take the kernel long to write and us to sort.
    """

    def __init__(
        self,
        load_symbols: Callable[[], SymbolTable],
        traceable_file: str = "",
        *,
        load: Callable[[str], bytes | None] | None = None,
        save: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._load_symbols = load_symbols
        self._traceable_file = traceable_file
        self._load = load
        self._save = save
        self._unsaved: tuple[str, dict[str, list[str]]] | None = None

    @cached_property
    def blacklist(self) -> list[BlacklistEntry] | None:
        """The kprobe blacklist, or ``None`` when it cannot be read."""
        return read_kprobe_blacklist()

    @cached_property
    def traceable(self) -> frozenset[str] | None:
        """The names of all functions that ftrace can trace, or ``None`` when the kernel does not list them."""
        try:
            return frozenset().union(*read_functions_by_module(self._traceable_file).values())
        except TargetError:
            return None

    @cached_property
    def _functions(self) -> dict[str, list[str]]:
        """The functions that a wildcard may match, sorted, by module; the kernel proper is ``vmlinux``."""
        stamp = "" if self._traceable_file or self._load is None else _stamp()
        if stamp and self._load is not None:
            kept = _decode_functions(self._load(_KEPT) or b"", stamp)
            if kept is not None:
                return kept
        try:
            listed = read_functions_by_module(self._traceable_file)
        except TargetError:  # perhaps only not now: that is not kept
            stamp = ""
            listed = {}
            for name, module in self._load_symbols().functions():
                if not name.startswith(_PADDING):
                    listed.setdefault(module, []).append(name)
        listed[VMLINUX] = [*listed.pop("", ()), *listed.get(VMLINUX, ())]
        banned = read_blacklisted_names() | _DANGEROUS
        found = {module: _without_dangerous(sorted(set(listed[module]) - banned)) for module in sorted(listed)}
        if stamp:
            self._unsaved = stamp, found
        return found

    def keep(self) -> None:
        """Keep the lists of functions for later processes, unless they are kept already."""
        if self._unsaved is not None and self._save is not None:
            stamp, found = self._unsaved
            self._unsaved = None
            if _stamp() == stamp:  # no module came or went while they were read
                self._save(_KEPT, _encode_functions(found, stamp))

    @cached_property
    def functions_by_module(self) -> list[tuple[str, str]]:
        """All (module, function) that a wildcard may match, sorted; the kernel proper is ``vmlinux``."""
        return [row for module, names in self._functions.items() for row in zip(repeat(module), names)]

    def function_names(self, function: str) -> list[str]:
        """Return the names that a glob matches in any module, sorted; `match_functions` is slower."""
        names = [*self._functions.values()]
        # Lists that are sorted already are merged without being shuffled.
        found = list(dict.fromkeys(sorted(chain(*names)))) if len(names) > 1 else names[0]
        if function == "*":
            return found
        matches = compile_pattern(function).match
        return [name for name in found if matches(name)]

    def match_functions(self, function: str, module: str = "") -> list[tuple[str, str]]:
        """Return the (module, function) that match two globs, sorted; an empty `module` matches all."""
        found = self.functions_by_module
        if module and module != "*":
            if is_pattern(module):
                matches_module = compile_pattern(module).match
                found = [row for row in found if matches_module(row[0])]
            else:
                found = [row for row in found if row[0] == module]
        if function != "*":
            if is_pattern(function):
                matches = compile_pattern(function).match
                found = [row for row in found if matches(row[1])]
            else:
                found = [row for row in found if row[1] == function]
        return found

    @cached_property
    def tracepoints(self) -> list[tuple[str, str]]:
        """All (category, name) of tracepoints, sorted."""
        return sorted(set(read_events()))

    def match_tracepoints(self, category: str, name: str) -> list[tuple[str, str]]:
        """Return the (category, name) that match two globs, sorted."""
        matches_category, matches_name = compile_pattern(category).match, compile_pattern(name).match
        return [row for row in self.tracepoints if matches_category(row[0]) and matches_name(row[1])]

    def near(self, kind: str, name: str, limit: int = 5) -> list[str]:
        """Return names similar to `name`, best first.

        Args:
            kind: ``kprobe`` (functions), ``tracepoint`` (``category:name``), ``software`` or ``hardware``.
            name: what was asked for.
            limit: how many at most.
        """
        if kind == "tracepoint":
            try:
                names = [f"{c}:{n}" for c, n in self.tracepoints]
            except TargetError:
                return []
        elif kind == "software":
            names = list(SOFTWARE_EVENTS)
        elif kind == "hardware":
            names = list(HARDWARE_EVENTS)
        else:
            found = (function for function, _ in self._load_symbols().functions())
            names = [name for name in found if "." not in name and not name.startswith(_PADDING)]
        return near_names(name, names, limit)


def near_names(name: str, names: list[str], limit: int = 5) -> list[str]:
    """Return the `names` that are most similar to `name`, best first.

    A hundred thousand names are compared in two steps: shared letter pairs choose the candidates, difflib ranks them.
    """
    wanted = name.lower()
    pairs = {wanted[i : i + 2] for i in range(len(wanted) - 1)}
    if not pairs:
        return []
    low, high = len(wanted) * 2 // 3, len(wanted) * 3 // 2 + 2
    scored = []
    for other in set(names):
        if low <= len(other) <= high:
            text = other.lower()
            common = sum(1 for pair in pairs if pair in text)
            if common * 2 >= len(pairs):
                scored.append((common * 100 // len(pairs) - abs(len(other) - len(wanted)), other))
    scored.sort(key=lambda row: (-row[0], row[1]))
    import difflib

    return difflib.get_close_matches(name, [other for _, other in scored[:200]], n=limit, cutoff=0.7)
