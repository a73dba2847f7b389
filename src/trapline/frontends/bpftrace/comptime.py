"""Evaluate expressions at compile time: more than integers, since ``if comptime`` asks for types and names.

typeinfo($x).base_type == "string"   →   True
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.hints import TYPE_CHECKING, Any
from trapline.source import Span

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_comptime import ComptimeTyper

# Integers, booleans, strings, tuples, and records as dictionaries.
Value = Any

TYPES = (ast.NamedType, ast.PointerType, ast.ArrayType, ast.TupleType, ast.TypeofType)
_LITERALS = (ast.Integer, ast.String, ast.Boolean, ast.Positional, ast.PositionalCount)
# The record that `config` is, in its order.
_CONFIG = (
    "cpp_demangle",
    "lazy_symbolication",
    "print_maps_on_exit",
    "use_blazesym",
    "show_debug_info",
    "log_size",
    "max_bpf_progs",
    "max_cat_bytes",
    "max_map_keys",
    "max_probes",
    "max_strlen",
    "on_stack_limit",
    "perf_rb_pages",
    "str_trunc_trailer",
    "unstable_import_statement",
    "unstable_tseries",
    "unstable_typeinfo",
    "unstable_dw_ustack",
    "missing_probes",
    "stack_mode",
    "license",
)


def evaluate(typer: ComptimeTyper, node: ast.Expr) -> Value | None:
    """Return the value of an expression that is known at compile time, else ``None``.

    Args:
        typer: has typed the expression.
        node: the expression.
    """
    rule = _RULES.get(type(node))
    return rule(typer, node) if rule is not None else typer.constant(node)


def literal(value: Value, span: Span) -> ast.Expr:
    """Return an expression that has a value of the compile time."""
    if isinstance(value, bool):
        return ast.Boolean(span, value)
    if isinstance(value, int):
        return ast.Integer(span, value) if value >= 0 else ast.Unary(span, "-", ast.Integer(span, -value))
    if isinstance(value, bytes):
        return ast.String(span, value)
    if isinstance(value, dict):
        return ast.Record(span, tuple((name, literal(item, span)) for name, item in value.items()))
    return ast.Tuple(span, tuple(literal(item, span) for item in value))


def is_literal(typer: ComptimeTyper, node: ast.Expr) -> bool:
    """Tell whether an expression is a literal: also one that is computed of literals."""
    if isinstance(node, ast.Tuple):
        return all(is_literal(typer, element) for element in node.elements)
    if isinstance(node, ast.Unary) and not node.postfix and node.op in ("-", "~", "!"):
        return is_literal(typer, node.operand)
    if isinstance(node, ast.Binary):
        return is_literal(typer, node.left) and is_literal(typer, node.right)
    return isinstance(node, (*_LITERALS, ast.Comptime))


def base_name(type_: t.Type) -> str:
    """Return what kind of type this is, as ``typeinfo`` calls it."""
    if isinstance(type_, t.RecordT):
        return "c_type"
    if isinstance(type_, t.StackT):
        return "kstack" if type_.kernel else "ustack"
    for kind, name in _BASE_NAMES:
        if isinstance(type_, kind):
            return name
    return str(type_).split("[")[0]


_BASE_NAMES: tuple[tuple[type, str], ...] = (
    (t.BoolT, "bool"),
    (t.IntT, "int"),
    (t.StringT, "string"),
    (t.PtrT, "pointer"),
    (t.ArrayT, "array"),
    (t.TupleT, "tuple"),
    (t.NamedTupleT, "record"),
    (t.BufferT, "buffer"),
    (t.InetT, "inet"),
    (t.MacT, "mac_address"),
    (t.EnumT, "enum"),
    (t.VoidT, "void"),
)


def _typeinfo(typer: ComptimeTyper, node: ast.Typeinfo) -> Value | None:
    operand = node.operand
    if isinstance(operand, TYPES):
        kind = typer.written_type(operand)
    else:
        kind = t.decay(typer.types.get(operand, t.UNKNOWN))
    if isinstance(kind, t.UnknownT):
        return None
    return {"btf_id": 0, "base_type": base_name(kind).encode(), "full_type": str(kind).encode()}


def _config(typer: ComptimeTyper) -> dict[str, Value]:
    """Return the record that ``config`` is."""
    values = typer.knowledge.config.values
    return {
        name: value.encode("utf-8", "surrogateescape") if isinstance(value := values[name], str) else value
        for name in _CONFIG
        if name in values
    }


# Words that are constants.
CONSTANT_WORDS: dict[str, Callable[[ComptimeTyper], Value]] = {
    "config": _config,
    "__builtin_config": _config,
    "__builtin_arch": lambda typer: typer.knowledge.target.arch.name.encode(),
    "__builtin_safe_mode": lambda typer: not typer.knowledge.options.unsafe,
    "default_str_length": lambda typer: typer.knowledge.config.integer("max_strlen"),
}


def _identifier(typer: ComptimeTyper, node: ast.Identifier) -> Value | None:
    if node.name == "probetype":
        kind = typer.site.provider
        return (kind if kind not in ("begin", "end", "self") else "special").encode()
    if node.name in CONSTANT_WORDS:
        return CONSTANT_WORDS[node.name](typer)
    return typer.constant(node)


def _field(typer: ComptimeTyper, node: ast.FieldAccess) -> Value | None:
    base = evaluate(typer, node.base)
    return base.get(node.name) if isinstance(base, dict) else None


def _tuple_access(typer: ComptimeTyper, node: ast.TupleAccess) -> Value | None:
    base = evaluate(typer, node.base)
    return base[node.index] if isinstance(base, tuple) and node.index < len(base) else None


def _index(typer: ComptimeTyper, node: ast.Index) -> Value | None:
    base, at = evaluate(typer, node.base), evaluate(typer, node.index)
    if not isinstance(base, bytes | tuple) or not isinstance(at, int) or not at >= 0:
        return None
    if isinstance(base, bytes):
        base += b"\0"
    return base[at] if at < len(base) else None


def _unary(typer: ComptimeTyper, node: ast.Unary) -> Value | None:
    value = evaluate(typer, node.operand) if not node.postfix else None
    if not isinstance(value, int):
        return None
    if node.op == "!":
        return not value
    return -value if node.op == "-" else ~value if node.op == "~" else None


def _binary(typer: ComptimeTyper, node: ast.Binary) -> Value | None:
    left = evaluate(typer, node.left)
    if node.op in ("&&", "||") and isinstance(left, int):
        if bool(left) == (node.op == "||"):
            return bool(left)
        right = evaluate(typer, node.right)
        return bool(right) if isinstance(right, int) else None
    right = evaluate(typer, node.right)
    if left is None or right is None:
        return None
    if node.op in ("==", "!="):
        return (left == right) == (node.op == "==")
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    if node.op in _ORDER:
        return _ORDER[node.op](left, right)
    return typer.fold(node.op, left, right)


_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _ternary(typer: ComptimeTyper, node: ast.Ternary | ast.IfExpression) -> Value | None:
    condition = evaluate(typer, node.condition)
    if not isinstance(condition, int):
        return None
    branch = (node.then or node.condition) if condition else node.otherwise
    return evaluate(typer, branch)


def _cast(typer: ComptimeTyper, node: ast.Cast) -> Value | None:
    value, kind = evaluate(typer, node.operand), typer.written_type(node.type)
    if isinstance(kind, t.BoolT) and isinstance(value, int):
        return bool(value)
    if not isinstance(kind, t.IntT) or not isinstance(value, int):
        return None
    bits = 8 * kind.size
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if kind.signed and value >> (bits - 1) else value


def _block(typer: ComptimeTyper, node: ast.BlockExpression) -> Value | None:
    return evaluate(typer, node.value) if node.value is not None and not node.body else None


def _tuple(typer: ComptimeTyper, node: ast.Tuple) -> Value | None:
    values = tuple(evaluate(typer, element) for element in node.elements)
    return None if None in values else values


def _record(typer: ComptimeTyper, node: ast.Record) -> Value | None:
    values = {name: evaluate(typer, value) for name, value in node.fields}
    return None if None in values.values() else values


def _call(typer: ComptimeTyper, node: ast.Call) -> Value | None:
    replacement = typer.rewritten.get(node)
    if replacement is not None:
        return evaluate(typer, replacement)
    if node.name in ("probetype", *CONSTANT_WORDS) and not node.args:
        return _identifier(typer, ast.Identifier(node.span, node.name))
    return typer.literal_string(node)


_RULES: dict[type[ast.Node], Callable[[Any, Any], Value | None]] = {
    ast.Boolean: lambda typer, node: node.value,
    ast.String: lambda typer, node: node.value,
    ast.Positional: lambda typer, node: typer.positional(node),
    ast.Comptime: lambda typer, node: evaluate(typer, node.operand),
    ast.Typeinfo: _typeinfo,
    ast.Identifier: _identifier,
    ast.FieldAccess: _field,
    ast.TupleAccess: _tuple_access,
    ast.Index: _index,
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.Ternary: _ternary,
    ast.IfExpression: _ternary,
    ast.Cast: _cast,
    ast.BlockExpression: _block,
    ast.Tuple: _tuple,
    ast.Record: _record,
    ast.Call: _call,
    ast.Offsetof: lambda typer, node: typer.offset_of(node),
}
