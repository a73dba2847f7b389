"""The shape of the tables of built-ins and functions: frozen rows of a name, a type rule and a lowering."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.hints import TYPE_CHECKING
from trapline.ir.function import Op
from trapline.records import record

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer


@record(frozen=True)
class Builtin:
    """A bare word that has a value.

    Args:
        name: the word.
        check: gives its type in a site.
        lower: gives its value; of a type that lives in memory, writes it to the target (third argument) and returns
            ``None``.
        doc: what it is, in a line.
        gives: its type, as a reader of the reference wants to know it.
        needs: which probes have it, or what the machine must have.
    """

    name: str
    check: Callable[[ExpressionTyper, ast.Identifier], t.Type]
    lower: Callable[[Lowerer, ast.Identifier, Op | None], Op | None]
    doc: str
    gives: str = ""
    needs: str = ""


@record(frozen=True)
class Function:
    """A function.

    Args:
        name: its name.
        least, most: how many arguments it takes.
        check: types the arguments and gives the type of the result.
        lower: like that of a `Builtin`; ``None`` for a call without a value.
        doc: signature and purpose, in a line.
        unsafe: needs ``--unsafe``.
        needs: what the kernel must have beyond Linux 6.1, or which probes it works in.
        when: ``probe`` (it runs in the probe), ``reader`` (user space acts on it later) or ``compile``.
        printed: how printf() and print() send it, when that is cheaper than its value.
    """

    name: str
    least: int
    most: int
    check: Callable[[ExpressionTyper, ast.Call], t.Type]
    lower: Callable[[Lowerer, ast.Call, Op | None], Op | None]
    doc: str
    unsafe: bool = False
    needs: str = ""
    when: str = "probe"
    printed: Callable[[Lowerer, ast.Call], tuple[Op, t.Type]] | None = None


# printf() takes a format and 127 values.
MANY = 128
