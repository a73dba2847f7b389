"""Parse expressions: precedence climbing over C's operators, with bpftrace's additions."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.depth import MAX_CHAIN
from trapline.frontends.bpftrace.lexer import Kind
from trapline.frontends.bpftrace.parse_types import TYPE_NAMES, TypeParser, looks_like_type
from trapline.source import Span

PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "|": 3,
    "^": 4,
    "&": 5,
    "==": 6,
    "!=": 6,
    "<": 7,
    "<=": 7,
    ">": 7,
    ">=": 7,
    "<<": 8,
    ">>": 8,
    "+": 9,
    "-": 9,
    "*": 10,
    "/": 10,
    "%": 10,
}
_UNARY = ("-", "!", "~", "*", "&", "+")
_OPERAND_KINDS = (Kind.NAME, Kind.INTEGER, Kind.STRING, Kind.VARIABLE, Kind.PARAMETER, Kind.COUNT, Kind.MAP)


class ExpressionParser(TypeParser):
    """Parses expressions; blocks come from the subclass."""

    def block(self) -> ast.Block:
        """Parse ``{ … }``."""
        raise NotImplementedError

    def expression(self) -> ast.Expr:
        """Parse an expression, the ternary operator included."""
        with self.nested():
            start = self.token.span
            condition = self._binary(1)
            if not self.accept("?"):
                return condition
            then = None if self.at(":") else self.expression()
            self.expect(":")
            otherwise = self.expression()
            return ast.Ternary(self.span_from(start), condition, then, otherwise)

    def _binary(self, least: int) -> ast.Expr:
        start = self.token.span
        left = self._unary()
        chain = 0
        while True:
            token = self.token
            level = PRECEDENCE.get(token.text, 0) if token.kind is Kind.PUNCTUATION else 0
            if level < least or level == 0 or self.at_predicate_end():
                return left
            chain += 1
            if chain > MAX_CHAIN:
                self.fail(f"more than {MAX_CHAIN} operators in a row", token.span, "Use parentheses or a variable.")
            self.advance()
            right = self._binary(level + 1)
            left = ast.Binary(self.span_from(start), token.text, left, right)

    def _unary(self) -> ast.Expr:
        start = self.token.span
        if self.at("++", "--"):
            op = self.advance().text
            with self.nested():
                operand = self._unary()
            self._check_steppable(operand, op)
            return ast.Unary(self.span_from(start), op, operand)
        if self.at(*_UNARY):
            op = self.advance().text
            with self.nested():
                operand = self._unary()
            span = self.span_from(start)
            return operand if op == "+" else ast.Unary(span, op, operand)
        if self.at("comptime"):
            self.advance()
            with self.nested():
                operand = self._unary()
            return ast.Comptime(self.span_from(start), operand)
        if self.at("("):
            cast = self._cast()
            if cast is not None:
                return cast
        return self._postfix(self._primary(), start)

    def _check_steppable(self, operand: ast.Expr, op: str) -> None:
        if not isinstance(operand, ast.Variable | ast.MapName | ast.MapElement):
            self.diagnostics.error(f"'{op}' needs a variable or a map", operand.span)

    def _cast(self) -> ast.Cast | None:
        """Parse ``(T)e`` when the parentheses hold a type and an operand follows; else consume nothing."""
        opening, before = self.token, self.previous
        if self.peek().kind is not Kind.NAME:
            return None
        self.advance()
        kind = self.speculate_type()
        if kind is not None and self.at(")"):
            follower = self.peek()
            operand_follows = follower.kind in _OPERAND_KINDS or follower.is_("(", "!", "~", "comptime")
            if looks_like_type(kind):
                operand_follows = operand_follows or follower.is_("-", "*", "&", "+", "++", "--", "{", "if")
            if operand_follows and not follower.is_("in"):
                self.advance()
                with self.nested():
                    operand = self._unary()
                return ast.Cast(self.span_from(opening.span), kind, operand)
        self.token, self.previous = opening, before
        return None

    def _postfix(self, base: ast.Expr, start: Span) -> ast.Expr:
        chain = 0
        while True:
            chain += 1
            if chain > MAX_CHAIN:
                self.fail(f"more than {MAX_CHAIN} accesses in a row", self.token.span)
            if self.accept("."):
                if self.token.kind is Kind.INTEGER:
                    index = self.advance()
                    base = ast.TupleAccess(self.span_from(start), base, int(index.value))
                    continue
                name = self.expect_kind(Kind.NAME, "a field's name").text
                base = ast.FieldAccess(self.span_from(start), base, name)
            elif self.accept("->"):
                name = self.expect_kind(Kind.NAME, "a field's name").text
                base = ast.FieldAccess(self.span_from(start), base, name, arrow=True)
            elif self.accept("["):
                keys = self._list("]")
                self.expect("]")
                base = self._indexed(base, keys, start)
            elif self.at("++", "--"):
                op = self.advance().text
                self._check_steppable(base, op)
                base = ast.Unary(self.span_from(start), op, base, postfix=True)
            else:
                return base

    def _indexed(self, base: ast.Expr, keys: tuple[ast.Expr, ...], start: Span) -> ast.Expr:
        span = self.span_from(start)
        if isinstance(base, ast.MapName):
            if not keys:
                self.fail(
                    "a map's key is missing", span, f"Write {base.name}[key], or {base.name} for a map without key."
                )
            return ast.MapElement(span, base, keys)
        if len(keys) != 1:
            self.fail("an index is one expression", span)
        return ast.Index(span, base, keys[0])

    def _list(self, closing: str) -> tuple[ast.Expr, ...]:
        items: list[ast.Expr] = []
        with self.bracketed():
            while not self.at(closing):
                items.append(self.expression())
                if not self.accept(","):
                    break
        return tuple(items)

    def _primary(self) -> ast.Expr:
        token = self.token
        span = token.span
        if token.kind is Kind.INTEGER:
            self.advance()
            return ast.Integer(span, int(token.value), token.unsigned)
        if token.kind is Kind.STRING:
            return self._strings()
        if token.kind is Kind.VARIABLE:
            self.advance()
            return ast.Variable(span, token.text[1:])
        if token.kind is Kind.PARAMETER:
            self.advance()
            return ast.Positional(span, int(token.value))
        if token.kind is Kind.COUNT:
            self.advance()
            return ast.PositionalCount(span)
        if token.kind is Kind.MAP:
            self.advance()
            return ast.MapName(span, token.text)
        if self.at("("):
            return self._parenthesised()
        if self.at("{"):
            with self.bracketed():
                return self.block_value(self.block())
        if token.kind is Kind.NAME:
            return self._word()
        return self.fail_expected("expression")

    def _strings(self) -> ast.String:
        start = self.token.span
        value = b""
        while self.token.kind is Kind.STRING:
            part = self.advance().value
            assert isinstance(part, bytes)
            value += part
        return ast.String(self.span_from(start), value)

    def _word(self) -> ast.Expr:
        token = self.token
        word = token.text
        if word in ("true", "false"):
            self.advance()
            return ast.Boolean(token.span, word == "true")
        if word == "if":
            with self.bracketed():
                return self._if_value()
        if word in ("sizeof", "typeinfo") and self.peek().is_("("):
            self.advance()
            self.advance()
            with self.bracketed():
                operand = self.type_or_expression()
            self.expect(")")
            node = ast.Sizeof if word == "sizeof" else ast.Typeinfo
            return node(self.span_from(token.span), operand)
        if word == "offsetof" and self.peek().is_("("):
            return self._offsetof()
        if word == "typeof" and self.peek().is_("("):
            kind = self.type()
            return ast.TypeArgument(kind.span, kind)
        self.advance()
        if self.accept("("):
            args = self._list(")")
            self.expect(")")
            return ast.Call(self.span_from(token.span), word, args)
        if word in ("struct", "union", "enum") or (word in TYPE_NAMES and word not in ("timestamp",)):
            self.fail(
                f"syntax: expected expression, found the type '{word}'",
                token.span,
                "A cast is written (TYPE)expression.",
            )
        return ast.Identifier(token.span, word)

    def _offsetof(self) -> ast.Expr:
        start = self.advance().span
        self.expect("(")
        with self.bracketed():
            operand = self.type_or_expression()
        self.expect(",")
        path = [self.expect_kind(Kind.NAME, "a field's name").text]
        while self.accept("."):
            path.append(self.expect_kind(Kind.NAME, "a field's name").text)
        self.expect(")")
        return ast.Offsetof(self.span_from(start), operand, tuple(path))

    def _parenthesised(self) -> ast.Expr:
        """Parse ``(e)``, a tuple ``()``, ``(a,)``, ``(a, b)`` or a record ``(x=1, y=2)``."""
        start = self.advance().span
        with self.bracketed():
            if self.token.kind is Kind.NAME and self.peek().is_("="):
                fields = self._record_fields()
                self.expect(")")
                return ast.Record(self.span_from(start), fields)
            items: list[ast.Expr] = []
            comma = False
            while not self.at(")"):
                items.append(self.expression())
                comma = self.accept(",") is not None
                if not comma:
                    break
            self.expect(")")
        if len(items) == 1 and not comma:
            return items[0]
        return ast.Tuple(self.span_from(start), tuple(items))

    def _record_fields(self) -> tuple[tuple[str, ast.Expr], ...]:
        fields: dict[str, ast.Expr] = {}
        while not self.at(")"):
            name = self.expect_kind(Kind.NAME, "a field's name")
            self.expect("=")
            if name.text in fields:
                self.diagnostics.error(f"duplicate field '{name.text}' of a record", name.span)
            fields[name.text] = self.expression()
            if not self.accept(","):
                break
        return tuple(fields.items())

    def condition(self) -> tuple[bool, ast.Expr]:
        """Parse what follows ``if``: whether the branch is chosen at compile time, and the condition."""
        start = self.accept("comptime")
        condition = self.expression()
        if start is None:
            return False, condition
        return True, ast.Comptime(self.span_from(start.span), condition)

    def _if_value(self) -> ast.IfExpression:
        start = self.expect("if").span
        comptime, condition = self.condition()
        then = self.block_value(self.block())
        self.expect("else", "An 'if' that gives a value needs an 'else'.")
        otherwise: ast.BlockExpression | ast.IfExpression
        if self.at("if"):
            with self.nested():
                otherwise = self._if_value()
        else:
            otherwise = self.block_value(self.block())
        return ast.IfExpression(self.span_from(start), condition, then, otherwise, comptime)

    def block_value(self, block: ast.Block) -> ast.BlockExpression:
        """Turn a block into an expression: its last expression, if no semicolon follows it, is its value."""
        last = block.body[-1] if block.body else None
        value: ast.Expr | None = None
        if isinstance(last, ast.ExpressionStatement) and last.last:
            value = last.value
        elif isinstance(last, ast.If) and last.otherwise is not None:
            value = self._if_as_value(last)
        elif isinstance(last, ast.Block):
            value = self.block_value(last)
        if value is None:
            return ast.BlockExpression(block.span, block.body, None)
        return ast.BlockExpression(block.span, block.body[:-1], value)

    def _if_as_value(self, node: ast.If) -> ast.IfExpression:
        assert node.otherwise is not None
        otherwise: ast.BlockExpression | ast.IfExpression
        if isinstance(node.otherwise, ast.Block):
            otherwise = self.block_value(node.otherwise)
        elif node.otherwise.otherwise is not None:
            otherwise = self._if_as_value(node.otherwise)
        else:
            otherwise = ast.BlockExpression(node.otherwise.span, (node.otherwise,), None)
        return ast.IfExpression(node.span, node.condition, self.block_value(node.then), otherwise, node.comptime)
