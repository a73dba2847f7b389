"""The syntax tree of the bpftrace language: frozen nodes, each with the span of source that it came from.

Nodes compare and hash by identity, so that passes can keep what they find out in dictionaries keyed by node.
"""

from __future__ import annotations

from trapline.records import record
from trapline.source import Source, Span


@record(frozen=True, eq=False)
class Node:
    """Anything with a place in the source."""

    span: Span


# ---------------------------------------------------------------- types as written


@record(frozen=True, eq=False)
class NamedType(Node):
    """A type by name; `tag` is ``struct``, ``union``, ``enum`` or empty."""

    name: str
    tag: str = ""


@record(frozen=True, eq=False)
class PointerType(Node):
    """``T *``."""

    target: TypeExpr


@record(frozen=True, eq=False)
class ArrayType(Node):
    """``T[n]``, or ``string[n]`` and its like; `length` is ``None`` for ``T[]``."""

    element: TypeExpr
    length: Expr | None


@record(frozen=True, eq=False)
class TupleType(Node):
    """``(T1, T2)``."""

    elements: tuple[TypeExpr, ...]


@record(frozen=True, eq=False)
class TypeofType(Node):
    """``typeof(e)`` or ``typeof(T)``."""

    operand: Expr | TypeExpr


TypeExpr = NamedType | PointerType | ArrayType | TupleType | TypeofType

# ---------------------------------------------------------------- expressions


@record(frozen=True, eq=False)
class Integer(Node):
    """An integer literal, durations already in nanoseconds; `unsigned` when a ``u`` suffix says so."""

    value: int
    unsigned: bool = False


@record(frozen=True, eq=False)
class String(Node):
    """A string literal with its escapes resolved to bytes."""

    value: bytes


@record(frozen=True, eq=False)
class Boolean(Node):
    """``true`` or ``false``."""

    value: bool


@record(frozen=True, eq=False)
class Identifier(Node):
    """A bare word: a built-in, an enumerator, a macro or its parameter."""

    name: str


@record(frozen=True, eq=False)
class Positional(Node):
    """``$1``, ``$2`` …"""

    index: int


@record(frozen=True, eq=False)
class PositionalCount(Node):
    """``$#``."""


@record(frozen=True, eq=False)
class Variable(Node):
    """``$name``; `name` without the dollar."""

    name: str


@record(frozen=True, eq=False)
class MapName(Node):
    """``@name`` without a key: a scalar map's value, or the map itself as an argument; `name` starts with ``@``."""

    name: str


@record(frozen=True, eq=False)
class MapElement(Node):
    """``@name[k1, k2]``."""

    map: MapName
    keys: tuple[Expr, ...]


@record(frozen=True, eq=False)
class FieldAccess(Node):
    """``e.name``, or ``e->name`` when `arrow`."""

    base: Expr
    name: str
    arrow: bool = False


@record(frozen=True, eq=False)
class TupleAccess(Node):
    """``e.0``."""

    base: Expr
    index: int


@record(frozen=True, eq=False)
class Index(Node):
    """``e[i]`` of an array, pointer, string or tuple."""

    base: Expr
    index: Expr


@record(frozen=True, eq=False)
class Unary(Node):
    """``- ! ~ * & ++ --`` before an operand, or ``++ --`` after it when `postfix`."""

    op: str
    operand: Expr
    postfix: bool = False


@record(frozen=True, eq=False)
class Binary(Node):
    """``left op right``."""

    op: str
    left: Expr
    right: Expr


@record(frozen=True, eq=False)
class Ternary(Node):
    """``c ? a : b``; `then` is ``None`` for ``c ?: b``."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


@record(frozen=True, eq=False)
class Cast(Node):
    """``(T)e``."""

    type: TypeExpr
    operand: Expr


@record(frozen=True, eq=False)
class Call(Node):
    """``name(args)``."""

    name: str
    args: tuple[Expr, ...]


@record(frozen=True, eq=False)
class Tuple(Node):
    """``(a, b)``."""

    elements: tuple[Expr, ...]


@record(frozen=True, eq=False)
class Record(Node):
    """``(a=1, b=2)``."""

    fields: tuple[tuple[str, Expr], ...]


@record(frozen=True, eq=False)
class Sizeof(Node):
    """``sizeof(T)`` or ``sizeof(e)``."""

    operand: Expr | TypeExpr


@record(frozen=True, eq=False)
class Offsetof(Node):
    """``offsetof(T, a.b)``."""

    operand: Expr | TypeExpr
    path: tuple[str, ...]


@record(frozen=True, eq=False)
class TypeArgument(Node):
    """``typeof(…)`` where an expression stands: a type passed to a macro or function."""

    type: TypeExpr


@record(frozen=True, eq=False)
class Typeinfo(Node):
    """``typeinfo(T)`` or ``typeinfo(e)``."""

    operand: Expr | TypeExpr


@record(frozen=True, eq=False)
class Comptime(Node):
    """``comptime e``."""

    operand: Expr


@record(frozen=True, eq=False)
class BlockExpression(Node):
    """``{ …; e }``: the value of the last expression; without one, nothing."""

    body: tuple[Statement, ...]
    value: Expr | None


@record(frozen=True, eq=False)
class IfExpression(Node):
    """``if c { a } else { b }`` where a value is wanted; `comptime` when the branch is chosen at compile time."""

    condition: Expr
    then: BlockExpression
    otherwise: BlockExpression | IfExpression
    comptime: bool = False


Expr = (
    Integer
    | String
    | Boolean
    | Identifier
    | Positional
    | PositionalCount
    | Variable
    | MapName
    | MapElement
    | FieldAccess
    | TupleAccess
    | Index
    | Unary
    | Binary
    | Ternary
    | Cast
    | Call
    | Tuple
    | Record
    | Sizeof
    | Offsetof
    | TypeArgument
    | Typeinfo
    | Comptime
    | BlockExpression
    | IfExpression
)

# ---------------------------------------------------------------- statements


@record(frozen=True, eq=False)
class Block(Node):
    """``{ … }``."""

    body: tuple[Statement, ...]


@record(frozen=True, eq=False)
class ExpressionStatement(Node):
    """``e;``; `last` when the block ends behind it and no semicolon does: then it is the block's value."""

    value: Expr
    last: bool = False


@record(frozen=True, eq=False)
class Discard(Node):
    """``_ = e;``."""

    value: Expr


@record(frozen=True, eq=False)
class Assign(Node):
    """``target = e;``, or ``target op= e;`` with `op` the operator without ``=``."""

    target: Variable | MapName | MapElement
    op: str
    value: Expr


@record(frozen=True, eq=False)
class Let(Node):
    """``let $x: T = e;``."""

    target: Variable
    type: TypeExpr | None
    value: Expr | None


@record(frozen=True, eq=False)
class If(Node):
    """``if (c) { … } else …``; `comptime` when the branch is chosen at compile time."""

    condition: Expr
    then: Block
    otherwise: Block | If | None
    comptime: bool = False


@record(frozen=True, eq=False)
class Unroll(Node):
    """``unroll(n) { … }``."""

    count: Expr
    body: Block


@record(frozen=True, eq=False)
class While(Node):
    """``while (c) { … }``."""

    condition: Expr
    body: Block


@record(frozen=True, eq=False)
class Range(Node):
    """``a..b``: from `start` up to and without `end`."""

    start: Expr
    end: Expr


@record(frozen=True, eq=False)
class For(Node):
    """``for $x : @map { … }`` or ``for $x : a..b { … }``."""

    target: Variable
    iterable: Expr | Range
    body: Block


@record(frozen=True, eq=False)
class Break(Node):
    """``break;``."""


@record(frozen=True, eq=False)
class Continue(Node):
    """``continue;``."""


@record(frozen=True, eq=False)
class Return(Node):
    """``return e;``."""

    value: Expr | None


@record(frozen=True, eq=False)
class Import(Node):
    """``import "path";``, at top level or inside a block."""

    path: str


Statement = (
    Block
    | ExpressionStatement
    | Discard
    | Assign
    | Let
    | If
    | Unroll
    | While
    | For
    | Break
    | Continue
    | Return
    | Import
)

# ---------------------------------------------------------------- top level


@record(frozen=True, eq=False)
class CText(Node):
    """C definitions and preprocessor lines before the program, as text."""

    text: str


@record(frozen=True, eq=False)
class ConfigEntry(Node):
    """``key = value``; a bare word is a string."""

    key: str
    value: int | str | bool


@record(frozen=True, eq=False)
class AttachPoint(Node):
    """One attach point, taken apart.

    Args:
        provider: the canonical provider (``kprobe``, ``begin`` …).
        text: as written, positional parameters filled in.
        target: module, category, binary, unit, event group or BPF program id: whatever stands before `event`.
        event: function, tracepoint, event or USDT probe name; empty where the provider has none.
        namespace: a USDT namespace, or a uprobe's language.
        offset: byte offset behind `event`.
        address: absolute address, or offset in the file.
        number: rate, period, count, watchpoint length, or source line.
        mode: watchpoint mode, or ``pin`` path of an iterator.
        column: column of a source line probe.
        name: what the user called it (``name=kprobe:f``).
    """

    provider: str
    text: str
    target: str = ""
    event: str = ""
    namespace: str = ""
    offset: int = 0
    address: int | None = None
    number: int = 0
    mode: str = ""
    column: int = 0
    name: str = ""


@record(frozen=True, eq=False)
class Probe(Node):
    """``attach points /predicate/ { … }``."""

    attach_points: tuple[AttachPoint, ...]
    predicate: Expr | None
    body: Block


@record(frozen=True, eq=False)
class MapDeclaration(Node):
    """``let @m = hash(n);``."""

    map: MapName
    kind: str
    entries: Expr


@record(frozen=True, eq=False)
class Macro(Node):
    """``macro name(params) { … }``; each parameter is a ``$v``, an ``@m`` or an identifier."""

    name: str
    parameters: tuple[Variable | MapName | Identifier, ...]
    body: BlockExpression


@record(frozen=True, eq=False)
class Function(Node):
    """``fn name($a : T) : T { … }``."""

    name: str
    parameters: tuple[tuple[Variable, TypeExpr], ...]
    result: TypeExpr | None
    body: Block


@record(frozen=True, eq=False)
class Program(Node):
    """A whole program text."""

    source: Source
    preamble: tuple[CText, ...]
    config: tuple[ConfigEntry, ...]
    imports: tuple[Import, ...]
    maps: tuple[MapDeclaration, ...]
    macros: tuple[Macro, ...]
    functions: tuple[Function, ...]
    probes: tuple[Probe, ...]
