"""Where the memory is that an argument of a function names."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.hints import TYPE_CHECKING
from trapline.ir.function import Op
from trapline.ir.types import Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer


def check_pointer(typer: ExpressionTyper, call: ast.Call, kind: t.Type) -> bool:
    """Tell whether a call's first argument, of type `kind`, names memory; what does not is an error."""
    if isinstance(kind, t.UnknownT):
        return False
    if not isinstance(kind, t.IntT | t.PtrT | t.ArrayT | t.StringT | t.ContextT):
        typer.error(
            f"{call.name}() expects an integer or a pointer type as first argument ({kind} provided)", call.span
        )
        return False
    return True


def pointer_of(low: Lowerer, node: ast.Expr) -> Op:
    """Return a pointer that an argument names: as the address of memory of the kernel or a process."""
    kind = low.type(node)
    if isinstance(kind, t.ArrayT | t.StringT):
        return low.address(node)
    value = low.number(node)
    if isinstance(kind, t.PtrT) and kind.space is Space.USER:
        return low.b.to_pointer(value, Space.USER)
    # Few kernels tag user pointers in their types: the address itself tells which of both it is.
    return low.b.to_pointer(value, Space.USER if low.site.user else Space.UNKNOWN)


def literal_text(typer: ExpressionTyper, node: ast.Expr, what: str) -> bytes | None:
    """Return the text of a string literal; anything else is an error."""
    typer.type_of(node)
    text = typer.literal_string(node)
    if text is None:
        typer.error(f"{what} must be a string literal", node.span)
    return text
