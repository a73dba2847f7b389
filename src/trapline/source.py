"""Source text, spans into it, and diagnostics with their rendering (the shape that bpftrace prints)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum
from functools import cached_property

from trapline.records import field, record


@record(frozen=True)
class Source:
    """A program text and the name it is reported under (``stdin`` for ``-e``, else the file's path).

    Args:
        name: what messages call it.
        text: the text.
        base: where it begins among all texts of a program, in characters: 0 but for imported files.
        origin: what imported it.
    """

    name: str
    text: str = field(repr=False)
    base: int = 0
    origin: Span | None = field(default=None, repr=False)

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, c in enumerate(self.text) if c == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Return the 1-based (line, column) of the character at `offset`."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of 1-based line `number`, without its newline."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] - 1 if number < len(self._line_starts) else len(self.text)
        return self.text[start:end]

    def span(self, start: int, end: int) -> Span:
        """Return the span of characters ``[start, end)``."""
        return Span(self, start, end, self.origin)


@record(frozen=True)
class Span:
    """Characters ``[start, end)`` of a source.

    Args:
        source: the text.
        start, end: which part of it.
        origin: the macro call or the import that put the text where it is.
    """

    source: Source = field(repr=False, compare=False)
    start: int
    end: int
    origin: Span | None = field(default=None, repr=False)

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end), self.origin)

    def part(self, start: int, end: int) -> Span:
        """Return the span of characters ``[start, end)`` of the same source, put there by the same macro call."""
        return Span(self.source, start, end, self.origin)

    @property
    def range(self) -> tuple[int, int]:
        """Start and end among all texts of the program (see `Source.base`)."""
        base = self.source.base
        return self.start + base, self.end + base

    @property
    def chain(self) -> tuple[tuple[int, int], ...]:
        """The `range` of this span and of all macro calls that it comes from."""
        rest = self.origin.chain if self.origin is not None else ()
        return (self.range, *rest)

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    def underlined(self) -> tuple[str, str]:
        """Return the first line of the span, and what underlines it."""
        source = self.source
        line, column = source.position(self.start)
        end_line, end_column = source.position(max(self.start, self.end))
        text = source.line(line)
        width = (end_column if end_line == line else len(text) + 1) - column
        pad = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
        return text, pad + "~" * max(1, width)

    def location(self) -> str:
        """Return ``NAME:LINE:COL1-COL2``, or ``NAME:LINE1-LINE2`` when it spans lines."""
        line, column = self.source.position(self.start)
        end_line, end_column = self.source.position(max(self.start, self.end))
        if end_line != line:
            return f"{self.source.name}:{line}-{end_line}"
        return f"{self.source.name}:{line}:{column}-{end_column}"


class Sources:
    """All texts of a program, whose spans are counted through.

    Args:
        name, text: the program itself.
        imports: imported files, in the order of their bases: (name, text, start and end of what imported them).
    """

    def __init__(self, name: str, text: str, imports: Iterable[tuple[str, str, int, int]] = ()) -> None:
        self._sources = [Source(name, text)]
        for import_name, import_text, start, end in imports:
            last = self._sources[-1]
            origin = self.span((start, end))
            self._sources.append(Source(import_name, import_text, last.base + len(last.text) + 1, origin))

    def span(self, place: tuple[int, int], origins: Iterable[tuple[int, int]] = ()) -> Span:
        """Return the span of a `Span.range`, with the ranges of its origins (those of its import if there are none)."""
        start, end = place
        source = next(s for s in reversed(self._sources) if s.base <= max(0, start))
        origin = source.origin
        for number, outer in enumerate(reversed(list(origins))):
            parent = self.span(outer)
            origin = Span(parent.source, parent.start, parent.end, origin if number else None)
        return Span(source, start - source.base, end - source.base, origin)


class Severity(Enum):
    """How bad a diagnostic is; the value is the word that is printed."""

    ERROR = "ERROR"
    WARNING = "WARNING"


@record(frozen=True)
class Diagnostic:
    """One finding about the user's program.

    Args:
        message: in the user's terms, one line.
        span: the place, or ``None`` when there is none (then only the message is printed).
        severity: error or warning.
        hints: what to write instead, a line each.
    """

    message: str
    span: Span | None = None
    severity: Severity = Severity.ERROR
    hints: tuple[str, ...] = ()

    def render(self) -> str:
        """Return position and message, the source line, the underline, and the hints."""
        word = self.severity.value
        lines = [] if self.span is not None else [f"{word}: {self.message}"]
        message, span = self.message, self.span
        while span is not None:
            lines += [f"{span.location()}: {word}: {message}", *span.underlined()]
            message, span = "expanded from", span.origin
        lines += [f"HINT: {hint}" for hint in self.hints]
        return "\n".join(lines)


@record
class Diagnostics:
    """Collects the findings of a phase; `raise_if_errors` ends the phase."""

    items: list[Diagnostic] = field(default_factory=list)

    def error(self, message: str, span: Span | None, *hints: str) -> None:
        """Record an error."""
        self.items.append(Diagnostic(message, span, Severity.ERROR, hints))

    def warning(self, message: str, span: Span | None, *hints: str) -> None:
        """Record a warning."""
        self.items.append(Diagnostic(message, span, Severity.WARNING, hints))

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors only, in the order of their recording."""
        return [d for d in self.items if d.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings only, in the order of their recording."""
        return [d for d in self.items if d.severity is Severity.WARNING]

    def extend(self, items: Iterable[Diagnostic]) -> None:
        """Record the findings of a sub-phase."""
        self.items.extend(items)
