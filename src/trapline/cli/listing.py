"""``-l``: probes, types, and the attach points of a program."""

from __future__ import annotations

import os
import sys

from trapline.cli.messages import print_message
from trapline.cli.options import UsageError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.cli.options import Arguments

_TYPE_WORDS = ("struct", "union", "enum")


def print_listing(found: Arguments) -> int:
    """Print what ``-l`` asks for; returns the exit code."""
    if len(found.operands) > 1:
        raise UsageError(f"-l takes one pattern, not {len(found.operands)}", hint="quote it: trapline -l 'kprobe:*'")
    pattern = found.operands[0] if found.operands else "*"
    if found.program is not None or (os.path.isfile(pattern) and ":" not in pattern):
        return _print_program(found, pattern)
    parts = [part.strip() for part in pattern.split(",")]
    types = [part for part in parts if part.partition(" ")[0] in _TYPE_WORDS and " " in part]
    if types:
        _print_types(types, verbose=found.verbose > 0)
        pattern = ",".join(part for part in parts if part not in types)
        if not pattern:
            return 0
    for part in pattern.split(","):
        if part.endswith(".bt") and ":" not in part:
            print_message(
                f"WARNING: It appears that '{part}' is a filename but the file does not exist. "
                f"Treating '{part}' as a search pattern."
            )
    from trapline.engine.host import live_target
    from trapline.engine.listing import describe_arguments, list_names, list_probes

    target = live_target()
    if not found.verbose:
        _write(list_names(pattern, target, found.pid or 0))
        _keep()
        return 0
    lines: list[str] = []
    for row in list_probes(pattern, target, found.pid or 0):
        lines += [row.name, *_indented(describe_arguments(row, target))]
    _write(lines)
    _keep()
    return 0


def _print_types(patterns: list[str], *, verbose: bool) -> None:
    """List the types that patterns such as ``struct list_*`` match."""
    from trapline.engine.host import live_target
    from trapline.engine.listing import list_types

    lines = []
    for kind, pattern in (part.split(None, 1) for part in patterns):
        for module, tag, define in list_types(kind, pattern, live_target()):
            lines.append(f"{module}: {define()}\n" if verbose else f"{kind} {tag}")
    _write(list(dict.fromkeys(lines)))
    _keep()


def _keep() -> None:
    """Keep what the listing read of types and functions, now that it is shown: the next one is faster."""
    from trapline.engine.host import live_target

    sys.stdout.flush()
    live_target().keep()


def _print_program(found: Arguments, file: str) -> int:
    """List the expanded attach points of a program."""
    from trapline.api import list_program
    from trapline.cli.run import read_program
    from trapline.source import Source

    if found.program is None:
        found.file = file
    name, text = read_program(found)
    names = list_program(Source(name, text), args=found.operands, unsafe=found.unsafe, pid=found.pid or 0)
    if not found.verbose:
        _write(names)
        return 0
    from trapline.engine.host import live_target
    from trapline.engine.listing import describe_name

    _write([line for probe in names for line in (probe, *_indented(describe_name(probe, live_target())))])
    return 0


def _indented(arguments: list[str]) -> list[str]:
    return [f"    {argument}" for argument in arguments]


def _write(lines: list[str]) -> None:
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
