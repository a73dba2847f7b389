"""Bind uprobes and USDT probes to places in files.

uprobe:libc:mallo* { … }   →   a site with UprobeMultiAttach("/lib/…/libc.so.6", offsets=(0x9a740, …))
usdt:/bin/x:p:* { … }      →   a site for each probe, with all its places and the forms of their arguments
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.resolver import Resolver
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.frontends.bpftrace.suggestions import near_hint
from trapline.frontends.bpftrace.user_arguments import user_arguments
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec

if TYPE_CHECKING:
    from trapline.debuginfo.binary import Binary, FunctionSymbol
    from trapline.debuginfo.usdt import UsdtProbe


def resolve_uprobe(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Return the site of a uprobe or uretprobe: one program for all its places."""
    if point.mode == "line":
        r.refuse(point, f"{point.provider}s by source line ({point.target}@{point.event}:{point.number})")
    if point.namespace and point.namespace != "cpp":
        r.refuse(point, f"{point.provider}s of the language '{point.namespace}'")
    found = _find_files(r, point)
    names: list[str] = []
    points: list[spec.AttachPoint] = []
    first: tuple[str, FunctionSymbol | None] | None = None
    for path, binary in found:
        places = _places(r, point, path, binary)
        if not places:
            continue
        if first is None:
            first = path, places[0][2]
        multi = spec.UprobeMultiAttach(
            path.partition("!/")[0],
            tuple(offset for _, offset, _ in places),
            tuple(range(len(names), len(names) + len(places))),
            retprobe=point.provider == "uretprobe",
            pid=r.options.pid or -1,
        )
        labels = [f"{point.provider}:{path}:{name}" for name, _, _ in places]
        names += labels
        points.append(r.attach(point, multi, labels[0] if len(labels) == 1 else f"{point.provider}:{_written(point)}"))
    if first is None and "*" in point.event:
        r.no_match(point)
    if first is None:
        r.missing(f"No matches for {point.provider} {_written(point)}.", point, *_near(found, point))
    returning = point.provider == "uretprobe"
    label = names[0] if len(names) == 1 else f"{point.provider}:{_written(point)}"
    path, symbol = first
    return [
        ProbeSite(
            probe,
            point,
            point.provider,
            "KPROBE",
            tuple(points),
            label,
            tuple(names),
            _arguments(r, point, path, symbol, len(names)),
            retval=t.UINT64 if returning else None,
            files=_used(r, point),
        )
    ]


def _arguments(
    r: Resolver, point: ast.AttachPoint, path: str, symbol: FunctionSymbol | None, count: int
) -> Callable[[], Arguments]:
    hint = "Use arg0, arg1 … instead."
    if point.provider == "uretprobe":
        return lambda: Arguments(missing="args are known at a function's entry only", hint="Use a uprobe.")
    if count > 1:
        return lambda: Arguments(missing="args are not known for several functions at once", hint=hint)
    if symbol is None or point.offset:
        return lambda: Arguments(missing="args are known at a function's entry only, not at an offset", hint=hint)
    function = symbol
    target = r.target

    def find() -> Arguments:
        binary = target.user_files.open(path)
        types = binary.function_types(function.address) if binary is not None else None
        if types is None:
            return Arguments(missing=f"{path} has no debug information on {function.name}", hint=hint)
        return user_arguments(target.arch, *types)

    return find


def _written(point: ast.AttachPoint) -> str:
    return point.text.partition(":")[2]


def _used(r: Resolver, point: ast.AttachPoint) -> tuple[spec.FilesUsed, ...]:
    fingerprint = r.target.user_files.fingerprint(point.target, r.options.pid)
    return (spec.FilesUsed(point.target, r.options.pid, fingerprint),)


def _find_files(r: Resolver, point: ast.AttachPoint) -> list[tuple[str, Binary | None]]:
    """Return (path, file) of what the attach point names; for ``*`` and nothing, of all that runs."""
    if not point.target and not r.options.pid:
        r.error(point, f"{point.provider} should have a target", f"Write {point.provider}:FILE:NAME, or give -p PID.")
    files = r.target.user_files
    paths = files.find(point.target, r.options.pid)
    if not paths and "*" not in point.target:
        message = f"{point.provider} target file '{point.target}' does not exist or is not executable"
        r.missing(message, point, "Give a path, a program in PATH, or a library such as libc.")
    found = [(path, files.open(path)) for path in paths]
    exact = point.target not in ("", "*") and "*" not in point.target
    if exact and found[0][1] is None and not (r.options.unsafe and point.address is not None):
        hint = "An offset in a file that is not ELF needs --unsafe." if point.address is not None else ""
        r.error(point, f"{found[0][0]} is not an executable or library (ELF)", *([hint] if hint else []))
    return found if exact else [(path, binary) for path, binary in found if binary is not None]


# (name behind the path, offset in the file, the function): where a uprobe goes.
_Place = tuple[str, int, "FunctionSymbol | None"]


def _places(r: Resolver, point: ast.AttachPoint, path: str, binary: Binary | None) -> list[_Place]:
    if point.address is not None:
        offset = binary.file_offset(point.address) if binary is not None else None
        if offset is None:
            if not r.options.unsafe:
                r.error(point, f"address {point.address:#x} is not in the code of {path}")
            offset = point.address
        function = binary.function_at(offset) if binary is not None else None
        if binary is not None and function is not None:
            _check_boundary(r, point, binary, function, offset - function.offset)
        # bpftrace shows such a probe with a decimal number.
        return [(str(point.address), offset, function)]
    assert binary is not None
    if point.namespace == "cpp":
        return _demangled_places(r, point, binary)
    if "*" in point.event:
        matches = _glob(point.event)
        seen: dict[int, _Place] = {}
        for function in binary.functions:
            if matches(function.name):
                seen.setdefault(function.offset, (function.name, function.offset, function))
        return sorted(seen.values(), key=lambda place: place[0])
    found = binary.function(point.event)
    if found is None:
        return []
    if not point.offset:
        return [(point.event, found.offset, found)]
    if found.size and point.offset >= found.size:
        r.error(
            point,
            f"Offset outside the function bounds ('{point.event}' size is {found.size})",
            f"The offset must be less than {found.size} ({found.size:#x}).",
        )
    _check_boundary(r, point, binary, found, point.offset)
    return [(f"{point.event}+{point.offset}", found.offset + point.offset, found)]


def _check_boundary(r: Resolver, point: ast.AttachPoint, binary: Binary, function: FunctionSymbol, offset: int) -> None:
    """Refuse a place inside of an instruction: a probe there would change what the program does."""
    if not r.options.unsafe and binary.begins_instruction(function, offset) is False:
        r.error(
            point,
            f"Could not add {point.provider} into middle of instruction: {function.name}+{offset}",
            "Disassemble the function (objdump -d) to see where its instructions begin; --unsafe attaches anyway.",
        )


def _demangled_places(r: Resolver, point: ast.AttachPoint, binary: Binary) -> list[_Place]:
    """Return the C++ functions whose readable names match; a name without parameters matches all its overloads."""
    matches = _glob(point.event)
    whole = "(" in point.event
    demangle = r.target.user_files.demangle
    seen: dict[int, _Place] = {}
    for function in binary.functions:
        if not function.name.startswith("_Z"):
            continue
        readable = demangle(function.name)
        name = readable if whole else strip_parameters(readable)
        # A template's instance is written with its result: "long twice<long>".
        if matches(name) or matches(name.rpartition(" ")[2]):
            seen.setdefault(function.offset, (f"cpp:{function.name}", function.offset, function))
    return sorted(seen.values(), key=lambda place: place[0])


def strip_parameters(name: str) -> str:
    """Return a readable C++ name without its parameters: ``ns::f`` of ``ns::f(int) const``."""
    depth = 0
    for index, character in enumerate(name):
        if character == "<":
            depth += 1
        elif character == ">" and name[index - 1 : index] != "-":
            depth -= 1
        elif (
            character == "("
            and not depth
            and not name[:index].endswith("operator")
            and not name.startswith("(anonymous namespace)", index)
        ):
            return name[:index]
    return name


def _glob(pattern: str) -> Callable[[str], object]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))) + r"\Z", re.DOTALL).match


def _near(found: Sequence[tuple[str, Binary | None]], point: ast.AttachPoint) -> list[str]:
    for path, binary in found:
        if binary is None:
            continue
        names = [function.name for function in binary.functions]
        if not names:
            return [f"{path} is stripped; give an address instead of a name."]
        hints = near_hint(point.event, names) if "*" not in point.event else []
        if hints:
            return hints
    return []


# ---------------------------------------------------------------- USDT


def resolve_usdt(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Return a site for each USDT probe that matches: its places share a program, whose cookie is their form."""
    sites: list[ProbeSite] = []
    used = _used(r, point)
    matches_provider, matches_name = _glob(point.namespace or "*"), _glob(point.event)
    for path, binary in _find_usdt_files(r, point):
        if binary is None:
            continue
        for found in binary.usdt_probes:
            if matches_provider(found.provider) and matches_name(found.name):
                sites.append(_usdt_site(r, probe, point, path, found, used))
    if not sites:
        r.missing(
            f"No matches for usdt {_written(point)}.", point, f"trapline -l 'usdt:{point.target or '*'}:*' lists them."
        )
    return sites


def _find_usdt_files(r: Resolver, point: ast.AttachPoint) -> list[tuple[str, Binary | None]]:
    if point.target or r.options.pid:
        return _find_files(r, point)
    # "usdt:name" without -p looks at everything that runs.
    files = r.target.user_files
    return [(path, files.open(path)) for path in files.find("*")]


def _usdt_site(
    r: Resolver, probe: ast.Probe, point: ast.AttachPoint, path: str, found: UsdtProbe, used: tuple[spec.FilesUsed, ...]
) -> ProbeSite:
    from trapline.debuginfo.usdt import parse_operands

    forms = list(dict.fromkeys(place.arguments for place in found.locations))
    label = f"usdt:{path}:{found.provider}:{found.name}"
    multi = spec.UprobeMultiAttach(
        path.partition("!/")[0],
        tuple(place.offset for place in found.locations),
        tuple(forms.index(place.arguments) for place in found.locations),
        tuple(place.semaphore for place in found.locations),
        pid=r.options.pid or -1,
        as_one=True,
    )
    arch = r.target.arch.name
    nothing = Arguments(missing="the arguments of USDT probes have no names", hint="Use arg0, arg1 … instead.")
    return ProbeSite(
        probe,
        point,
        "usdt",
        "KPROBE",
        (r.attach(point, multi, label),),
        label,
        (label,),
        lambda: nothing,
        operands=tuple(parse_operands(form, arch) for form in forms),
        files=used,
    )
