"""Parse statements and blocks; after a syntax error, go on with the next statement."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.cursor import SyntaxAbort
from trapline.frontends.bpftrace.lexer import Kind
from trapline.frontends.bpftrace.parse_expressions import ExpressionParser
from trapline.source import Span

_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
# After this many errors the rest is noise.
MAX_ERRORS = 20


class TooManyErrors(Exception):
    """Enough was found wrong.  Never leaves the parser."""


class StatementParser(ExpressionParser):
    """Parses statements."""

    def block(self) -> ast.Block:
        """Parse ``{ … }``, recovering at statement boundaries."""
        start = self.expect("{").span
        body: list[ast.Statement] = []
        with self.bracketed():
            while not self.at("}"):
                if self.token.kind is Kind.END:
                    self.fail("syntax: expected '}'", self.token.span, _opened_at(start))
                if self.accept(";"):
                    continue
                begin, level = self.token, self.nesting
                try:
                    body.append(self._statement())
                except SyntaxAbort:
                    self.nesting = level
                    self.recover(begin.span)
        self.expect("}")
        return ast.Block(self.span_from(start), tuple(body))

    def recover(self, begin: Span) -> None:
        """Skip to the end of the broken statement: behind its semicolon, or before the block's end."""
        if len(self.diagnostics.errors) >= MAX_ERRORS:
            raise TooManyErrors
        if self.token.span.start == begin.start and not self.at("}"):
            self._skip()
        depth = 0
        while self.token.kind is not Kind.END:
            if depth == 0 and self.at("}"):
                return
            if depth == 0 and self.at(";"):
                self._skip()
                return
            if self.at("{"):
                depth += 1
            elif self.at("}"):
                depth -= 1
                if depth == 0:
                    self._skip()
                    return
            self._skip()

    def _skip(self) -> None:
        """Go to the next token, whatever the current one is; malformed text is not reported again."""
        count = len(self.diagnostics.items)
        self.seek(self.token.span.end)
        del self.diagnostics.items[count:]

    def _statement(self) -> ast.Statement:
        token = self.token
        if token.kind is Kind.NAME:
            statement = self._keyword_statement(token.text)
            if statement is not None:
                return statement
        if self.at("{"):
            block = self.block()
            self.accept(";")
            return block
        return self._expression_statement()

    def _keyword_statement(self, word: str) -> ast.Statement | None:
        start = self.token.span
        follower = self.peek()
        if word == "if":
            return self._if()
        if word == "unroll":
            self.advance()
            count = self.expression()
            return ast.Unroll(self.span_from(start), count, self.block())
        if word == "while":
            self.advance()
            condition = self.expression()
            return ast.While(self.span_from(start), condition, self.block())
        if word == "for":
            return self._for()
        if word == "let":
            return self._let()
        if word in ("break", "continue"):
            self.advance()
            self._end_statement()
            span = self.span_from(start)
            return ast.Break(span) if word == "break" else ast.Continue(span)
        if word == "return":
            self.advance()
            value = None if self.at(";", "}") else self.expression()
            span = self.span_from(start)
            self._end_statement()
            return ast.Return(span, value)
        if word == "import" and follower.kind is Kind.STRING:
            return self.import_()
        if word == "_" and follower.is_("="):
            self.advance()
            self.advance()
            value = self.expression()
            span = self.span_from(start)
            self._end_statement()
            return ast.Discard(span, value)
        return None

    def import_(self) -> ast.Import:
        """Parse ``import "path";``."""
        start = self.expect("import").span
        path = self.expect_kind(Kind.STRING, "a path in quotes")
        span = self.span_from(start)
        self._end_statement()
        assert isinstance(path.value, bytes)
        return ast.Import(span, path.value.decode("utf-8", "surrogateescape"))

    def _end_statement(self) -> None:
        if not self.at("}") and not self.accept(";"):
            self.fail_expected("';' or '}'")

    def _if(self) -> ast.If:
        start = self.expect("if").span
        comptime, condition = self.condition()
        head = self.span_from(start)
        then = self.block()
        otherwise: ast.Block | ast.If | None = None
        if self.accept("else"):
            if self.at("if"):
                with self.nested():
                    otherwise = self._if()
            else:
                otherwise = self.block()
        return ast.If(head, condition, then, otherwise, comptime)

    def _for(self) -> ast.For:
        start = self.expect("for").span
        parenthesised = self.at("(")
        if parenthesised:
            self.advance()
        if self.token.kind is not Kind.VARIABLE:
            self.fail("syntax: expected variable in for loop", self.token.span)
        name = self.advance()
        self.expect(":")
        first = self.expression()
        iterable: ast.Expr | ast.Range = first
        if self.accept(".."):
            end = self.expression()
            iterable = ast.Range(first.span.to(self.previous), first, end)
        elif not isinstance(first, ast.MapName):
            self.fail("syntax: expected map or range in for loop", self.token.span)
        if parenthesised:
            self.expect(")")
        head = self.span_from(start)
        return ast.For(head, ast.Variable(name.span, name.text[1:]), iterable, self.block())

    def _let(self) -> ast.Let:
        start = self.expect("let").span
        if self.token.kind is Kind.MAP:
            self.fail("a map is declared at the top level, not inside a block", self.token.span)
        name = self.expect_kind(Kind.VARIABLE, "a variable")
        kind = self.type() if self.accept(":") else None
        value = self.expression() if self.accept("=") else None
        span = self.span_from(start)
        self._end_statement()
        return ast.Let(span, ast.Variable(name.span, name.text[1:]), kind, value)

    def _expression_statement(self) -> ast.Statement:
        start = self.token.span
        value = self.expression()
        if self.token.kind is Kind.PUNCTUATION and self.token.text in _ASSIGNMENTS:
            op = self.advance()
            if not isinstance(value, ast.Variable | ast.MapName | ast.MapElement):
                self.fail(
                    "only a variable or a map can be assigned to",
                    value.span,
                    "Write $name = … or @name[key] = …; kernel memory cannot be written.",
                )
            right = self.expression()
            span = self.span_from(start)
            self._end_statement()
            return ast.Assign(span, value, op.text[:-1], right)
        last = self.at("}")
        self._end_statement()
        return ast.ExpressionStatement(self.span_from(start), value, last)


def _opened_at(span: Span) -> str:
    line, column = span.source.position(span.start)
    return f"The block was opened at line {line}, column {column}."
