"""Types of expressions, for one site; what cannot be typed yet is unknown and settles in a later round."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import CONSTANT_WORDS, evaluate
from trapline.frontends.bpftrace.constants import ARG_N
from trapline.frontends.bpftrace.infer_comptime import ComptimeTyper
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo, Variable
from trapline.frontends.bpftrace.named_types import named_type
from trapline.frontends.bpftrace.promotion import promote
from trapline.frontends.bpftrace.sites import ProbeSite
from trapline.frontends.bpftrace.suggestions import near_hint, nearest
from trapline.frontends.bpftrace.tables import Function
from trapline.source import Span


class ExpressionTyper(ComptimeTyper):
    """Types expressions of one site.

    Args:
        knowledge: shared by all sites.
        site: where the block runs.
    """

    def __init__(self, knowledge: Knowledge, site: ProbeSite) -> None:
        super().__init__(knowledge, site)
        self._written: dict[ast.TypeExpr, t.Type] = {}

    # -- expressions

    def type_of(self, node: ast.Expr) -> t.Type:
        """Return the type of an expression, and remember it."""
        type_ = _RULES[type(node)](self, node)
        self.types[node] = type_
        return type_

    # -- rules

    def _string(self, node: ast.String) -> t.Type:
        limit = self.knowledge.config.integer("max_strlen")
        if len(node.value) + 1 > limit:
            self.error(f"String is too long (over {limit} bytes)", node.span, "Raise max_strlen in the config block.")
        return t.StringT(len(node.value) + 1)

    def _positional(self, node: ast.Positional) -> t.Type:
        value = self.positional(node)
        if value in (0, b"") and not "".join(self.knowledge.options.positional[node.index - 1 : node.index]):
            self.warning(f"Positional parameter ${node.index} is empty or not provided. ", node.span)
        return t.StringT(len(value) + 1) if isinstance(value, bytes) else t.literal_type(value)

    def _identifier(self, node: ast.Identifier) -> t.Type:
        match = ARG_N.fullmatch(node.name)
        if match:
            return self._arg_n(node, int(match[1][:6]))
        row = self.knowledge.builtins.get(node.name)
        if row is not None:
            return row.check(self, node)
        if node.name in CONSTANT_WORDS:
            return self.type_as(node, CONSTANT_WORDS[node.name](self))
        found = self.enumerator(node.name)
        if found is not None:
            return found[1]
        function = self.knowledge.functions.get(node.name)
        if function is not None and function.most == 0:
            if node not in self.rewritten:
                self.rewritten[node] = ast.Call(node.span, node.name, ())
            return self.type_of(self.rewritten[node])
        if function is not None:
            return self.error(f"{node.name} is a function", node.span, f"Call it: {node.name}(…)")
        hints = near_hint(node.name, self.knowledge.builtins)
        return self.error(f"Unknown identifier: '{node.name}'", node.span, *hints)

    def _arg_n(self, node: ast.Identifier, number: int) -> t.Type:
        site = self.site
        if site.provider == "usdt":
            return self.usdt_argument(node, number)
        if site.has_registers:
            if site.at_return:
                return self.error(
                    f"{node.name} is not available in a {site.provider}: the function has returned",
                    node.span,
                    "Use args.NAME: the arguments are kept from the function's entry.",
                )
            limit = len(self.knowledge.target.arch.arguments)
            if number >= limit:
                name = self.knowledge.target.arch.name
                return self.error(
                    f"arg{number} is out of range: {name} passes {limit} arguments in registers", node.span
                )
            return t.UINT64
        if site.provider == "rawtracepoint":
            return t.UINT64
        return self.error(f"{node.name} is not available in a {site.provider} probe", node.span, "Use args.NAME.")

    def usdt_argument(self, node: ast.Identifier | ast.Call, number: int) -> t.Type:
        """Return the type of argument `number` of a USDT probe."""
        for operands in self.site.operands:
            if number < len(operands) and operands[number].kind == "unknown":
                return self.error(
                    f"{node.span.text} of {self.site.label} cannot be read: its place is {operands[number].text}",
                    node.span,
                )
        return t.INT64

    def variable_type(self, node: ast.Variable) -> t.Type:
        """Return what a variable holds so far; unknown, and an error, when there is no such variable."""
        for scope in reversed(self.scopes):
            if node.name in scope:
                variable = scope[node.name]
                self.resolved[node] = variable
                self._check_assigned(node, variable)
                return variable.type
        return self.error(f"Undefined or undeclared variable: ${node.name}", node.span, *self.near_variable(node))

    def near_variable(self, node: ast.Variable) -> list[str]:
        """Return a hint that names the variable that may have been meant."""
        return near_hint(node.name, [name for scope in self.scopes for name in scope], "$")

    def written_variable(self, node: ast.Variable) -> Variable | None:
        """Return the variable that a function writes to; an error when there is none."""
        variable = next((scope[node.name] for scope in reversed(self.scopes) if node.name in scope), None)
        if variable is not None:
            self.assigned.add(variable)
            variable.assigned = True
        self.type_of(node)
        return variable

    def _check_assigned(self, node: ast.Variable, variable: Variable) -> None:
        if not self.final or variable in self.assigned:
            return
        if isinstance(variable.type, t.UnknownT) and not self.knowledge.diagnostics.errors:
            self.error("Could not resolve the type of this variable", node.span)
        elif variable.declared_only:
            self.warning(f"Variable used before it was assigned: ${node.name}", node.span)

    def map_info(self, name: ast.MapName) -> MapInfo:
        """Return what is known of a map."""
        info = self.knowledge.maps.setdefault(name.name, MapInfo(name.name))
        info.used = info.used or name.span
        return info

    def use_map(self, node: ast.MapName | ast.MapElement) -> MapInfo:
        """Type the key of a map's element (or note that there is none); return the map."""
        if isinstance(node, ast.MapName):
            info = self.map_info(node)
            self._set_keyed(info, False, node.span)
            return info
        info = self.map_info(node.map)
        self.use_key(info, node.keys, node.span)
        return info

    def use_key(self, info: MapInfo, keys: tuple[ast.Expr, ...], span: Span) -> None:
        """Type the key that an element of a map is accessed by."""
        self._set_keyed(info, True, span)
        kinds = [self.read(self.type_of(key)) for key in keys]
        for key, kind in zip(keys, kinds, strict=True):
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                self.error(f"{kind} cannot be used as a map key", key.span)
                return
        if any(isinstance(kind, t.UnknownT) for kind in kinds):
            return
        kind = kinds[0] if len(kinds) == 1 else t.TupleT(tuple(kinds))
        merged = promote(info.key, kind)
        if merged is None:
            self.error(
                f"Argument mismatch for {info.name}: trying to access with arguments: '{kind}' when map expects"
                f" arguments: '{info.key}'",
                span,
            )
        elif merged != info.key:
            info.key = merged
            self.changed = True

    def _set_keyed(self, info: MapInfo, keyed: bool, span: Span) -> None:
        if info.keyed is None:
            info.keyed = keyed
            self.changed = True
        elif info.keyed != keyed:
            kinds = ("with an explicit key (non-scalar map)", "without an explicit key (scalar map)")
            now, before = kinds if keyed else reversed(kinds)
            self.error(f"{info.name} used as a map {now}, previously used {before}", span)

    def _map_value(self, node: ast.MapName | ast.MapElement) -> t.Type:
        info = self.use_map(node)
        info.read = True
        return info.value

    def _field(self, node: ast.FieldAccess) -> t.Type:
        base = self.type_of(node.base)
        if node.base in self.rewritten:
            value = evaluate(self, node)
            if value is not None:
                return self.type_as(node, value)
        if isinstance(base, t.ArgsT):
            return self._args_field(node)
        while isinstance(base, t.PtrT):
            base = base.target
        if isinstance(base, t.UnknownT):
            return base
        if not isinstance(base, t.RecordT | t.NamedTupleT):
            return self.error(f"Can not access field '{node.name}' on expression of type '{base}'", node.span)
        found = base.members.field(node.name)
        if found is None:
            names = [f.name for f in base.members.fields()]
            hints = near_hint(node.name, names)
            if not names:
                hints = [f"The kernel's type information has no definition of {base}."]
            what = "Record" if isinstance(base, t.NamedTupleT) else f"Struct/union of type '{base}'"
            return self.error(f"{what} does not contain a field named '{node.name}'", node.span, *hints)
        return found.type

    def _args_field(self, node: ast.FieldAccess) -> t.Type:
        arguments = self.arguments
        argument = arguments.items.get(node.name)
        if argument is not None:
            self.used_arguments[node.name] = argument
            if isinstance(argument.type, t.StringT) and not argument.type.size:
                return t.StringT(self.knowledge.config.integer("max_strlen"))
            return argument.type
        if arguments.missing:
            hints = [arguments.hint] if arguments.hint else []
            return self.error(arguments.missing, node.span, *hints)
        if node.name in arguments.unusable:
            hints = [arguments.hint] if arguments.hint else []
            return self.error(arguments.unusable[node.name], node.span, *hints)
        near = nearest(node.name, arguments.items)
        known = ", ".join(arguments.items) or "none"
        hint = f"Did you mean 'args.{near}'?" if near else f"Arguments are: {known}."
        return self.error(f"{self.site.label} has no argument '{node.name}'", node.span, hint)

    def _tuple_access(self, node: ast.TupleAccess) -> t.Type:
        base = self.type_of(node.base)
        if isinstance(base, t.UnknownT):
            return base
        if not isinstance(base, t.TupleT):
            return self.error(f"Can not access index '{node.index}' on expression of type '{base}'", node.span)
        if node.index >= len(base.elements):
            return self.error(
                f"Invalid tuple index: {node.index}. Found {len(base.elements)} elements in tuple.", node.span
            )
        return base.elements[node.index]

    def _index(self, node: ast.Index) -> t.Type:
        base = self.type_of(node.base)
        index = self.read(self.type_of(node.index))
        if isinstance(base, t.UnknownT):
            return base
        at = self.constant(node.index)
        if isinstance(base, t.TupleT):
            return self._indexed_tuple(node, base, at)
        if not isinstance(base, t.ArrayT | t.StringT | t.PtrT):
            found = f"The array index operator [] can only be used on arrays, pointers, and tuples, found {base}."
            return self.error(found, node.span)
        negative = isinstance(index, t.IntT) and index.signed and not index.flexible
        if not isinstance(index, t.UnknownT) and (negative or not isinstance(index, t.IntT | t.EnumT)):
            return self.error(
                f"The array index operator [] only accepts non-negative integer indices. Got: {index}", node.span
            )
        if isinstance(base, t.PtrT):
            if base.target.size == 0:
                return self.error(f"an element of '{base}' has no size", node.span, "Cast the pointer first.")
            return base.target
        count = base.count if isinstance(base, t.ArrayT) else base.size
        if at is not None and count and at >= count:
            return self.error(f"the index {at} is out of bounds for array of size {count}", node.span)
        return base.element if isinstance(base, t.ArrayT) else t.INT8

    def _indexed_tuple(self, node: ast.Index, base: t.TupleT, at: int | None) -> t.Type:
        if at is None:
            return self.error("Array-style access for tuples only valid for integer literals", node.span)
        if not 0 <= at < len(base.elements):
            message = f"Invalid tuple index: {at}. Found {len(base.elements)} elements in tuple."
            return self.error(message, node.span)
        return base.elements[at]

    def written_type(self, node: ast.TypeExpr) -> t.Type:
        """Return the type that a piece of program text names."""
        if not self.settled or node not in self._written:
            self._written[node] = named_type(self, node)
        return self._written[node]

    def _call(self, node: ast.Call) -> t.Type:
        row = self.knowledge.functions.get(node.name)
        if row is None:
            if not node.args and (node.name in self.knowledge.builtins or node.name in CONSTANT_WORDS):
                if node not in self.rewritten:
                    self.rewritten[node] = ast.Identifier(node.span, node.name)
                return self.type_of(self.rewritten[node])
            hints = near_hint(node.name, self.knowledge.functions)
            if self.knowledge.c is not None and self.knowledge.c.macro(node.name) is not None:
                hints = [f"A macro with parameters is written: macro {node.name}(…) {{ … }}"]
            for arg in node.args:
                self.type_of(arg)
            return self.error(f"Unknown function: '{node.name}'", node.span, *hints)
        if row.unsafe and not self.knowledge.options.unsafe:
            self.error(
                f"{node.name}() is an unsafe function being used in safe mode",
                node.span,
                "Run with --unsafe to allow it.",
            )
        count = len(node.args)
        if not row.least <= count <= row.most:
            return self.error(f"{node.name}() {_arity(row, count)} ({count} provided)", node.span)
        return row.check(self, node)

    def _tuple(self, node: ast.Tuple) -> t.Type:
        kinds = tuple(self.read(self.type_of(e)) for e in node.elements)
        if any(isinstance(k, t.UnknownT) for k in kinds):
            return t.UNKNOWN
        for kind, element in zip(kinds, node.elements, strict=True):
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                return self.error(f"{kind} cannot be part of a tuple", element.span)
        if not kinds:
            return self.unsupported("empty tuples are", node.span)
        return t.TupleT(kinds)

    def _record(self, node: ast.Record) -> t.Type:
        kinds = tuple(self.read(self.type_of(value)) for _, value in node.fields)
        if any(isinstance(k, t.UnknownT) for k in kinds):
            return t.UNKNOWN
        for kind, (_, value) in zip(kinds, node.fields, strict=True):
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                return self.error(f"{kind} cannot be part of a record", value.span)
        return t.NamedTupleT(tuple(name for name, _ in node.fields), kinds)

    def _block(self, node: ast.BlockExpression) -> t.Type:
        raise NotImplementedError

    def _refused(self, node: ast.Expr) -> t.Type:
        return self.unsupported(f"{type(node).__name__.lower()} is", node.span)


def _arity(row: Function, count: int) -> str:
    """Say how many arguments a function takes."""
    limit = row.least if count < row.least else row.most
    number = {0: "no", 1: "one"}.get(limit, str(limit))
    verb = "requires" if row.least == row.most else "requires at least" if count < row.least else "takes up to"
    return f"{verb} {number} argument{'' if limit == 1 else 's'}"


_RULES: dict[type[ast.Node], Callable[..., t.Type]] = {
    ast.Integer: lambda self, node: t.literal_type(node.value),
    ast.String: ExpressionTyper._string,
    ast.Boolean: lambda self, node: t.BOOL,
    ast.Identifier: ExpressionTyper._identifier,
    ast.Positional: ExpressionTyper._positional,
    ast.PositionalCount: lambda self, node: t.INT64,
    ast.Variable: ExpressionTyper.variable_type,
    ast.MapName: ExpressionTyper._map_value,
    ast.MapElement: ExpressionTyper._map_value,
    ast.FieldAccess: ExpressionTyper._field,
    ast.TupleAccess: ExpressionTyper._tuple_access,
    ast.Index: ExpressionTyper._index,
    ast.Unary: ExpressionTyper._unary,
    ast.Binary: ExpressionTyper._binary,
    ast.Ternary: ExpressionTyper.choice_type,
    ast.Cast: ExpressionTyper._cast,
    ast.Call: ExpressionTyper._call,
    ast.Tuple: ExpressionTyper._tuple,
    ast.Record: ExpressionTyper._record,
    ast.Sizeof: ComptimeTyper.sizeof_type,
    ast.Offsetof: ComptimeTyper.offsetof_type,
    ast.BlockExpression: lambda self, node: self._block(node),
    ast.IfExpression: ComptimeTyper.if_type,
    ast.TypeArgument: ExpressionTyper._refused,
    ast.Typeinfo: ComptimeTyper.typeinfo_type,
    ast.Comptime: ComptimeTyper.comptime_type,
}
