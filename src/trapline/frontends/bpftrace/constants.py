"""Evaluate what is known at compile time: integer expressions, positional parameters, enumerators."""

from __future__ import annotations

import re
from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import from_btf
from trapline.frontends.bpftrace.knowledge import Knowledge
from trapline.frontends.bpftrace.lexer import read_integer

ARG_N = re.compile(r"arg([0-9]+)")
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class ConstantReader:
    """Evaluates constants of one site."""

    knowledge: Knowledge
    # What stands for a node: literals for what is known at compile time, plainer code for what is short for it.
    rewritten: dict[ast.Node, ast.Expr]
    # What operators were found to give, as long as `rewritten` has that many entries: chains of them are long.
    folded: dict[ast.Node, int | None]
    folded_with: int

    def size_of(self, node: ast.Sizeof) -> int:
        """Return the bytes that ``sizeof`` asks for."""
        raise NotImplementedError

    def offset_of(self, node: ast.Offsetof) -> int | None:
        """Return the byte offset that ``offsetof`` asks for; ``None`` when there is no such field."""
        raise NotImplementedError

    def is_literal(self, node: ast.Expr) -> bool:
        """Tell whether an expression is a literal, or made of literals alone."""
        if isinstance(node, ast.BlockExpression):
            return not node.body and node.value is not None and self.is_literal(node.value)
        if isinstance(node, ast.Tuple):
            return all(map(self.is_literal, node.elements))
        if isinstance(node, ast.Record):
            return all(self.is_literal(value) for _, value in node.fields)
        return isinstance(node, ast.String) or self.constant(node) is not None

    def truth(self, node: ast.Expr) -> bool | None:
        """Return the truth of a condition that is known at compile time."""
        node = self.rewritten.get(node, node)
        if isinstance(node, ast.String):
            return bool(node.value)
        if isinstance(node, ast.Unary) and node.op == "!" and not node.postfix:
            inner = self.truth(node.operand)
            return None if inner is None else not inner
        if isinstance(node, ast.Binary) and node.op in ("&&", "||"):
            left, right = self.truth(node.left), self.truth(node.right)
            if left is None or right is None:
                return None
            return left and right if node.op == "&&" else left or right
        if isinstance(node, ast.Binary) and node.op in _COMPARISONS:
            one, two = self.constant(node.left), self.constant(node.right)
            return None if one is None or two is None else _COMPARISONS[node.op](one, two)
        value = self.constant(node)
        return None if value is None else bool(value)

    def constant(self, node: ast.Expr) -> int | None:
        """Return the value of an integer expression that is known at compile time."""
        node = self.rewritten.get(node, node)
        if isinstance(node, ast.Integer):
            return node.value
        if isinstance(node, ast.Boolean):
            return int(node.value)
        if isinstance(node, ast.Positional):
            given = self.positional(node)
            return given if isinstance(given, int) else None
        if isinstance(node, ast.PositionalCount):
            return len(self.knowledge.options.positional)
        if isinstance(node, ast.Unary) and node.op in ("-", "~") and not node.postfix:
            value = self.constant(node.operand)
            return (
                None if value is None else -value if node.op == "-" else ~value % (1 << 64 if value >= 0 else 1 << 63)
            )
        if isinstance(node, ast.Binary):
            if self.folded_with != len(self.rewritten):
                self.folded.clear()
                self.folded_with = len(self.rewritten)
            if node not in self.folded:
                self.folded[node] = self.fold(node.op, self.constant(node.left), self.constant(node.right))
            return self.folded[node]
        if isinstance(node, ast.Sizeof):
            return self.size_of(node)
        if isinstance(node, ast.Offsetof):
            return self.offset_of(node)
        if isinstance(node, ast.Identifier) and node.name not in self.knowledge.builtins and not ARG_N.match(node.name):
            found = self.enumerator(node.name)
            return found[0] if found else None
        return None

    @staticmethod
    def fold(op: str, left: int | None, right: int | None) -> int | None:
        """Return ``left op right``; ``None`` when that is unknown or does not fit 64 bits."""
        return _fold(op, left, right)

    def positional(self, node: ast.Positional) -> int | bytes:
        """Return what ``$n`` stands for: a number if it reads as one, else text; 0 when it is not given."""
        given = self.knowledge.options.positional
        if node.index > len(given):
            return 0
        text = given[node.index - 1]
        number = read_integer(text)
        if number is not None and number >= -(1 << 63):
            return number
        return text.encode("utf-8", "surrogateescape")

    def literal_string(self, node: ast.Expr) -> bytes | None:
        """Return the bytes of a string that is known at compile time."""
        node = self.rewritten.get(node, node)
        if isinstance(node, ast.String):
            return node.value
        if isinstance(node, ast.Positional):
            value = self.positional(node)
            return value if isinstance(value, bytes) else None
        if isinstance(node, ast.Call) and node.name == "str" and node.args:
            text = self._script_argument(node.args[0])
            if text is not None and len(node.args) == 2:
                limit = self.constant(node.args[1])
                return text[:limit] if limit is not None and limit >= 0 else None
            return text
        return None

    def _script_argument(self, node: ast.Expr) -> bytes | None:
        """Return the text of ``$n``, or the rest of it that ``$n + k`` means."""
        skip = 0
        if isinstance(node, ast.Binary) and node.op == "+" and isinstance(node.left, ast.Positional):
            offset = self.constant(node.right)
            if offset is None or offset < 0:
                return None
            node, skip = node.left, offset
        if not isinstance(node, ast.Positional):
            return None
        given = self.knowledge.options.positional
        return given[node.index - 1].encode("utf-8", "surrogateescape")[skip:] if node.index <= len(given) else b""

    def enumerator(self, name: str) -> tuple[int, t.Type] | None:
        """Return the value and type of an enumerator of the program's C or of the kernel."""
        known = self.knowledge.enumerators
        if name not in known:
            known[name] = self._find_enumerator(name)
        return known[name]

    def _find_enumerator(self, name: str) -> tuple[int, t.Type] | None:
        own = self.knowledge.c.enumerator(name) if self.knowledge.c is not None else None
        if own is not None:
            return own[0], _wide(own[1])
        found = self.knowledge.kernel.enumerator(name)
        if found is None:
            return None
        btf, value, enum_id = found
        return value, _wide(from_btf(btf, enum_id))


def _wide(kind: t.Type) -> t.Type:
    """Return the type of an enumerator: its enum, in 64 bits."""
    return t.EnumT(kind.name, 8, kind.signed, kind.values) if isinstance(kind, t.EnumT) else kind


def _fold(op: str, left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return None
    if op in ("/", "%"):
        if right == 0:
            return None
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if op == "/" else left - quotient * right
    if op in ("<<", ">>"):
        if not 0 <= right < 64:
            return None
        return left << right if op == "<<" else left >> right
    simple: dict[str, Callable[[int, int], int]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "&": lambda a, b: a & b,
        "|": lambda a, b: a | b,
        "^": lambda a, b: a ^ b,
    }
    value = simple[op](left, right) if op in simple else None
    return value if value is not None and -(1 << 63) <= value < 1 << 64 else None
