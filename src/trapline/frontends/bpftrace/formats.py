"""Check printf's format strings against the types of their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trapline.frontends.bpftrace import types as t

SPECIFIER = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?:\*|\d*))?(?P<length>[hlLjzt]*)(?P<kind>gr|rx|rh|[diouxXcspr%])"
)
_NUMERIC = "diouxXcp"


def conversions(format_: str) -> list[str]:
    """Return the kind of each conversion in a format (``d``, ``s``, ``rx`` …), ``%%`` left out."""
    return [m["kind"] for m in SPECIFIER.finditer(format_) if m["kind"] != "%"]


def check_format(format_: str, types: Sequence[t.Type], name: str) -> Iterator[tuple[int, str]]:
    """Check a format against its arguments.

    Args:
        format_: the format.
        types: the arguments' types; unknown ones fit everything.
        name: the function, for messages.

    Yields:
        The index of an argument (-1: the whole call) and what is wrong with it.
    """
    leftover = SPECIFIER.sub("", format_)
    if "%" in leftover:
        at = leftover.index("%")
        yield -1, f"{name}: unknown format specifier '{leftover[at : at + 2]}' in the format string"
        return
    kinds = conversions(format_)
    if len(kinds) > len(types):
        yield -1, f"not enough arguments for format string ({len(types)} supplied, {len(kinds)} expected)"
        return
    if len(kinds) < len(types):
        yield -1, f"too many arguments for format string ({len(types)} supplied, {len(kinds)} expected)"
        return
    for index, (kind, type_) in enumerate(zip(kinds, types, strict=True)):
        if not _fits(kind, type_):
            yield index, f"unsupported format specifier for type '{type_}': {kind}"


def _fits(kind: str, type_: t.Type) -> bool:
    if isinstance(type_, t.UnknownT):
        return True
    if kind in _NUMERIC:
        return (t.is_scalar(type_) and not isinstance(type_, t.ContextT)) or (
            isinstance(type_, t.AggregateT) and type_.kind in t.CASTABLE
        )
    if kind.startswith("r"):
        return isinstance(type_, t.BufferT)
    if kind == "gr":
        return isinstance(type_, t.IntT)
    # %s takes everything that has a text of its own.
    if isinstance(type_, t.AggregateT):
        return type_.kind in t.CASTABLE
    return not isinstance(type_, t.VoidT | t.ContextT | t.ArgsT)
