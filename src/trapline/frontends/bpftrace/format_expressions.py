"""Lay out expressions and types: lines of at most 80 characters, parentheses where they help the reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline.frontends.bpftrace import ast
from trapline.hints import Any

WIDTH = 80
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_TYPES = (ast.NamedType, ast.PointerType, ast.ArrayType, ast.TupleType, ast.TypeofType)
# Conditions that need no parentheses.
_PLAIN = (
    ast.Variable, ast.MapName, ast.MapElement, ast.Call, ast.FieldAccess, ast.TupleAccess, ast.Index, ast.Integer,
    ast.String, ast.Boolean, ast.Identifier, ast.Positional, ast.PositionalCount, ast.Tuple, ast.Record, ast.Comptime,
    ast.Sizeof, ast.Offsetof, ast.Typeinfo,
    ast.TypeArgument,  # which in parentheses would be a cast
)  # fmt: skip

# Lays out a block whose opening brace stands in a line that begins at a column.
Blocks = Callable[[ast.BlockExpression, int], str]


class ExpressionFormatter:
    """Lays out expressions.

    Args:
        blocks: lays out blocks in expressions.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    def expression(self, node: ast.Expr, column: int, indent: int, room: int = 1) -> str:
        """Return an expression as text.

        Args:
            node: the expression.
            column: where it starts in its line.
            indent: where its statement starts.
            room: how many characters follow in the same line.
        """
        text = self._inline(node, indent)
        if "\n" in text or column + len(text) + room <= WIDTH:
            return text
        return self._broken(node, column, indent, room)

    def _inline(self, node: Any, indent: int) -> str:
        """Return an expression in one line, blocks in it apart."""
        rule = _INLINE.get(type(node))
        return rule(self, node, indent) if rule is not None else str(node.span.text)

    def _broken(self, node: ast.Expr, column: int, indent: int, room: int) -> str:
        """Return an expression in several lines, if it can be cut."""
        if isinstance(node, ast.Call):
            return self._list(f"{node.name}(", node.args, ")", column, indent, room)
        if isinstance(node, ast.MapElement):
            return self._list(f"{node.map.name}[", node.keys, "]", column, indent, room)
        if isinstance(node, ast.Tuple) and len(node.elements) > 1:
            return self._list("(", node.elements, ")", column, indent, room)
        if isinstance(node, ast.Binary):
            return self._cut_binary(node, column, indent, room)
        if isinstance(node, ast.Ternary):
            pad = "\n" + " " * indent
            condition = self.operand(node.condition, column, indent)
            then = f" {self.operand(node.then, indent + 2, indent)}" if node.then is not None else ""
            return f"{condition}{pad}?{then}{pad}: {self.operand(node.otherwise, indent + 2, indent)}"
        return self._inline(node, indent)

    def _list(self, head: str, items: Sequence[ast.Expr], tail: str, column: int, indent: int, room: int) -> str:
        """Fill lines with the items of a list, behind its opening bracket; one that is too long starts a line."""
        start = column + len(head)
        texts = [self._inline(item, indent) for item in items]
        if any(start + len(text) + 1 > WIDTH for text in texts):
            start = indent + 2
            return f"{head}\n{' ' * start}{', '.join(texts)}\n{' ' * indent}{tail}"
        lines, line = [], ""
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            more = text if last else text + ","
            length = start + len(line) + len(more) + (1 if line else 0) + (len(tail) + room if last else 0)
            if line and length > WIDTH:
                lines.append(line)
                line = more
            else:
                line = f"{line} {more}" if line else more
        return head + ("\n" + " " * start).join([*lines, line]) + tail

    def _cut_binary(self, node: ast.Binary, column: int, indent: int, room: int) -> str:
        """Fill lines with the operands of a chain, cut behind its operators."""
        operands: list[ast.Expr] = [node.right]
        left = node.left
        while isinstance(left, ast.Binary) and left.op == node.op and node.op in ("&&", "||"):
            operands.insert(0, left.right)
            left = left.left
        operands.insert(0, left)
        lines, line = [], ""
        for number, operand in enumerate(operands):
            tail = f" {node.op}" if number < len(operands) - 1 else ""
            after = 0 if tail else room
            text = self.operand(operand, column, indent, node.op, len(tail) + after) + tail
            if line and column + len(line) + 1 + len(text) + after > WIDTH:
                lines.append(line)
                line = text
            else:
                line = f"{line} {text}" if line else text
        return ("\n" + " " * column).join([*lines, line])

    def operand(self, node: ast.Expr, column: int, indent: int, op: str = "", room: int = 1) -> str:
        """Return an operand, in parentheses if it has an operator itself."""
        loose = isinstance(node, ast.Binary | ast.Ternary | ast.Cast)
        if isinstance(node, ast.Binary) and op in ("&&", "||"):
            loose = node.op != op and node.op not in _COMPARISONS
        if not loose:
            return self.expression(node, column, indent, room)
        return f"({self.expression(node, column + 1, indent, room + 1)})"

    def condition(self, node: ast.Expr, column: int, indent: int) -> str:
        """Return a condition, in parentheses unless it is short."""
        if isinstance(node, ast.Comptime):
            return f"comptime {self.condition(node.operand, column + 9, indent)}"
        if isinstance(node, _PLAIN):
            return self.expression(node, column, indent, 2)
        return f"({self.expression(node, column + 1, indent, 3)})"

    def arguments(self, items: Sequence[ast.Expr], indent: int) -> str:
        """Return expressions in one line, with commas between them."""
        return ", ".join(self._inline(item, indent) for item in items)

    def type(self, node: ast.TypeExpr | ast.Expr) -> str:
        """Return a type, or an expression where a type might stand."""
        if isinstance(node, ast.NamedType):
            return f"{node.tag} {node.name}" if node.tag else node.name
        if isinstance(node, ast.PointerType):
            return self.type(node.target) + "*"
        if isinstance(node, ast.ArrayType):
            return f"{self.type(node.element)}[{self._inline(node.length, 0) if node.length is not None else ''}]"
        if isinstance(node, ast.TupleType):
            return "(" + ", ".join(self.type(element) for element in node.elements) + ")"
        if isinstance(node, ast.TypeofType):
            return f"typeof({self.type(node.operand)})"
        return self._inline(node, 0)

    # -- one line each

    def _unary(self, node: ast.Unary, indent: int) -> str:
        text = self._inline(node.operand, indent)
        if isinstance(node.operand, ast.Binary | ast.Ternary | ast.Cast | ast.Unary | ast.IfExpression):
            text = f"({text})"
        return text + node.op if node.postfix else node.op + text

    def _binary(self, node: ast.Binary, indent: int) -> str:
        left = self._inline_operand(node.left, indent, node.op)
        # Operators group to the left: an equal one on the right keeps its parentheses.
        grouped = isinstance(node.right, ast.Binary) and node.right.op == node.op
        return f"{left} {node.op} {self._inline_operand(node.right, indent, '' if grouped else node.op)}"

    def _inline_operand(self, node: ast.Expr, indent: int, op: str) -> str:
        loose = isinstance(node, ast.Binary | ast.Ternary | ast.Cast | ast.IfExpression)
        if isinstance(node, ast.Binary) and op in ("&&", "||"):
            loose = node.op != op and node.op not in _COMPARISONS
        text = self._inline(node, indent)
        return f"({text})" if loose else text

    def _ternary(self, node: ast.Ternary, indent: int) -> str:
        condition, otherwise = (self._inline_operand(n, indent, "") for n in (node.condition, node.otherwise))
        if node.then is None:
            return f"{condition} ?: {otherwise}"
        return f"{condition} ? {self._inline_operand(node.then, indent, '')} : {otherwise}"

    def _cast(self, node: ast.Cast, indent: int) -> str:
        text = self._inline(node.operand, indent)
        loose = isinstance(node.operand, ast.Binary | ast.Ternary | ast.IfExpression)
        return f"({self.type(node.type)}){f'({text})' if loose else text}"

    def _base(self, node: ast.Expr, indent: int) -> str:
        text = self._inline(node, indent)
        plain = isinstance(node, _PLAIN) and not isinstance(node, ast.Comptime)
        return text if plain or isinstance(node, ast.BlockExpression) else f"({text})"

    def _index(self, node: ast.Index, indent: int) -> str:
        return f"{self._base(node.base, indent)}[{self._inline(node.index, indent)}]"

    def _tuple(self, node: ast.Tuple, indent: int) -> str:
        comma = "," if len(node.elements) == 1 else ""
        return f"({self.arguments(node.elements, indent)}{comma})"

    def _record(self, node: ast.Record, indent: int) -> str:
        return "(" + ", ".join(f"{name}={self._inline(value, indent)}" for name, value in node.fields) + ")"

    def _comptime(self, node: ast.Comptime, indent: int) -> str:
        text = self._inline(node.operand, indent)
        return f"comptime {text}" if isinstance(node.operand, _PLAIN) else f"comptime ({text})"

    def _block(self, node: ast.BlockExpression, indent: int) -> str:
        return self._blocks(node, indent)

    def _if(self, node: ast.IfExpression, indent: int) -> str:
        condition = self.condition(node.condition, indent + 3, indent)
        otherwise = self._inline(node.otherwise, indent)
        return f"if {condition} {self._blocks(node.then, indent)} else {otherwise}"


_INLINE: dict[type, Callable[[Any, Any, int], str]] = {
    ast.Variable: lambda self, node, indent: f"${node.name}",
    ast.MapName: lambda self, node, indent: node.name,
    ast.MapElement: lambda self, node, indent: f"{node.map.name}[{self.arguments(node.keys, indent)}]",
    ast.FieldAccess: lambda self, node, indent: f"{self._base(node.base, indent)}.{node.name}",
    ast.TupleAccess: lambda self, node, indent: f"{self._base(node.base, indent)}.{node.index}",
    ast.Index: ExpressionFormatter._index,
    ast.Unary: ExpressionFormatter._unary,
    ast.Binary: ExpressionFormatter._binary,
    ast.Ternary: ExpressionFormatter._ternary,
    ast.Cast: ExpressionFormatter._cast,
    ast.Call: lambda self, node, indent: f"{node.name}({self.arguments(node.args, indent)})",
    ast.Tuple: ExpressionFormatter._tuple,
    ast.Record: ExpressionFormatter._record,
    ast.Sizeof: lambda self, node, indent: f"sizeof({self.type(node.operand)})",
    ast.Typeinfo: lambda self, node, indent: f"typeinfo({self.type(node.operand)})",
    ast.Offsetof: lambda self, node, indent: f"offsetof({self.type(node.operand)}, {'.'.join(node.path)})",
    ast.TypeArgument: lambda self, node, indent: self.type(node.type),
    ast.Comptime: ExpressionFormatter._comptime,
    ast.BlockExpression: ExpressionFormatter._block,
    ast.IfExpression: ExpressionFormatter._if,
}
