"""What can be probed, by pattern: a table of probe kinds, each with how it is listed and what arguments it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from trapline.abi.perf import HARDWARE_ALIASES, HARDWARE_EVENTS, SOFTWARE_ALIASES, SOFTWARE_EVENTS
from trapline.engine.listing_user import UserLister, list_usdt_probes, list_user_functions
from trapline.errors import TargetError
from trapline.hints import TYPE_CHECKING
from trapline.kernel.patterns import compile_pattern, is_pattern
from trapline.records import record
from trapline.syscall.machine import btf_modules

if TYPE_CHECKING:
    from trapline.btf import Btf
    from trapline.kernel.target import LiveTarget

_VMLINUX = "vmlinux"


@record(frozen=True)
class Listed:
    """A probe: its name, and where its arguments are described (`module`, `symbol`)."""

    name: str
    kind: str
    module: str
    symbol: str


# A kind's lister gets the target and the patterns of the two parts behind the kind (an absent first part is "").
_Lister = Callable[["LiveTarget", str, str], Iterable[tuple[str, str, str]]]


@record(frozen=True)
class Kind:
    """A kind of probe.

    Args:
        name, aliases: as it is written.
        lister: yields (name behind the kind, module or category, symbol).
        in_all: whether a listing of everything has it.
        user: yields the same for a kind in user space, where it takes the process too; it is listed with everything
            only of a process.
        names: returns the names behind the kind that a glob matches in any module, sorted, where that is faster than
            `lister`.
    """

    name: str
    aliases: tuple[str, ...]
    lister: _Lister
    in_all: bool = True
    user: UserLister | None = None
    names: Callable[[LiveTarget, str], list[str]] | None = None


def _function_names(target: LiveTarget, name: str) -> list[str]:
    return target.probes.function_names(name) if target.has("kprobes") else []


def _functions(target: LiveTarget, module: str, name: str) -> Iterable[tuple[str, str, str]]:
    if not target.has("kprobes"):
        return ()
    found = target.probes.match_functions(name, module)
    if module:
        return [(f"{found_module}:{function}", found_module, function) for found_module, function in found]
    first = {function: found_module for found_module, function in reversed(found)}
    return [(function, found_module, function) for function, found_module in first.items()]


def _btf_functions(target: LiveTarget, module: str, name: str) -> Iterator[tuple[str, str, str]]:
    if module == "bpf":
        program, _, function = name.rpartition(":")
        for number, found in target.bpf_functions(program or "*", function):
            yield f"bpf:{number}:{found}", "bpf", found
        return
    if not target.has("kprobes"):  # the same kernels have trampolines and a list of traceable functions
        return
    for found_module, function in target.probes.match_functions(name, module):
        btf = target.module_btf(found_module)
        if btf is not None and btf.func(function) is not None:
            yield f"{found_module}:{function}", found_module, function


def _tracepoints(target: LiveTarget, category: str, name: str) -> Iterator[tuple[str, str, str]]:
    for found_category, event in target.probes.match_tracepoints(category or "*", name):
        yield f"{found_category}:{event}", found_category, event


def _raw_tracepoints(target: LiveTarget, module: str, name: str) -> Iterator[tuple[str, str, str]]:
    for found_module, event in target.raw_tracepoints(module or "*", name):
        yield f"{found_module}:{event}", found_module, event


def _all_btf(target: LiveTarget) -> Iterator[tuple[str, Btf]]:
    if target.has_btf:
        yield _VMLINUX, target.btf
        for module in btf_modules():
            btf = target.module_btf(module)
            if btf is not None:
                yield module, btf


def _perf(events: dict[str, int], aliases: dict[str, str]) -> _Lister:
    def lister(target: LiveTarget, first: str, name: str) -> Iterator[tuple[str, str, str]]:
        # The part behind the event is its count: "software:faults:100".
        matches = compile_pattern(first or name).match
        for event in (*events, *aliases):
            if matches(event):
                yield f"{event}:", "", event

    return lister


def _units(target: LiveTarget, first: str, name: str) -> Iterator[tuple[str, str, str]]:
    matches = compile_pattern(first or name).match
    for unit in ("hz", "ms", "s", "us"):
        if matches(unit):
            yield f"{unit}:", "", unit


def _iterators(target: LiveTarget, first: str, name: str) -> Iterator[tuple[str, str, str]]:
    if first not in ("", "*"):
        return
    from trapline.btf.tracing import iterator_names

    matches = compile_pattern(name).match
    for module, btf in _all_btf(target):
        for iterator in iterator_names(btf):
            if matches(iterator):
                yield iterator, module, iterator


def _self(target: LiveTarget, first: str, name: str) -> Iterator[tuple[str, str, str]]:
    if compile_pattern(first or "*").match("signal") and compile_pattern(name).match("SIGUSR1"):
        yield "signal:SIGUSR1", "", "SIGUSR1"


def _nothing(target: LiveTarget, first: str, name: str) -> Iterator[tuple[str, str, str]]:
    return iter(())


KINDS = (
    Kind("fentry", ("f", "kfunc"), _btf_functions),
    Kind("fexit", ("fr", "kretfunc"), _btf_functions, in_all=False),
    Kind("hardware", ("h",), _perf(HARDWARE_EVENTS, HARDWARE_ALIASES)),
    Kind("interval", ("i",), _units, in_all=False),
    Kind("iter", ("it",), _iterators),
    Kind("kprobe", ("k",), _functions, names=_function_names),
    Kind("kretprobe", ("kr",), _functions, in_all=False, names=_function_names),
    Kind("profile", ("p",), _units, in_all=False),
    Kind("rawtracepoint", ("rt",), _raw_tracepoints),
    Kind("self", (), _self, in_all=False),
    Kind("software", ("s",), _perf(SOFTWARE_EVENTS, SOFTWARE_ALIASES)),
    Kind("tracepoint", ("t",), _tracepoints),
    Kind("uprobe", ("u",), _nothing, user=list_user_functions),
    Kind("uretprobe", ("ur",), _nothing, in_all=False, user=list_user_functions),
    Kind("usdt", ("U",), _nothing, user=list_usdt_probes),
    Kind("watchpoint", ("w",), _nothing, in_all=False),
)
_BY_NAME = {name: kind for kind in KINDS for name in (kind.name, *kind.aliases)}


def list_probes(pattern: str, target: LiveTarget, pid: int = 0) -> list[Listed]:
    """Return the probes that a pattern matches: those of each of its parts in turn, sorted by kind and name.

    Args:
        pattern: ``kind:name``, ``kind:module:name``, or a glob of names (of all kinds); several separated by commas.
        target: the running kernel.
        pid: a process whose files are looked at, 0 for none.

    Raises:
        TargetError: what the listing needs is missing or may not be read.
    """
    found: list[Listed] = []
    for part in pattern.split(","):
        rows: dict[str, Listed] = {}
        for kind, first, name in _selections(part.strip(), pid):
            matches = kind.user(target, first, name, pid) if kind.user else kind.lister(target, first, name)
            for label, module, symbol in matches:
                row = Listed(f"{kind.name}:{label}", kind.name, module, symbol)
                rows.setdefault(row.name, row)
        found += sorted(rows.values(), key=lambda row: row.name)
    return found


def list_names(pattern: str, target: LiveTarget, pid: int = 0) -> list[str]:
    """Return the names of what `list_probes` does, without the rest: there are tens of thousands of functions."""
    found: list[str] = []
    for part in pattern.split(","):
        names: list[list[str]] = []
        for kind, first, name in _selections(part.strip(), pid):
            head = kind.name
            if kind.names is not None and not first:
                names.append([f"{head}:{label}" for label in kind.names(target, name)])
                continue
            matches = kind.user(target, first, name, pid) if kind.user else kind.lister(target, first, name)
            names.append(sorted({f"{head}:{label}" for label, _, _ in matches}))
        found += names[0] if len(names) == 1 else sorted({name for part_names in names for name in part_names})
    return found


def _selections(pattern: str, pid: int) -> Iterator[tuple[Kind, str, str]]:
    head, _, rest = pattern.partition(":")
    if not rest and ":" not in pattern:
        if head in _BY_NAME and not is_pattern(head):
            yield _BY_NAME[head], "", "*"
            return
        for kind in KINDS:
            if kind.in_all and (pid or not kind.user):
                yield kind, "", head
        return
    first, colon, name = rest.partition(":")
    if not colon:
        first, name = "", first
    chosen = _BY_NAME.get(head.lower())
    if chosen is not None:
        yield chosen, first, name or "*"
    elif is_pattern(head):
        matches = compile_pattern(head).match
        for kind in KINDS:
            if kind.in_all and (pid or first or not kind.user) and matches(kind.name):
                yield kind, first, name or "*"
    else:
        known = ", ".join(kind.name for kind in KINDS)
        raise TargetError(f"there is no probe type '{head}'", hint=f"types that can be listed: {known}")


def describe_arguments(row: Listed, target: LiveTarget) -> list[str]:
    """Return a listed probe's arguments as C declarations; nothing when they are unknown."""
    from trapline.engine import listing_arguments  # with BTF

    return listing_arguments.describe_arguments(row, target)


def describe_name(name: str, target: LiveTarget) -> list[str]:
    """Return the arguments of a probe by its full name, as `describe_arguments` does."""
    kind, _, rest = name.partition(":")
    module, _, symbol = rest.rpartition(":")
    if kind not in _BY_NAME:
        return []
    return describe_arguments(Listed(name, kind, module or _VMLINUX, symbol), target)


def list_types(kind: str, pattern: str, target: LiveTarget) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Yield (module, tag, function that returns the C definition) of the types whose tag matches.

    Args:
        kind: ``struct``, ``union`` or ``enum``.
        pattern: a glob.
        target: the running kernel.
    """
    from trapline.btf import Enum, Enum64, Struct, Union

    by_word: dict[str, tuple[type[Struct | Union | Enum | Enum64], ...]] = {
        "struct": (Struct,),
        "union": (Union,),
        "enum": (Enum, Enum64),
    }
    kinds = by_word[kind]
    found: dict[str, list[tuple[str, Btf, int]]] = {}
    if is_pattern(pattern):
        matches = compile_pattern(pattern).match
        for module, btf in _all_btf(target):
            for type_id in btf.ids(*kinds):
                tag = btf.name_of(type_id)
                if tag and matches(tag):
                    found.setdefault(tag, []).append((module, btf, type_id))
    else:
        for module, btf in _all_btf(target):
            exact = btf.find(pattern, *kinds)
            if exact is not None:
                found.setdefault(pattern, []).append((module, btf, exact))
                break
    for tag in sorted(found):
        for module, btf, type_id in found[tag]:

            def define(btf: Btf = btf, type_id: int = type_id) -> str:
                from trapline.btf.dump import format_type

                return format_type(btf, type_id)

            yield module, tag, define
