"""The shape of the tables of built-ins and functions: frozen rows of a name, a type rule and a lowering."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
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
    """

    name: str
    check: Callable[[ExpressionTyper, ast.Identifier], t.Type]
    lower: Callable[[Lowerer, ast.Identifier, Op | None], Op | None]
    doc: str


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
    """

    name: str
    least: int
    most: int
    check: Callable[[ExpressionTyper, ast.Call], t.Type]
    lower: Callable[[Lowerer, ast.Call, Op | None], Op | None]
    doc: str
    unsafe: bool = False


MANY = 127
