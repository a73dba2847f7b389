"""What all typing of one site needs: findings, what places hold so far, and values that lose bits on the way there."""

from __future__ import annotations

from functools import cached_property

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.constants import ConstantReader
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo, Variable
from trapline.frontends.bpftrace.promotion import fits, holds, number, promote, storable
from trapline.frontends.bpftrace.sites import Argument, Arguments, ProbeSite
from trapline.ir.types import Space
from trapline.source import Diagnostic, Span

_LOSS = (
    "Expression of type: {} being cast to type: {}. This may cause unexpected results."
    " Use an explicit cast to suppress this warning."
)


class TyperBase(ConstantReader):
    """What all typing of one site needs.

    Args:
        knowledge: shared by all sites.
        site: where the block runs.
    """

    def __init__(self, knowledge: Knowledge, site: ProbeSite) -> None:
        self.knowledge = knowledge
        self.site = site
        self.types: dict[ast.Node, t.Type] = {}
        self.rewritten: dict[ast.Node, ast.Expr] = {}
        self.folded: dict[ast.Node, int | None] = {}
        self.folded_with = 0
        self.resolved: dict[ast.Variable, Variable] = {}
        self.scopes: list[dict[str, Variable]] = []
        self.used_arguments: dict[str, Argument] = {}
        self.uses_probe = False
        self.assigned: set[Variable] = set()
        self.changed = False
        self.final = False
        self.settled = False

    @cached_property
    def arguments(self) -> Arguments:
        """The site's named arguments."""
        return self.site.find_arguments()

    # -- provided by the subclasses

    def type_of(self, node: ast.Expr) -> t.Type:
        """Return the type of an expression, and remember it."""
        raise NotImplementedError

    def written_type(self, node: ast.TypeExpr) -> t.Type:
        """Return the type that a piece of program text names."""
        raise NotImplementedError

    def variable_type(self, node: ast.Variable) -> t.Type:
        """Return what a variable holds so far; unknown, and an error, when there is no such variable."""
        raise NotImplementedError

    def map_info(self, name: ast.MapName) -> MapInfo:
        """Return what is known of a map."""
        raise NotImplementedError

    def use_map(self, node: ast.MapName | ast.MapElement) -> MapInfo:
        """Type the key of a map's element (or note that there is none); return the map."""
        raise NotImplementedError

    # -- findings

    def error(self, message: str, span: Span, *hints: str) -> t.Type:
        """Record an error; returns the unknown type."""
        self.knowledge.diagnostics.error(message, span, *hints)
        return t.UNKNOWN

    def warning(self, message: str, span: Span | None, *hints: str) -> None:
        """Record a warning."""
        self.knowledge.diagnostics.warning(message, span, *hints)

    def unsupported(self, what: str, span: Span) -> t.Type:
        """Record a construct that is not implemented; returns the unknown type."""
        self.knowledge.unsupported.append(Diagnostic(f"{what} not supported yet", span))
        return t.UNKNOWN

    # -- questions

    def integer_of(self, node: ast.Expr, what: str) -> t.Type:
        """Type an expression that must be a number."""
        type_ = self.type_of(node)
        if not isinstance(type_, (*t.NUMBERS, t.UnknownT, t.PtrT, t.WordT)) and not self.castable(type_):
            self.error(f"{what} must be an integer, not {type_}", node.span)
        return type_

    def condition_of(self, node: ast.Expr, whole: Span) -> t.Type:
        """Type the condition of the statement or expression `whole`."""
        type_ = self.type_of(node)
        known = isinstance(type_, (*t.NUMBERS, t.UnknownT, t.PtrT, t.WordT)) or self.castable(type_)
        if not known and self.truth(node) is None:
            self.error(f"Invalid condition: {_kind(type_)}", whole)
        return type_

    def castable(self, type_: t.Type) -> bool:
        """Tell whether a map's aggregate can be read as an integer."""
        return isinstance(type_, t.AggregateT) and type_.kind in t.CASTABLE

    def read(self, type_: t.Type) -> t.Type:
        """Return the type of a value once it is read: an aggregate that can be a number is one."""
        if isinstance(type_, t.AggregateT) and type_.kind in t.CASTABLE:
            return t.aggregate_number(type_)
        return type_

    def default_space(self) -> Space:
        """Return the address space of a pointer made of an integer."""
        return Space.USER if self.site.user else Space.UNKNOWN

    # -- places

    def assign_variable(self, variable: Variable, type_: t.Type, span: Span, value: ast.Expr | None = None) -> None:
        """Let a variable hold values of a type; `value` is the expression that is assigned as it is."""
        if isinstance(type_, t.UnknownT):
            return
        merged: t.Type | None
        variable.assigned = True
        self.assigned.add(variable)
        if variable.fixed:
            merged = variable.type if storable(type_, variable.type) else None
        else:
            merged = promote(variable.type, type_)
        if merged is None or (value is not None and not self._literals_fit(value, merged)):
            self.error(
                f"Type mismatch for ${variable.name}: trying to assign value of type '{type_}' when variable already"
                f" has a type '{variable.type}'",
                span,
            )
            return
        if merged != variable.type:
            variable.type = merged
            self.changed = True
        self.warn_of_loss(value, type_, merged, span)

    def assign_map(self, info: MapInfo, type_: t.Type, span: Span, value: ast.Expr | None = None) -> None:
        """Let a map's elements hold values of a type."""
        if isinstance(type_, t.UnknownT):
            return
        merged = promote(info.value, type_)
        if merged is None or (value is not None and not self._literals_fit(value, merged)):
            self.error(
                f"Type mismatch for {info.name}: trying to assign value of type '{type_}' when map already has a type"
                f" '{info.value}'",
                span,
            )
            return
        if merged != info.value:
            info.value = merged
            self.changed = True
        self.warn_of_loss(value, type_, merged, span)

    def _literals_fit(self, node: ast.Expr, wanted: t.Type) -> bool:
        """Tell whether a literal, and each literal in a tuple, is a value of the type."""
        if isinstance(wanted, t.IntT):
            value = self.constant(node)
            return value is None or holds(wanted, value)
        if isinstance(node, ast.Tuple) and isinstance(wanted, t.TupleT):
            return all(self._literals_fit(e, k) for e, k in zip(node.elements, wanted.elements, strict=True))
        return True

    def warn_of_loss(self, node: ast.Expr | None, given: t.Type, wanted: t.Type, span: Span) -> None:
        """Warn when an integer goes where not every value of its type is kept, without a cast that says so."""
        if isinstance(wanted, t.IntT | t.EnumT) and isinstance(given, t.IntT | t.EnumT):
            literal = node is not None and isinstance(given, t.IntT) and self.constant(node) is not None
            if not literal and given != wanted and not fits(given, wanted):
                self.warning(_LOSS.format(given, wanted), span if node is None else expression_span(node))
        elif isinstance(wanted, t.TupleT) and isinstance(given, t.TupleT):
            nodes = node.elements if isinstance(node, ast.Tuple) else (None,) * len(wanted.elements)
            place = span if node is None else expression_span(node)
            for element, a, b in zip(nodes, given.elements, wanted.elements, strict=True):
                self.warn_of_loss(element, a, b, place)
        elif isinstance(wanted, t.NamedTupleT) and isinstance(given, t.NamedTupleT):
            parts = dict(node.fields) if isinstance(node, ast.Record) else {}
            kinds = dict(zip(wanted.names, wanted.elements, strict=True))
            place = span if node is None else expression_span(node)
            for name, kind in zip(given.names, given.elements, strict=True):
                self.warn_of_loss(parts.get(name), kind, kinds[name], place)

    def arithmetic_type(self, op: str, left: t.IntT | t.BoolT | t.EnumT, right: t.IntT | t.BoolT | t.EnumT) -> t.Type:
        """Return the type of ``left op right`` of two numbers: 64 bits wide, signed when one side is."""
        if isinstance(left, t.BoolT) and isinstance(right, t.BoolT):
            return t.BOOL
        sides = [t.IntT(1, False) if isinstance(s, t.BoolT) else number(s) for s in (left, right)]
        own = [s.signed for s in sides if not s.flexible] or [True]
        return t.INT64 if any(own) or op == "-" else t.UINT64


def _kind(type_: t.Type) -> str:
    """Return the name of a type without its size."""
    named: dict[type, str] = {t.StringT: "string", t.BufferT: "buffer", t.ArrayT: "array", t.TupleT: "tuple"}
    return named.get(type(type_), "record" if isinstance(type_, t.NamedTupleT) else str(type_))


def expression_span(node: ast.Expr) -> Span:
    """Return the span at which findings about an expression are shown: of a cast only its type."""
    if isinstance(node, ast.Cast):
        end = node.span.text.find(")", node.type.span.end - node.span.start) + 1
        return node.span.part(node.span.start, node.span.start + end) if end else node.span
    return node.span
