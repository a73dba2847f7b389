"""Types of expressions, for one site; what cannot be typed yet is unknown and settles in a later round."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import NamedMembers
from trapline.frontends.bpftrace.constants import ARG_N, ConstantReader
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo, Variable, settle
from trapline.frontends.bpftrace.named_types import named_type
from trapline.frontends.bpftrace.sites import Argument, Arguments, ProbeSite
from trapline.frontends.bpftrace.tables import Function
from trapline.ir.types import Space
from trapline.source import Diagnostic, Span

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


class ExpressionTyper(ConstantReader):
    """Types expressions of one site.

    Args:
        knowledge: shared by all sites.
        site: where the block runs.
    """

    def __init__(self, knowledge: Knowledge, site: ProbeSite) -> None:
        self.knowledge = knowledge
        self.site = site
        self.types: dict[ast.Node, t.Type] = {}
        self.resolved: dict[ast.Variable, Variable] = {}
        self.scopes: list[dict[str, Variable]] = []
        self.used_arguments: dict[str, Argument] = {}
        self.uses_probe = False
        self.changed = False
        self.settled = False
        self._written: dict[ast.TypeExpr, t.Type] = {}

    @cached_property
    def arguments(self) -> Arguments:
        """The site's named arguments."""
        return self.site.find_arguments()

    # -- findings

    def error(self, message: str, span: Span, *hints: str) -> t.Type:
        """Record an error; returns the unknown type."""
        self.knowledge.diagnostics.error(message, span, *hints)
        return t.UNKNOWN

    def warning(self, message: str, span: Span, *hints: str) -> None:
        """Record a warning."""
        self.knowledge.diagnostics.warning(message, span, *hints)

    def unsupported(self, what: str, span: Span) -> t.Type:
        """Record a construct that is not implemented; returns the unknown type."""
        self.knowledge.unsupported.append(Diagnostic(f"{what} not supported yet", span))
        return t.UNKNOWN

    # -- expressions

    def type_of(self, node: ast.Expr) -> t.Type:
        """Return the type of an expression, and remember it."""
        type_ = _RULES[type(node)](self, node)
        self.types[node] = type_
        return type_

    def integer_of(self, node: ast.Expr, what: str) -> t.Type:
        """Type an expression that must be a number."""
        type_ = self.type_of(node)
        if not isinstance(type_, (*t.NUMBERS, t.UnknownT, t.PtrT, t.WordT)) and not self.castable(type_):
            self.error(f"{what} must be an integer, not {type_}", node.span)
        return type_

    def castable(self, type_: t.Type) -> bool:
        """Tell whether a map's aggregate can be read as an integer."""
        return isinstance(type_, t.AggregateT) and type_.kind in t.CASTABLE

    # -- rules

    def _string(self, node: ast.String) -> t.Type:
        limit = self.knowledge.config.integer("max_strlen")
        if len(node.value) + 1 > limit:
            self.error(f"String is too long (over {limit} bytes)", node.span, "Raise max_strlen in the config block.")
        return t.StringT(len(node.value) + 1)

    def _positional(self, node: ast.Positional) -> t.Type:
        value = self.positional(node)
        return t.StringT(len(value) + 1) if isinstance(value, bytes) else t.literal_type(value)

    def _identifier(self, node: ast.Identifier) -> t.Type:
        match = ARG_N.fullmatch(node.name)
        if match:
            return self._arg_n(node, int(match[1][:6]))
        row = self.knowledge.builtins.get(node.name)
        if row is not None:
            return row.check(self, node)
        found = self.enumerator(node.name)
        if found is not None:
            return found[1]
        if node.name in self.knowledge.functions:
            return self.error(f"{node.name} is a function", node.span, f"Call it: {node.name}(…)")
        near = get_close_matches(node.name, self.knowledge.builtins, 1)
        hints = [f"Did you mean '{near[0]}'?"] if near else []
        return self.error(f"Unknown identifier: '{node.name}'", node.span, *hints)

    def _arg_n(self, node: ast.Identifier, number: int) -> t.Type:
        site = self.site
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
            return t.INT64
        if site.provider == "rawtracepoint":
            return t.INT64
        return self.error(f"{node.name} is not available in a {site.provider} probe", node.span, "Use args.NAME.")

    def _variable(self, node: ast.Variable) -> t.Type:
        for scope in reversed(self.scopes):
            if node.name in scope:
                variable = scope[node.name]
                self.resolved[node] = variable
                return settle(variable.type)
        return self.error(f"Undefined or undeclared variable: ${node.name}", node.span)

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
        kinds = [self.type_of(key) for key in keys]
        for key, kind in zip(keys, kinds, strict=True):
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                self.error(f"{kind} cannot be used as a map key", key.span)
                return
        if any(isinstance(kind, t.UnknownT) for kind in kinds):
            return
        kind = kinds[0] if len(kinds) == 1 else t.TupleT(tuple(kinds))
        merged = t.unify(info.key, kind)
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
        if isinstance(info.value, t.UnknownT):
            return self.error(f"Undefined map: {info.name}", node.span)
        return settle(info.value)

    def _field(self, node: ast.FieldAccess) -> t.Type:
        base = self.type_of(node.base)
        if isinstance(base, t.ArgsT):
            return self._args_field(node)
        if isinstance(base, t.PtrT):
            base = base.target
        if isinstance(base, t.UnknownT):
            return base
        if not isinstance(base, t.RecordT):
            return self.error(f"Can not access field '{node.name}' on expression of type '{base}'", node.span)
        found = base.members.field(node.name)
        if found is None:
            names = [f.name for f in base.members.fields()]
            near = get_close_matches(node.name, names, 1)
            hints = [f"Did you mean '{near[0]}'?"] if near else []
            if not names:
                hints = [f"The kernel's type information has no definition of {base}."]
            return self.error(f"{base} does not contain a field named '{node.name}'", node.span, *hints)
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
        near = get_close_matches(node.name, arguments.items, 1)
        known = ", ".join(arguments.items) or "none"
        hint = f"Did you mean 'args.{near[0]}'?" if near else f"Arguments are: {known}."
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
        return _fixed(base.elements[node.index])

    def _index(self, node: ast.Index) -> t.Type:
        base = self.type_of(node.base)
        self.integer_of(node.index, "an index")
        if isinstance(base, t.ArrayT | t.StringT):
            at = self.constant(node.index)
            count = base.count if isinstance(base, t.ArrayT) else base.size
            if at is not None and count and not 0 <= at < count:
                return self.error(f"the index {at} is out of bounds for array of size {count}", node.span)
            return base.element if isinstance(base, t.ArrayT) else t.INT8
        if isinstance(base, t.PtrT):
            if base.target.size == 0:
                return self.error(f"an element of '{base}' has no size", node.span, "Cast the pointer first.")
            return base.target
        if isinstance(base, t.TupleT):
            at = self.constant(node.index)
            if at is None or not 0 <= at < len(base.elements):
                return self.error("a tuple's index is a constant within the tuple", node.span)
            return _fixed(base.elements[at])
        if isinstance(base, t.UnknownT):
            return base
        return self.error(
            f"The array index operator [] can only be used on arrays and pointers, found {base}.", node.span
        )

    def _unary(self, node: ast.Unary) -> t.Type:
        if node.op in ("++", "--"):
            return self._step(node)
        if node.op == "&":
            self.type_of(node.operand)
            return self.unsupported("the address-of operator is", node.span)
        type_ = self.type_of(node.operand)
        if isinstance(type_, t.UnknownT):
            return type_
        if node.op == "*":
            if isinstance(type_, t.PtrT) and type_.target.size:
                return type_.target
            if isinstance(type_, t.IntT):
                return t.INT64
            return self.error(f"Can not dereference pointer of type '{type_}'.", node.span)
        if node.op == "!":
            if not isinstance(type_, (*t.NUMBERS, t.PtrT)) and not self.castable(type_):
                return self.error(f"The ! operator can not be used on expressions of type '{type_}'", node.span)
            return t.BOOL
        if not isinstance(type_, t.NUMBERS) and not self.castable(type_):
            return self.error(f"The {node.op} operator can not be used on expressions of type '{type_}'", node.span)
        value = self.constant(node)
        if value is not None and node.op == "-":
            return t.literal_type(value) if value >= -(1 << 63) else t.INT64
        if node.op == "~":
            return t.IntT(type_.size, False) if isinstance(type_, t.IntT) and not type_.flexible else t.UINT64
        return t.INT64

    def _step(self, node: ast.Unary) -> t.Type:
        target = node.operand
        if isinstance(target, ast.Variable):
            type_ = self._variable(target)
            self.types[target] = type_
            if isinstance(type_, t.IntT):
                self.assign_variable(self.resolved[target], t.INT64 if type_.signed else t.UINT64, node.span)
        elif isinstance(target, ast.MapName | ast.MapElement):
            info = self.use_map(target)
            type_ = info.value
            if isinstance(type_, t.UnknownT | t.IntT):
                wide = t.UINT64 if isinstance(type_, t.IntT) and not type_.signed else t.INT64
                self.assign_map(info, wide, node.span)
                type_ = wide
            self.types[target] = type_
        else:
            return t.UNKNOWN  # reported by the parser
        if not isinstance(type_, t.IntT | t.PtrT | t.UnknownT):
            return self.error(f"The {node.op} operator can not be used on expressions of type '{type_}'", node.span)
        return type_

    def assign_variable(self, variable: Variable, type_: t.Type, span: Span) -> None:
        """Let a variable hold values of a type."""
        if isinstance(type_, t.UnknownT):
            return
        merged = t.unify(variable.type, type_)
        if merged is None or (variable.fixed and merged != variable.type and not _convertible(variable.type, type_)):
            self.error(
                f"Type mismatch for ${variable.name}: trying to assign value of type '{type_}' when variable already"
                f" has a type '{variable.type}'",
                span,
            )
        elif merged != variable.type and not variable.fixed:
            variable.type = merged
            self.changed = True

    def assign_map(self, info: MapInfo, type_: t.Type, span: Span) -> None:
        """Let a map's elements hold values of a type."""
        if isinstance(type_, t.UnknownT):
            return
        if isinstance(info.value, t.AggregateT) and info.value.kind in ("count", "sum") and isinstance(type_, t.IntT):
            merged: t.Type | None = None
        else:
            merged = t.unify(info.value, type_)
        if merged is None:
            self.error(
                f"Type mismatch for {info.name}: trying to assign value of type '{type_}' when map already has a type"
                f" '{info.value}'",
                span,
            )
        elif merged != info.value:
            info.value = merged
            self.changed = True

    def _binary(self, node: ast.Binary) -> t.Type:
        left, right = self.type_of(node.left), self.type_of(node.right)
        if isinstance(left, t.UnknownT) or isinstance(right, t.UnknownT):
            return t.BOOL if node.op in _COMPARISONS or node.op in ("&&", "||") else t.UNKNOWN
        if self.castable(left):
            left = t.INT64
        if self.castable(right):
            right = t.INT64
        if node.op in ("&&", "||"):
            for side, kind in ((node.left, left), (node.right, right)):
                if not isinstance(kind, (*t.NUMBERS, t.PtrT, t.WordT)):
                    self.error(f"The {node.op} operator can not be used on expressions of type '{kind}'", side.span)
            return t.BOOL
        if node.op in _COMPARISONS:
            return self._comparison(node, left, right)
        if isinstance(left, t.PtrT) and node.op in ("+", "-") and isinstance(right, t.IntT | t.EnumT):
            return left
        if isinstance(right, t.PtrT) and node.op == "+" and isinstance(left, t.IntT | t.EnumT):
            return right
        numeric = (*t.NUMBERS, t.WordT, t.PtrT)
        if not isinstance(left, numeric) or not isinstance(right, numeric):
            return self.error(
                f"Type mismatch for '{node.op}': comparing {left} with {right}"
                if type(left) is not type(right)
                else f"The {node.op} operator can not be used on expressions of types '{left}', '{right}'",
                node.span,
            )
        value = self.constant(node)
        if value is not None and -(1 << 63) <= value < 1 << 64:
            return t.literal_type(value)
        if node.op == "-":
            return t.INT64
        return t.UINT64 if _unsigned(left, right) else t.INT64

    def _comparison(self, node: ast.Binary, left: t.Type, right: t.Type) -> t.Type:
        numeric = (*t.NUMBERS, t.PtrT, t.WordT)
        if isinstance(left, numeric) and isinstance(right, numeric):
            return t.BOOL
        equality = node.op in ("==", "!=")
        if not equality:
            self.error(f"The {node.op} operator can not be used on expressions of types '{left}', '{right}'", node.span)
        elif not isinstance(left, type(right)) or (
            isinstance(left, t.TupleT | t.ArrayT) and t.unify(left, right) is None
        ):
            self.error(f"Type mismatch for '{node.op}': comparing {left} with {right}", node.span)
        elif not isinstance(left, t.StringT):
            self.unsupported(f"comparing values of type {left} is", node.span)
        return t.BOOL

    def _ternary(self, node: ast.Ternary) -> t.Type:
        condition = self.integer_of(node.condition, "a condition")
        then = condition if node.then is None else self.type_of(node.then)
        otherwise = self.type_of(node.otherwise)
        if isinstance(then, t.VoidT) and isinstance(otherwise, t.VoidT):
            return t.VOID
        merged = t.unify(then, otherwise)
        if merged is None or isinstance(merged, t.VoidT):
            return self.error(f"Ternary operator must return the same type: have '{then}' and '{otherwise}'", node.span)
        return merged

    def _cast(self, node: ast.Cast) -> t.Type:
        wanted = self.written_type(node.type)
        given = self.type_of(node.operand)
        if isinstance(wanted, t.UnknownT) or isinstance(given, t.UnknownT):
            return wanted
        if isinstance(wanted, (*t.NUMBERS, t.PtrT)):
            if isinstance(wanted, t.PtrT):
                space = given.space if isinstance(given, t.PtrT) else self.default_space()
                wanted = t.PtrT(wanted.target, space)
            if isinstance(given, (*t.NUMBERS, t.PtrT, t.WordT, t.ContextT)) or self.castable(given):
                return wanted
            if isinstance(given, t.ArrayT) and given.size == wanted.size:
                return self.unsupported("casting arrays to integers is", node.span)
        elif isinstance(wanted, t.StringT) and isinstance(given, t.StringT):
            return given if wanted.size == 0 else wanted
        elif wanted == given:
            return wanted
        return self.error(f'Cannot cast from "{given}" to "{wanted}"', node.span)

    def default_space(self) -> Space:
        """Return the address space of a pointer made of an integer."""
        return Space.USER if self.site.user else Space.UNKNOWN

    def written_type(self, node: ast.TypeExpr) -> t.Type:
        """Return the type that a piece of program text names."""
        if not self.settled or node not in self._written:
            self._written[node] = named_type(self, node)
        return self._written[node]

    def _call(self, node: ast.Call) -> t.Type:
        row = self.knowledge.functions.get(node.name)
        if row is None:
            if node.name in self.knowledge.builtins and not node.args:
                return self._identifier(ast.Identifier(node.span, node.name))
            near = get_close_matches(node.name, self.knowledge.functions, 1)
            hints = [f"Did you mean '{near[0]}'?"] if near else []
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
        kinds = tuple(self.type_of(e) for e in node.elements)
        if any(isinstance(k, t.UnknownT) for k in kinds):
            return t.UNKNOWN
        for kind, element in zip(kinds, node.elements, strict=True):
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                return self.error(f"{kind} cannot be part of a tuple", element.span)
        if not kinds:
            return self.unsupported("empty tuples are", node.span)
        return t.TupleT(kinds)

    def _record(self, node: ast.Record) -> t.Type:
        kinds = [(name, settle(self.type_of(value)), value) for name, value in node.fields]
        if any(isinstance(k, t.UnknownT) for _, k, _ in kinds):
            return t.UNKNOWN
        for _, kind, value in kinds:
            if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
                return self.error(f"{kind} cannot be part of a record", value.span)
        offsets, size = t.layout(tuple(k for _, k, _ in kinds))
        items = tuple(t.FieldInfo(n, k, o) for (n, k, _), o in zip(kinds, offsets, strict=True))
        return t.RecordT("", size, NamedMembers(items))

    def size_of(self, node: ast.Sizeof) -> int:
        """Return the bytes that ``sizeof`` asks for."""
        operand = node.operand
        if isinstance(operand, ast.NamedType | ast.PointerType | ast.ArrayType | ast.TupleType | ast.TypeofType):
            return self.written_type(operand).size
        return t.decay(self._operand_type(operand)).size

    def _operand_type(self, operand: ast.Expr) -> t.Type:
        return self.types[operand] if self.settled and operand in self.types else self.type_of(operand)

    def _sizeof_type(self, node: ast.Sizeof) -> t.Type:
        self.size_of(node)
        return t.UINT64

    def offset_of(self, node: ast.Offsetof) -> int | None:
        """Return the byte offset that ``offsetof`` asks for."""
        operand = node.operand
        if isinstance(operand, ast.NamedType | ast.PointerType | ast.ArrayType | ast.TupleType | ast.TypeofType):
            type_ = self.written_type(operand)
        else:
            type_ = self._operand_type(operand)
        at = 0
        for name in node.path:
            found = type_.members.field(name) if isinstance(type_, t.RecordT) else None
            if found is None:
                if not isinstance(type_, t.UnknownT):
                    self.error(f"'{type_}' has no field '{name}'", node.span)
                return None
            at += found.offset
            type_ = found.type
        return at

    def _offsetof(self, node: ast.Offsetof) -> t.Type:
        self.offset_of(node)
        return t.UINT64

    def _block(self, node: ast.BlockExpression) -> t.Type:
        raise NotImplementedError

    def _if(self, node: ast.IfExpression) -> t.Type:
        self.integer_of(node.condition, "a condition")
        then, otherwise = self.type_of(node.then), self.type_of(node.otherwise)
        merged = t.unify(then, otherwise)
        if merged is None:
            return self.error(f"both branches must have the same type: have '{then}' and '{otherwise}'", node.span)
        return merged

    def _refused(self, node: ast.Expr) -> t.Type:
        return self.unsupported(f"{type(node).__name__.lower()} is", node.span)


def _fixed(type_: t.Type) -> t.Type:
    """Return the type in which a tuple keeps a literal: its own size."""
    return t.IntT(type_.size, type_.signed) if isinstance(type_, t.IntT) and type_.flexible else type_


def _arity(row: Function, count: int) -> str:
    """Say how many arguments a function takes."""
    limit = row.least if count < row.least else row.most
    number = {0: "no", 1: "one"}.get(limit, str(limit))
    verb = "requires" if row.least == row.most else "requires at least" if count < row.least else "takes up to"
    return f"{verb} {number} argument{'' if limit == 1 else 's'}"


def _unsigned(left: t.Type, right: t.Type) -> bool:
    def known(type_: t.Type) -> bool | None:
        if isinstance(type_, t.IntT):
            return None if type_.flexible else not type_.signed
        if isinstance(type_, t.EnumT):
            return not type_.signed
        return not isinstance(type_, t.BoolT) or None

    a, b = known(left), known(right)
    return (a is not False and b is not False) and (a is True or b is True)


def _convertible(wanted: t.Type, given: t.Type) -> bool:
    return (isinstance(wanted, (*t.NUMBERS, t.PtrT)) and isinstance(given, (*t.NUMBERS, t.PtrT))) or (
        isinstance(wanted, t.StringT) and isinstance(given, t.StringT) and wanted.size >= given.size
    )


_RULES: dict[type[ast.Node], Callable[..., t.Type]] = {
    ast.Integer: lambda self, node: t.literal_type(node.value, node.unsigned),
    ast.String: ExpressionTyper._string,
    ast.Boolean: lambda self, node: t.BOOL,
    ast.Identifier: ExpressionTyper._identifier,
    ast.Positional: ExpressionTyper._positional,
    ast.PositionalCount: lambda self, node: t.INT64,
    ast.Variable: ExpressionTyper._variable,
    ast.MapName: ExpressionTyper._map_value,
    ast.MapElement: ExpressionTyper._map_value,
    ast.FieldAccess: ExpressionTyper._field,
    ast.TupleAccess: ExpressionTyper._tuple_access,
    ast.Index: ExpressionTyper._index,
    ast.Unary: ExpressionTyper._unary,
    ast.Binary: ExpressionTyper._binary,
    ast.Ternary: ExpressionTyper._ternary,
    ast.Cast: ExpressionTyper._cast,
    ast.Call: ExpressionTyper._call,
    ast.Tuple: ExpressionTyper._tuple,
    ast.Record: ExpressionTyper._record,
    ast.Sizeof: ExpressionTyper._sizeof_type,
    ast.Offsetof: ExpressionTyper._offsetof,
    ast.BlockExpression: lambda self, node: self._block(node),
    ast.IfExpression: ExpressionTyper._if,
    ast.TypeArgument: ExpressionTyper._refused,
    ast.Typeinfo: ExpressionTyper._refused,
    ast.Comptime: ExpressionTyper._refused,
}
