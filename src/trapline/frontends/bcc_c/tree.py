"""The typed syntax tree: what is left of clang's once macros, casts and names are resolved.

Expressions know their C type and their span; whether one is an lvalue follows from its class.  Functions are converted
once and lowered as often as they are called (every static function is inlined, as in BCC).
"""

from __future__ import annotations

from trapline.clang.ctype import CField, CType
from trapline.records import field, record

SpanT = tuple[int, int]


@record(eq=False)
class Node:
    """Anything with a place in the text (``None`` inside our own prelude)."""

    span: SpanT | None = field(default=None, kw_only=True)


# ---------------------------------------------------------------- declarations


@record(eq=False)
class Variable(Node):
    """A variable or parameter; `static` ones live in a map, `constant` ones among them in the frozen one.

    `used` and `changed` (assigned after its initialisation, or its address taken) are filled in while uses are read.
    """

    name: str
    type: CType
    init: Expr | None = None
    static: bool = False
    constant: bool = False
    used: bool = False
    changed: bool = False


@record(eq=False)
class FunctionTree(Node):
    """A function with its body."""

    name: str
    returns: CType
    parameters: tuple[Variable, ...]
    body: Block
    static: bool
    jumps: bool = False  # has labels or switches: a declaration may be jumped over


# ---------------------------------------------------------------- expressions


@record(eq=False)
class Expr(Node):
    """An expression of C type `type`."""

    type: CType


@record(eq=False)
class IntLiteral(Expr):
    """A constant: a literal, an enumerator, ``sizeof``, ``offsetof``."""

    value: int


@record(eq=False)
class StringLiteral(Expr):
    """A string with its NUL."""

    data: bytes


@record(eq=False)
class VariableRef(Expr):
    """A use of a variable."""

    variable: Variable


@record(eq=False)
class TableRef(Expr):
    """A use of a map's name other than a method call."""

    name: str


@record(eq=False)
class FunctionRef(Expr):
    """A use of a function other than a call."""

    name: str


@record(eq=False)
class Member(Expr):
    """``base.member`` or, with `arrow`, ``base->member``."""

    base: Expr
    member: CField
    arrow: bool


@record(eq=False)
class Index(Expr):
    """``base[index]``; `base` is the pointer (or array), whichever side it was on."""

    base: Expr
    index: Expr


@record(eq=False)
class Unary(Expr):
    """``& * + - ~ !``."""

    operator: str
    operand: Expr


@record(eq=False)
class Step(Expr):
    """``++`` and ``--``."""

    target: Expr
    delta: int
    prefix: bool


@record(eq=False)
class Binary(Expr):
    """Arithmetic, comparison, ``&&``, ``||`` and the comma."""

    operator: str
    left: Expr
    right: Expr


@record(eq=False)
class Assign(Expr):
    """``target = value`` or, with `operator`, ``target operator= value``."""

    operator: str
    target: Expr
    value: Expr


@record(eq=False)
class Conditional(Expr):
    """``condition ? then : other``; `then` is ``None`` for ``condition ?: other``."""

    condition: Expr
    then: Expr | None
    other: Expr


@record(eq=False)
class Cast(Expr):
    """A conversion, implicit or written."""

    operand: Expr


@record(eq=False)
class CallFunction(Expr):
    """A call by name: a static function, a helper or a built-in; nobody wants the result of an `unused` one."""

    name: str
    arguments: tuple[Expr, ...]
    callee: FunctionTree | None = None
    unused: bool = False


@record(eq=False)
class CallMethod(Expr):
    """``table.method(arguments)``."""

    table: str
    method: str
    arguments: tuple[Expr, ...]


@record(eq=False)
class Designated(Expr):
    """One item of a braced list: `path` of members and indices (first, last) that it starts at."""

    path: tuple[CField | tuple[int, int], ...]
    value: Expr


@record(eq=False)
class InitList(Expr):
    """A braced initialiser as written; items may be `Designated`."""

    items: tuple[Expr, ...]


@record(eq=False)
class CompoundLiteral(Expr):
    """``(type){ … }``."""

    init: Expr


@record(eq=False)
class StatementExpr(Expr):
    """``({ … })``."""

    body: Block


# ---------------------------------------------------------------- statements


@record(eq=False)
class Block(Node):
    """``{ … }``."""

    statements: tuple[Node, ...]


@record(eq=False)
class Declare(Node):
    """A declaration of local variables."""

    variables: tuple[Variable, ...]


@record(eq=False)
class If(Node):
    """``if``."""

    condition: Expr
    then: Node
    other: Node | None


@record(eq=False)
class Loop(Node):
    """``for``, ``while`` and ``do``; `test_last` for ``do``."""

    start: Node | None
    condition: Expr | None
    step: Expr | None
    body: Node
    test_last: bool = False


@record(eq=False)
class SwitchOn(Node):
    """``switch``."""

    value: Expr
    body: Node


@record(eq=False)
class Case(Node):
    """``case low ... high:`` or, with `low` None, ``default:``."""

    low: int | None
    high: int
    body: Node | None


@record(eq=False)
class Break(Node):
    """``break``."""


@record(eq=False)
class Continue(Node):
    """``continue``."""


@record(eq=False)
class Goto(Node):
    """``goto label``."""

    label: str


@record(eq=False)
class Label(Node):
    """``label: statement``."""

    label: str
    body: Node | None


@record(eq=False)
class ReturnFrom(Node):
    """``return``."""

    value: Expr | None


@record(eq=False)
class CompilerBarrier(Node):
    """``asm volatile("" …)``; the variables it names are forgotten by the optimiser."""

    outputs: tuple[Expr, ...] = ()
