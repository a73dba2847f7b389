"""Parse C definitions that are cut out of a script; what clang finds wrong comes back at the script's own lines.

The text of all pieces is one virtual file.  What it needs and does not define is asked from the caller, who has the
kernel's types, and put in front; the text is then parsed again, until nothing more is missing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from trapline.clang.c_api import Cursor, Finding, TranslationUnit
from trapline.clang.includes import Headers, is_kernel_header, read_text
from trapline.clang.libclang import ROOT, parse_files
from trapline.records import record
from trapline.source import Diagnostic, Severity, Source, Span

MAIN = f"{ROOT}/definitions.h"
SUPPLIED = f"{ROOT}/include/__btf_generated_header.h"
_ABSENT = f"{ROOT}/absent"
_DETAILED_PREPROCESSING, _SKIP_BODIES, _KEEP_GOING = 0x1, 0x40, 0x200
_ERROR = 3
_MAX_ROUNDS = 12
_NOT_DEFINED = re.compile(r"unknown type name|undeclared identifier|incomplete|must use '\w+' tag")
_QUOTED = re.compile(r"'(?:(?:struct|union|enum) )?(\w+)'")
_NOT_FOUND = re.compile(r"'([^']+)' file not found")
_CLASH = re.compile(r"redefinition of (?:enumerator )?'(\w+)'|redefinition .*\('(\w+)' vs|use of '(\w+)' with tag type")

# Returns C text that defines names, under other names where these are the second argument's.
Supply = Callable[[frozenset[str], frozenset[str]], str]


@record(frozen=True)
class _Piece:
    """Where a part of the virtual file came from: bytes from `start` on are those of `span`."""

    start: int
    span: Span


class Unit:
    """A parsed text.

    Args:
        pieces: the script's C text, directives and definitions, in order.
        headers: where included files are found.
        arguments: further arguments of clang.
        supply: gives the definition of names that the text does not define.
        kernel_types: whether `supply` knows the kernel's types, so that a missing kernel header may be left out.
    """

    def __init__(
        self, pieces: Sequence[Span], headers: Headers, arguments: Sequence[str], supply: Supply, kernel_types: bool
    ) -> None:
        self._pieces: list[_Piece] = []
        self._arguments = [*headers.arguments(), *arguments]
        self.text = self._join(pieces)
        self._supplied = ""
        self.absent: frozenset[str] = frozenset()
        self.unit: TranslationUnit = self._parse_completely(supply, kernel_types)

    def _join(self, pieces: Sequence[Span]) -> str:
        text, size = [], 0
        for span in pieces:
            self._pieces.append(_Piece(size, span))
            end = "\n" if span.text.startswith("#") or span.text.endswith(";") else "\n;\n"
            text.append(span.text + end)
            size += len(text[-1].encode("utf-8", "surrogateescape"))
        return "".join(text)

    def _parse_completely(self, supply: Supply, kernel_types: bool) -> TranslationUnit:
        names: frozenset[str] = frozenset()
        clashes: frozenset[str] = frozenset()
        for _ in range(_MAX_ROUNDS):
            unit = self._parse(self.text)
            messages = [d.spelling for d in unit.diagnostics if d.severity >= _ERROR]
            absent = {m[1] for text in messages if (m := _NOT_FOUND.search(text)) and is_kernel_header(m[1])}
            more_absent = frozenset(absent) - self.absent if kernel_types else frozenset()
            more_names = _undefined(messages) - names
            more_clashes = _clashes(messages) - clashes if names else frozenset()
            if not (more_absent or more_names or more_clashes):
                break
            self.absent |= more_absent
            names |= more_names
            clashes |= more_clashes
            self._supplied = supply(names, clashes)
        return unit

    def _parse(self, text: str) -> TranslationUnit:
        files = {MAIN: text, SUPPLIED: self._supplied, **{f"{_ABSENT}/{name}": "" for name in self.absent}}
        # The last folder of all: files that are there come first.
        arguments = ["-include", SUPPLIED, *self._arguments, "-idirafter", f"{ROOT}/include", "-idirafter", _ABSENT]
        return parse_files(MAIN, files, arguments, _DETAILED_PREPROCESSING | _SKIP_BODIES | _KEEP_GOING)

    def evaluate(self, expression: str) -> Cursor | None:
        """Return the cursor of a variable that `expression` initialises, or ``None`` when clang rejects it.

        The variable has the expression's type and belongs to a unit of its own.
        """
        unit = self._parse(f"{self.text}\n__typeof__({expression}) __trapline_value = {expression};\n")
        if any(d.severity >= _ERROR for d in unit.diagnostics):
            return None
        found = None
        for cursor in unit.cursor.get_children():
            if cursor.kind == "VarDecl" and cursor.spelling == "__trapline_value":
                found = cursor
        return found

    def errors(self) -> list[Diagnostic]:
        """Return what clang found wrong."""
        sources: dict[str, Source] = {}
        return [self._diagnostic(d, sources) for d in self.unit.diagnostics if d.severity >= _ERROR]

    def _diagnostic(self, found: Finding, sources: dict[str, Source]) -> Diagnostic:
        message = found.spelling
        hints = _hints(message)
        file = found.location.file
        if file is None:
            return Diagnostic(message, None, Severity.ERROR, hints)
        start, end = _extent(found)
        if file != MAIN:
            text = self._supplied if file == SUPPLIED else read_text(file)
            source = sources.setdefault(file, Source(file, text))
            data = source.text.encode("utf-8", "surrogateescape")
            return Diagnostic(message, _span(source, _characters(data, start), _characters(data, end)), hints=hints)
        index = bisect_right([p.start for p in self._pieces], start) - 1
        piece = self._pieces[max(index, 0)]
        data = piece.span.text.encode("utf-8", "surrogateescape")
        first = piece.span.start + _characters(data, start - piece.start)
        last = piece.span.start + _characters(data, end - piece.start)
        return Diagnostic(message, _span(piece.span.source, first, last), hints=hints)


def _undefined(messages: Iterable[str]) -> frozenset[str]:
    found = (name for text in messages if _NOT_DEFINED.search(text) for name in _QUOTED.findall(text))
    return frozenset(found) - {"struct", "union", "enum", "sizeof"}


def _clashes(messages: Iterable[str]) -> frozenset[str]:
    found = (match for text in messages if (match := _CLASH.search(text)))
    return frozenset(name for match in found for name in match.groups() if name)


def _hints(message: str) -> tuple[str, ...]:
    missing = _NOT_FOUND.search(message)
    if missing and is_kernel_header(missing[1]):
        return ("This kernel has no type information that could stand for its headers.",)
    if missing:
        return ("Give the folder of the header with -I DIR.",)
    if _NOT_DEFINED.search(message):
        return ("Neither the program and its headers nor the kernel's type information define it.",)
    return ()


def _extent(found: Finding) -> tuple[int, int]:
    """Return the bytes that a finding is about."""
    at = found.location.offset
    for extent in found.ranges:
        if extent.start.offset <= at <= extent.end.offset and extent.start.file is not None:
            return extent.start.offset, extent.end.offset
    return at, at


def _characters(data: bytes, count: int) -> int:
    """Return how many characters the first `count` bytes are."""
    return len(data[: max(count, 0)].decode("utf-8", "surrogateescape"))


def _span(source: Source, start: int, end: int) -> Span:
    text = source.text
    start = min(start, len(text))
    if end <= start:
        word = re.compile(r"\w+").match(text, start)
        end = word.end() if word else start + 1
    return source.span(start, min(end, max(len(text), start)))
