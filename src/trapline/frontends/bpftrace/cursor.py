"""The parser's position in the token stream, and its error handling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trapline.frontends.bpftrace.depth import MAX_NESTING
from trapline.frontends.bpftrace.lexer import Kind, Lexer, Token
from trapline.hints import NoReturn
from trapline.source import Diagnostics, Source, Span


class SyntaxAbort(Exception):
    """The construct being parsed cannot go on; its diagnostic is recorded.  Never leaves the parser."""


class Cursor:
    """A token of lookahead over the text of `source`."""

    def __init__(self, source: Source, diagnostics: Diagnostics) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.lexer = Lexer(source, diagnostics)
        self.previous = source.span(0, 0)
        self.nesting = 0
        # The predicate's closing slash ends an expression only outside of parentheses.
        self.in_predicate = False
        self.token = Token(Kind.END, "", source.span(0, 0))

    def seek(self, position: int) -> None:
        """Read the token at `position`."""
        self.token = self.lexer.token(position)

    def advance(self) -> Token:
        """Return the current token and go to the next one."""
        token = self.token
        if token.kind is Kind.BAD:
            raise SyntaxAbort
        self.previous = token.span
        self.token = self.lexer.token(token.span.end)
        return token

    def peek(self) -> Token:
        """Return the token after the current one; malformed text is not reported yet."""
        count = len(self.diagnostics.items)
        token = self.lexer.token(self.token.span.end)
        del self.diagnostics.items[count:]
        return token

    def at(self, *texts: str) -> bool:
        """Tell whether the current token is one of these."""
        return self.token.is_(*texts)

    def accept(self, *texts: str) -> Token | None:
        """Consume the current token if it is one of these."""
        return self.advance() if self.at(*texts) else None

    def expect(self, text: str, *hints: str) -> Token:
        """Consume the token `text`, or fail."""
        if not self.at(text):
            self.fail_expected(f"'{text}'", *hints)
        return self.advance()

    def expect_kind(self, kind: Kind, what: str = "") -> Token:
        """Consume a token of `kind`, or fail."""
        if self.token.kind is not kind:
            self.fail_expected(what or kind.value)
        return self.advance()

    def span_from(self, start: Span) -> Span:
        """Return the span from `start` to the end of the last consumed token."""
        return start.to(self.previous)

    def fail(self, message: str, span: Span | None, *hints: str) -> NoReturn:
        """Record a syntax error and abort the construct."""
        self.diagnostics.error(message, span, *hints)
        raise SyntaxAbort

    def fail_expected(self, what: str, *hints: str) -> NoReturn:
        """Fail at the current token, which is not `what`."""
        if self.token.kind is Kind.BAD:  # already reported
            raise SyntaxAbort
        self.fail(f"syntax: expected {what}", self.token.span, *hints)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Count one level of nesting; refuse too many."""
        if self.nesting >= MAX_NESTING:
            self.fail("nested too deeply", self.token.span, f"At most {MAX_NESTING} levels are allowed.")
        self.nesting += 1
        try:
            yield
        finally:
            self.nesting -= 1

    @contextmanager
    def bracketed(self) -> Iterator[None]:
        """Parse inside brackets, where a slash is always a division."""
        saved = self.in_predicate
        self.in_predicate = False
        try:
            with self.nested():
                yield
        finally:
            self.in_predicate = saved

    def at_predicate_end(self) -> bool:
        """Tell whether the current slash closes the predicate: the block follows it."""
        return self.in_predicate and self.at("/") and self.peek().is_("{")
