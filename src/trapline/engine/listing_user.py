"""What can be probed in user space: functions and USDT probes of files, and their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from trapline.hints import TYPE_CHECKING
from trapline.kernel.patterns import compile_pattern

if TYPE_CHECKING:
    from trapline.btf import Btf
    from trapline.debuginfo.binary import Binary
    from trapline.kernel.target import LiveTarget


def list_user_functions(target: LiveTarget, file: str, name: str, pid: int) -> Iterator[tuple[str, str, str]]:
    """Yield (name behind the kind, file, function) of the functions that match.

    Args:
        target: the running kernel.
        file: a path, a program, a library, a glob; empty for all that process `pid` (or any process) runs.
        name: a glob; ``cpp:`` before it makes it one of C++ names.
        pid: a process, or 0.
    """
    file, name = _file_alone(file, name)
    cpp = name.startswith("cpp:")
    matches = compile_pattern(name.removeprefix("cpp:").strip('"')).match
    demangle = target.user_files.demangle
    for path, binary in _binaries(target, file, pid):
        for function in sorted({f.name for f in binary.functions}):
            if cpp:
                readable = demangle(function)
                if readable != function and (matches(readable) or matches(readable.partition("(")[0])):
                    yield f"{path}:cpp:{function}", path, function
            elif matches(function):
                yield f"{path}:{function}", path, function


def list_usdt_probes(target: LiveTarget, file: str, name: str, pid: int) -> Iterator[tuple[str, str, str]]:
    """Yield (name behind the kind, file, provider:name) of the USDT probes that match; see `list_user_functions`."""
    file, name = _file_alone(file, name)
    provider, colon, event = name.partition(":")
    if not colon:
        provider, event = "*", name
    matches_provider, matches_event = compile_pattern(provider or "*").match, compile_pattern(event or "*").match
    for path, binary in _binaries(target, file, pid):
        for probe in binary.usdt_probes:
            if matches_provider(probe.provider) and matches_event(probe.name):
                yield f"{path}:{probe.provider}:{probe.name}", path, f"{probe.provider}:{probe.name}"


def _file_alone(file: str, name: str) -> tuple[str, str]:
    """Take a name that is a path for the file: ``uprobe:/bin/bash`` lists all that it has."""
    return (name, "*") if not file and "/" in name else (file, name)


def _binaries(target: LiveTarget, file: str, pid: int) -> Iterator[tuple[str, Binary]]:
    files = target.user_files
    for path in files.find(file, pid):
        binary = files.open(path)
        if binary is not None:
            yield path, binary


def describe_user_function(target: LiveTarget, path: str, function: str) -> list[str]:
    """Return the arguments of a function as C declarations; nothing where the file has no debug information."""
    binary = target.user_files.open(path)
    symbol = binary.function(function) if binary is not None else None
    if binary is None or symbol is None:
        return []
    types = binary.function_types(symbol.address)
    if types is None:
        return []
    btf, func = types
    return [_declare(btf, param.type, param.name) for param in btf.params(func) if param.type or param.name]


_STARS = re.compile(r" (\*+)")


def _declare(btf: Btf, type_id: int, name: str) -> str:
    # bpftrace puts the stars of a user type at the type.
    return _STARS.sub(r"\1 ", btf.type_name(type_id, name))


UserLister = Callable[["LiveTarget", str, str, int], Iterator[tuple[str, str, str]]]
