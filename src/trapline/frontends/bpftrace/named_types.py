"""Types that program text names: integers, the language's own value types, C types of the kernel."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.printer import format_type
from trapline.hints import TYPE_CHECKING
from trapline.ir.types import Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper

_SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}
_C_INTEGERS = {
    "char": t.IntT(1),
    "signed char": t.IntT(1),
    "unsigned char": t.IntT(1, False),
    "short": t.IntT(2),
    "unsigned short": t.IntT(2, False),
    "int": t.IntT(4),
    "unsigned": t.IntT(4, False),
    "unsigned int": t.IntT(4, False),
    "long": t.IntT(8),
    "unsigned long": t.IntT(8, False),
    "size_t": t.IntT(8, False),
    "ssize_t": t.IntT(8),
    "pid_t": t.IntT(4),
    "uid_t": t.IntT(4, False),
    "gid_t": t.IntT(4, False),
    "uintptr_t": t.IntT(8, False),
}
_AGGREGATES = ("count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries")
_WORDS = ("ksym_t", "username_t", "cgroup_path_t", "timestamp")


def named_type(typer: ExpressionTyper, node: ast.TypeExpr) -> t.Type:
    """Return the type that a piece of program text names; an unknown name is an error there."""
    if isinstance(node, ast.PointerType):
        target = t.VOID if _is_void(node.target) else named_type(typer, node.target)
        return target if isinstance(target, t.UnknownT) else t.PtrT(target, typer.default_space())
    if isinstance(node, ast.ArrayType):
        return _array_type(typer, node)
    if isinstance(node, ast.TupleType):
        return t.TupleT(tuple(named_type(typer, e) for e in node.elements))
    if isinstance(node, ast.TypeofType):
        operand = node.operand
        if isinstance(operand, ast.NamedType | ast.PointerType | ast.ArrayType | ast.TupleType | ast.TypeofType):
            return named_type(typer, operand)
        return t.decay(typer.type_of(operand))
    found = None if node.tag else _simple_type(typer, node.name)
    if found is None:
        space = Space.USER if typer.site.user else Space.KERNEL
        found = typer.knowledge.find_type(node.tag, node.name, space)
    if found is None:
        hints = [] if typer.knowledge.target.has_btf else ["This kernel has no type information."]
        return typer.error(f'Cannot resolve unknown type "{format_type(node)}"', node.span, *hints)
    return found


def _is_void(node: ast.TypeExpr) -> bool:
    return isinstance(node, ast.NamedType) and not node.tag and node.name == "void"


def _simple_type(typer: ExpressionTyper, name: str) -> t.Type | None:
    for prefix, signed in (("int", True), ("uint", False), ("s", True), ("u", False), ("__s", True), ("__u", False)):
        size = _SIZES.get(name[len(prefix) :].removesuffix("_t")) if name.startswith(prefix) else None
        if size:
            return t.IntT(size, signed)
    words = name.split()
    if len(words) > 1:
        name = " ".join(
            [w for w in words if w == "unsigned"] + [w for w in words if w in ("char", "short")]
            or ["long" if "long" in words else "int"]
        )
        if "unsigned" in words and name == "unsigned" and "long" in words:
            name = "unsigned long"
    simple: dict[str, t.Type] = {
        "bool": t.BOOL,
        "void": t.VOID,
        "string": t.StringT(0),
        "buffer": t.BufferT(typer.knowledge.config.integer("max_strlen")),
        "inet": t.InetT(),
        "macaddr_t": t.MacT(),
        "mac_address": t.MacT(),
        "usym_t": t.UsymT(),
        "kstack_t": t.StackT(True),
        "ustack_t": t.StackT(False),
        "signed": t.IntT(4),
        **_C_INTEGERS,
    }
    aggregate = name.removeprefix("u").removesuffix("_t")
    if name.endswith("_t") and aggregate in _AGGREGATES:
        return t.AggregateT(aggregate, not name.startswith("u"))
    return t.WordT(name) if name in _WORDS else simple.get(name)


def _array_type(typer: ExpressionTyper, node: ast.ArrayType) -> t.Type:
    element = named_type(typer, node.element)
    count = typer.constant(node.length) if node.length is not None else None
    if isinstance(element, t.UnknownT):
        return element
    if node.length is None and isinstance(element, t.IntT | t.BoolT):
        return t.ArrayT(element, 0)
    if count is None or not 0 < count <= 1 << 20:
        return typer.error("the length of an array type must be a positive constant", node.span)
    if isinstance(element, t.StringT) and element.size == 0:
        return t.StringT(count)
    if isinstance(element, t.BufferT):
        return t.BufferT(count)
    if isinstance(element, t.InetT):
        return element
    return t.ArrayT(element, count)
