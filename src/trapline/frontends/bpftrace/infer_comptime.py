"""Types of what is known at compile time: ``comptime``, ``typeinfo``, ``sizeof``, ``offsetof``, and chosen branches."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import TYPES, Value, evaluate, literal
from trapline.frontends.bpftrace.infer_operators import OperatorTyper
from trapline.source import Span


class ComptimeTyper(OperatorTyper):
    """Types expressions whose value the compiler knows; `rewritten` then holds what stands for them."""

    def type_as(self, node: ast.Expr, value: Value) -> t.Type:
        """Let a node stand for a value that is known at compile time; return its type."""
        known = self.rewritten.get(node)
        if known is None or evaluate(self, known) != value:
            self.rewritten[node] = literal(value, node.span)
        return self.type_of(self.rewritten[node])

    def decide(self, condition: ast.Expr, span: Span) -> bool | None:
        """Return the truth of a condition that must be known at compile time."""
        self.type_of(condition)
        value = evaluate(self, condition)
        if not isinstance(value, int):
            self.error("Unable to resolve comptime expression", span)
            return None
        return bool(value)

    def comptime_type(self, node: ast.Comptime) -> t.Type:
        """Type ``comptime e`` as its value."""
        self.type_of(node.operand)
        value = evaluate(self, node.operand)
        if value is None:
            return self.error("Unable to resolve comptime expression", node.span)
        return self.type_as(node, value)

    def typeinfo_type(self, node: ast.Typeinfo) -> t.Type:
        """Type ``typeinfo(e)``: a record of strings."""
        setting = self.knowledge.config.text("unstable_typeinfo")
        if setting == "error":
            self.error(
                "typeinfo feature is not enabled by default. To enable this unstable feature, set the config flag to"
                " enable. unstable_typeinfo=enable",
                node.span,
            )
        elif setting == "warn":
            self.knowledge.diagnostics.warning(
                "Script is using an unstable feature: typeinfo. To prevent this warning you must explicitly enable it"
                " in the config e.g. unstable_typeinfo=enable",
                None,
            )
        if isinstance(node.operand, TYPES):
            self.written_type(node.operand)
        else:
            self.type_of(node.operand)
        value = evaluate(self, node)
        return t.UNKNOWN if value is None else self.type_as(node, value)

    def size_of(self, node: ast.Sizeof) -> int:
        """Return the bytes that ``sizeof`` asks for."""
        return t.decay(self._operand(node.operand)).size

    def _operand_type(self, operand: ast.Expr) -> t.Type:
        return self.types[operand] if operand in self.types else self.type_of(operand)

    def _visit_operand(self, operand: ast.Expr | ast.TypeExpr) -> None:
        if isinstance(operand, TYPES):
            self.written_type(operand)
        else:
            self.type_of(operand)

    def sizeof_type(self, node: ast.Sizeof) -> t.Type:
        """Type ``sizeof``."""
        self._visit_operand(node.operand)
        return t.literal_type(self.size_of(node))

    def _operand(self, operand: ast.Expr | ast.TypeExpr) -> t.Type:
        if isinstance(operand, TYPES):
            return self.written_type(operand)
        return self._operand_type(operand)

    def offset_of(self, node: ast.Offsetof) -> int | None:
        """Return the byte offset that ``offsetof`` asks for; ``None`` when there is no such field."""
        type_ = self._operand(node.operand)
        at = 0
        for name in node.path:
            found = type_.members.field(name) if isinstance(type_, t.RecordT | t.NamedTupleT) else None
            if found is None:
                return None
            at += found.offset
            type_ = found.type
        return at

    def offsetof_type(self, node: ast.Offsetof) -> t.Type:
        """Type ``offsetof``."""
        self._visit_operand(node.operand)
        at = self.offset_of(node)
        if at is not None:
            return t.literal_type(at)
        kind = self._operand(node.operand)
        if isinstance(kind, t.UnknownT):
            return kind
        if not isinstance(kind, t.RecordT | t.NamedTupleT):
            return self.error(f"'{kind}' is not a C type.", node.span)
        return self.error(f"'{kind}' has no field named '{'.'.join(node.path)}'", node.span)

    def if_type(self, node: ast.IfExpression) -> t.Type:
        """Type an ``if`` that has a value."""
        if node.comptime:
            chosen = self.decide(node.condition, node.condition.span)
            if chosen is None:
                return t.UNKNOWN
            self.rewritten[node] = node.then if chosen else node.otherwise
            return self.type_of(self.rewritten[node])
        return self.choice_type(node)
