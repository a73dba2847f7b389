"""`Reader`: what reading clang's tree shares: the text, names already met, and how to reject a construct."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from trapline.clang.c_api import Cursor
from trapline.clang.ctype import CType
from trapline.clang.libclang import in_main_file
from trapline.clang.read_types import TypeReader, UnknownTypeError
from trapline.errors import UnsupportedError
from trapline.frontends.bcc_c import tree
from trapline.records import field, record
from trapline.source import Diagnostic, Source

MAX_DEPTH = 500


@record
class Reader:
    """The state of reading one translation unit.

    `offsets` turns clang's byte offsets into character offsets (``None`` when the text is ASCII).
    """

    source: Source
    types: TypeReader
    offsets: list[int] | None
    variables: dict[Cursor, tree.Variable] = field(default_factory=dict)
    functions: dict[Cursor, tree.FunctionTree] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    read_function: Callable[[Cursor], tree.FunctionTree | None] = lambda cursor: None
    reading: list[str] = field(default_factory=list)
    jumps: bool = False
    depth: int = 0

    @contextmanager
    def nested(self, cursor: Cursor) -> Iterator[None]:
        """Count a level of nesting for the time of the ``with``.

        Raises:
            UnsupportedError: there are too many.
        """
        if self.depth >= MAX_DEPTH:
            raise self.unsupported(
                "this is nested too deeply", cursor, f"split it: expressions may be {MAX_DEPTH} levels deep"
            )
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def span(self, cursor: Cursor) -> tree.SpanT | None:
        """Return the characters of the script that a cursor covers, ``None`` outside the script."""
        if not in_main_file(cursor):
            return None
        extent = cursor.extent
        start, end = extent.start.offset, extent.end.offset
        if self.offsets is not None:
            last = len(self.offsets) - 1
            start, end = self.offsets[min(start, last)], self.offsets[min(end, last)]
        return start, max(start, end)

    def type(self, cursor: Cursor) -> CType:
        """Return the type of an expression or declaration."""
        try:
            return self.types.read(cursor.type)
        except UnknownTypeError as error:
            raise self.unsupported(f"the type '{error.spelling}' cannot be used in a BPF program", cursor) from None

    def unsupported(self, message: str, cursor: Cursor, *hints: str) -> UnsupportedError:
        """Return (to be raised) the error for a construct that has no lowering."""
        return unsupported(self.source, message, self.span(cursor), hints)


def unsupported(source: Source, message: str, span: tree.SpanT | None, hints: Iterable[str] = ()) -> UnsupportedError:
    """Return (to be raised) an error about a construct at `span`."""
    place = source.span(*span) if span is not None else None
    return UnsupportedError([Diagnostic(message, place, hints=tuple(hints))])
