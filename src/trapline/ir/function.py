"""IR functions: blocks of operations on values.

A function is a control-flow graph; each operation is itself the value that it computes.  There are no phis: a variable
is a `Local` that is loaded and stored, and LLVM's mem2reg does the rest.  Every operation carries the span of the
user's source that it came from, down to the bytecode.
"""

from __future__ import annotations

from collections.abc import Iterator

from trapline.ir.types import Ptr, Space, Type
from trapline.records import field, record

SpanT = tuple[int, int]

BINARY = ("add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "and", "or", "xor", "shl", "lshr", "ashr")
COMPARE = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
CONVERT = ("trunc", "zext", "sext", "inttoptr", "ptrtoint", "space", "bswap")
ATOMIC = ("add", "and", "or", "xor", "xchg")


@record(eq=False)
class Op:
    """An operation and the value that it computes; `type` is VOID where it computes none."""

    type: Type
    span: SpanT | None = field(default=None, kw_only=True)

    def operands(self) -> Iterator[Op]:
        """Yield the values that this operation uses."""
        for value in self.__dict__.values():
            if isinstance(value, Op):
                yield value
            elif value.__class__ is tuple:
                for element in value:
                    if isinstance(element, Op):
                        yield element


@record(eq=False)
class Const(Op):
    """An integer constant (modulo the width), or a null/absolute pointer."""

    value: int


@record(eq=False)
class Param(Op):
    """Parameter `index` of the function; parameter 0 of a program is its context."""

    index: int


@record(eq=False)
class Local(Op):
    """A variable of `size` bytes in the frame (or, when large, in per-CPU scratch memory); the value is its address.

    Its contents are undefined until stored, unless `zero`: then they are zeroed where the operation stands.
    `scratch` forces (True) or forbids (False) the per-CPU memory; ``None`` lets `trapline.ir.passes.frame` decide.
    """

    size: int
    align: int = 8
    name: str = ""
    zero: bool = False
    scratch: bool | None = None


@record(eq=False)
class Load(Op):
    """Read a value of `type` at `pointer`, at exactly that width.

    `align` is what divides the address that is read, when it is that of a variable; 0 says nothing.  `acquire` keeps
    later accesses behind it, for memory that another thread writes (native code only).
    """

    pointer: Op
    align: int = 0
    acquire: bool = False


@record(eq=False)
class Store(Op):
    """Write `value` at `pointer`; `release` keeps earlier accesses before it (native code only)."""

    value: Op
    pointer: Op
    release: bool = False


@record(eq=False)
class Offset(Op):
    """``pointer + constant + index * scale``; `note` says what it selects (``task_struct.mm``), for readers."""

    pointer: Op
    constant: int = 0
    index: Op | None = None
    scale: int = 1
    note: str = ""


@record(eq=False)
class Binary(Op):
    """Integer arithmetic on two values of one type; `operation` is one of BINARY."""

    operation: str
    left: Op
    right: Op


@record(eq=False)
class Compare(Op):
    """Compare two values of one type (integers or pointers) to an i1; `operation` is one of COMPARE."""

    operation: str
    left: Op
    right: Op


@record(eq=False)
class Convert(Op):
    """Convert `value` to `type`; `operation` is one of CONVERT (``space`` changes only a pointer's address space)."""

    operation: str
    value: Op


@record(eq=False)
class Select(Op):
    """`then` if the i1 `condition` is set, else `other`; both are evaluated."""

    condition: Op
    then: Op
    other: Op


@record(eq=False)
class Helper(Op):
    """Call a BPF helper by the kernel's name without ``bpf_`` (``map_lookup_elem``); at most five arguments."""

    name: str
    arguments: tuple[Op, ...]


@record(eq=False)
class LoadPacket(Op):
    """Read `size` bytes (1, 2 or 4) at `place` of the packet of `context`, as an i64 in the machine's order.

    Classic BPF's instruction, which programs of sockets and of traffic control have: where the packet is too short, the
    program ends and returns 0.
    """

    size: int
    context: Op
    place: Op


@record(eq=False)
class Kfunc(Op):
    """Call a kernel function that is exported to BPF programs."""

    name: str
    arguments: tuple[Op, ...]
    weak: bool = False


@record(eq=False)
class Call(Op):
    """Call a subprogram of the same program."""

    name: str
    arguments: tuple[Op, ...]


@record(eq=False)
class FunctionAddress(Op):
    """The address of a subprogram, for helpers that call back."""

    name: str


@record(eq=False)
class MapAddress(Op):
    """A map, as helpers take it."""

    name: str


@record(eq=False)
class MapValueAddress(Op):
    """The address of `offset` in element 0 of an ARRAY map (``.rodata`` and globals)."""

    name: str
    offset: int = 0


@record(eq=False)
class Copy(Op):
    """Copy `size` bytes (constant); an indirect `source` becomes one probe read."""

    target: Op
    source: Op
    size: int


@record(eq=False)
class Fill(Op):
    """Set `size` bytes (constant) to `byte`."""

    target: Op
    byte: int
    size: int


@record(eq=False)
class Atomic(Op):
    """An atomic read-modify-write of a 4- or 8-byte integer; the value is the old contents (VOID: not fetched)."""

    operation: str
    pointer: Op
    value: Op


@record(eq=False)
class Barrier(Op):
    """A compiler barrier; with `value`, the optimiser also forgets all it knew of that value (same type results)."""

    value: Op | None = None


# ---------------------------------------------------------------- ends of blocks


@record(eq=False)
class Jump(Op):
    """Go on at `target`."""

    target: Block


@record(eq=False)
class Branch(Op):
    """Go on at `then` if the i1 `condition` is set, else at `other`."""

    condition: Op
    then: Block
    other: Block


@record(eq=False)
class Switch(Op):
    """Go on at the block of the case that equals `value`, else at `default`."""

    value: Op
    default: Block
    cases: tuple[tuple[int, Block], ...]


@record(eq=False)
class Return(Op):
    """Leave the function."""

    value: Op | None = None


@record(eq=False)
class Unreachable(Op):
    """Control never comes here."""


Terminator = Jump | Branch | Switch | Return | Unreachable


@record(eq=False)
class Block:
    """A straight run of operations; the last one is a terminator once the block is finished."""

    name: str
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Op | None:
        """The last operation if it ends the block, else ``None``."""
        if self.ops and isinstance(self.ops[-1], (Jump, Branch, Switch, Return, Unreachable)):
            return self.ops[-1]
        return None

    def successors(self) -> tuple[Block, ...]:
        """Return the blocks that control may go to from here."""
        end = self.terminator
        if isinstance(end, Jump):
            return (end.target,)
        if isinstance(end, Branch):
            return (end.then, end.other)
        if isinstance(end, Switch):
            return (end.default, *(block for _, block in end.cases))
        return ()


@record(eq=False)
class Function:
    """A function: `parameters` are its `Param` operations, ``blocks[0]`` its entry."""

    name: str
    parameters: tuple[Param, ...]
    returns: Type
    blocks: list[Block] = field(default_factory=list)

    def ops(self) -> Iterator[Op]:
        """Yield every operation in block order."""
        for block in self.blocks:
            yield from block.ops

    def has_loop(self) -> bool:
        """Return whether control can come to a block twice."""
        places = {block: place for place, block in enumerate(self.reachable())}
        return any(places[to] <= place for block, place in places.items() for to in block.successors())

    def reachable(self) -> list[Block]:
        """Return the blocks that control can reach, in reverse post-order: each after all that dominate it."""
        if not self.blocks[0].successors():
            return self.blocks[:1]
        order: list[Block] = []
        seen = {self.blocks[0]}
        stack = [(self.blocks[0], iter(self.blocks[0].successors()))]
        while stack:
            block, successors = stack[-1]
            for successor in successors:
                if successor not in seen:
                    seen.add(successor)
                    stack.append((successor, iter(successor.successors())))
                    break
            else:
                order.append(block)
                stack.pop()
        order.reverse()
        return order


CONTEXT = Ptr(Space.CTX)
