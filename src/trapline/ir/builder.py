"""`Builder`: appends operations to a function; the vocabulary that front ends lower to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trapline.errors import InternalError
from trapline.ir import function as f
from trapline.ir.types import BOOL, I32, I64, VOID, Int, Ptr, Space, Type


class Builder:
    """Builds one function.

    Args:
        name: the function's name.
        parameters: types of the parameters (a program has one: ``Ptr(Space.CTX)``).
        returns: the type of the result; programs return I64.
    """

    def __init__(self, name: str, parameters: Sequence[Type] = (f.CONTEXT,), returns: Type = I64) -> None:
        params = tuple(f.Param(type_, index) for index, type_ in enumerate(parameters))
        self.function = f.Function(name, params, returns)
        self.span: f.SpanT | None = None
        self._serial = 0
        self.block = self.new_block("entry")
        self.function.blocks.append(self.block)
        self._started = {self.block}

    # -- position

    @property
    def context(self) -> f.Op:
        """Parameter 0: the program's context."""
        return self.function.parameters[0]

    @contextmanager
    def at(self, span: f.SpanT | None) -> Iterator[None]:
        """Give `span` to all operations built inside the ``with`` (``None`` keeps the outer one)."""
        outer = self.span
        if span is not None:
            self.span = span
        try:
            yield
        finally:
            self.span = outer

    def new_block(self, name: str) -> f.Block:
        """Make a block; it joins the function when `start` moves to it."""
        self._serial += 1
        return f.Block(f"{name}{self._serial}" if self._serial > 1 else name)

    def start(self, block: f.Block) -> None:
        """Append from now on to `block`."""
        if block not in self._started:
            self._started.add(block)
            self.function.blocks.append(block)
        self.block = block

    @property
    def finished(self) -> bool:
        """Whether the current block already has its terminator."""
        return self.block.terminator is not None

    def emit(self, op: f.Op) -> f.Op:
        """Append any operation to the current block and return it."""
        if self.finished:
            # Code after a terminator (a `return` in the middle of a block) is unreachable but must stay well-formed.
            self.start(self.new_block("dead"))
        op.span = self.span
        self.block.ops.append(op)
        return op

    # -- values

    def const(self, type_: Type, value: int) -> f.Op:
        """Return an integer constant, or an absolute address for a pointer type."""
        return self.emit(f.Const(type_, value))

    def i64(self, value: int) -> f.Op:
        """Return a 64-bit constant."""
        return self.const(I64, value)

    def i32(self, value: int) -> f.Op:
        """Return a 32-bit constant."""
        return self.const(I32, value)

    def null(self, space: Space = Space.UNKNOWN) -> f.Op:
        """Return the null pointer."""
        return self.const(Ptr(space), 0)

    def local(
        self, size: int, name: str = "", *, align: int = 8, zero: bool = False, scratch: bool | None = None
    ) -> f.Op:
        """Return the address of a new variable of `size` bytes."""
        return self.emit(f.Local(Ptr(Space.STACK), size, align, name, zero, scratch))

    def variable(self, value: f.Op, name: str = "") -> f.Op:
        """Return the address of a new variable that holds `value`."""
        pointer = self.local(value.type.size, name)
        self.store(value, pointer)
        return pointer

    # -- memory

    def load(self, type_: Type, pointer: f.Op, *, acquire: bool = False) -> f.Op:
        """Read a value."""
        return self.emit(f.Load(type_, pointer, acquire=acquire))

    def store(self, value: f.Op, pointer: f.Op, *, release: bool = False) -> f.Op:
        """Write a value."""
        return self.emit(f.Store(VOID, value, pointer, release))

    def offset(self, pointer: f.Op, constant: int, note: str = "") -> f.Op:
        """Return ``pointer + constant`` bytes, in the same space."""
        if constant == 0:
            return pointer
        return self.emit(f.Offset(pointer.type, pointer, constant, note=note))

    def element(self, pointer: f.Op, index: f.Op, scale: int, note: str = "") -> f.Op:
        """Return ``pointer + index * scale`` bytes; `index` is an i64."""
        return self.emit(f.Offset(pointer.type, pointer, 0, index, scale, note))

    def copy(self, target: f.Op, source: f.Op, size: int) -> f.Op:
        """Copy `size` bytes; from an indirect space it is one probe read."""
        return self.emit(f.Copy(VOID, target, source, size))

    def fill(self, target: f.Op, size: int, byte: int = 0) -> f.Op:
        """Set `size` bytes."""
        return self.emit(f.Fill(VOID, target, byte, size))

    def atomic(self, operation: str, pointer: f.Op, value: f.Op, *, fetch: bool = False) -> f.Op:
        """Change an integer in memory atomically."""
        return self.emit(f.Atomic(value.type if fetch else VOID, operation, pointer, value))

    # -- arithmetic

    def binary(self, operation: str, left: f.Op, right: f.Op) -> f.Op:
        """Apply one of `BINARY`."""
        if left.type != right.type:
            raise InternalError(f"{operation} of {left.type} and {right.type}")
        return self.emit(f.Binary(left.type, operation, left, right))

    def compare(self, operation: str, left: f.Op, right: f.Op) -> f.Op:
        """Apply one of `COMPARE`; the result is an i1."""
        return self.emit(f.Compare(BOOL, operation, left, right))

    def select(self, condition: f.Op, then: f.Op, other: f.Op) -> f.Op:
        """Choose between two values that are both evaluated."""
        return self.emit(f.Select(then.type, condition, then, other))

    def resize(self, value: f.Op, type_: Int, *, signed: bool) -> f.Op:
        """Truncate or extend an integer to `type_`; `signed` says how it is extended."""
        if not isinstance(value.type, Int):
            raise InternalError(f"resize of {value.type}")
        if value.type == type_:
            return value
        if value.type.bits > type_.bits:
            return self.emit(f.Convert(type_, "trunc", value))
        return self.emit(f.Convert(type_, "sext" if signed and value.type.bits > 1 else "zext", value))

    def to_pointer(self, value: f.Op, space: Space) -> f.Op:
        """Make an integer (i64), or a pointer of another space, a pointer into `space`."""
        if isinstance(value.type, Ptr):
            return value if value.type.space is space else self.emit(f.Convert(Ptr(space), "space", value))
        return self.emit(f.Convert(Ptr(space), "inttoptr", self.resize(value, I64, signed=False)))

    def to_integer(self, value: f.Op) -> f.Op:
        """Return a pointer's address as an i64; an integer is returned unchanged."""
        return self.emit(f.Convert(I64, "ptrtoint", value)) if isinstance(value.type, Ptr) else value

    def truth(self, value: f.Op) -> f.Op:
        """Return the i1 of ``value != 0``."""
        return value if value.type == BOOL else self.compare("ne", value, self.const(value.type, 0))

    def invert(self, condition: f.Op) -> f.Op:
        """Return the negation of an i1."""
        return self.binary("xor", condition, self.const(BOOL, 1))

    # -- calls

    def helper(self, name: str, *arguments: f.Op, returns: Type = I64) -> f.Op:
        """Call a BPF helper by the kernel's name without ``bpf_``."""
        return self.emit(f.Helper(returns, name, arguments))

    def kfunc(self, name: str, *arguments: f.Op, returns: Type = I64, weak: bool = False) -> f.Op:
        """Call a kernel function."""
        return self.emit(f.Kfunc(returns, name, arguments, weak))

    def call(self, name: str, *arguments: f.Op, returns: Type = I64) -> f.Op:
        """Call a subprogram."""
        return self.emit(f.Call(returns, name, arguments))

    def function_address(self, name: str) -> f.Op:
        """Return the address of a subprogram."""
        return self.emit(f.FunctionAddress(Ptr(Space.FUNCTION), name))

    def map(self, name: str) -> f.Op:
        """Return a map, as helpers take it."""
        return self.emit(f.MapAddress(Ptr(Space.MAPREF), name))

    def map_value(self, name: str, offset: int = 0) -> f.Op:
        """Return an address inside element 0 of an ARRAY map (never null)."""
        return self.emit(f.MapValueAddress(Ptr(Space.MAP), name, offset))

    def map_lookup(self, name: str, key: f.Op) -> f.Op:
        """Return the address of the value of the key at `key`, or null."""
        return self.helper("map_lookup_elem", self.map(name), key, returns=Ptr(Space.MAP))

    def map_update(self, name: str, key: f.Op, value: f.Op, flags: int = 0) -> f.Op:
        """Write a value; returns 0 or a negative errno (i64)."""
        return self.helper("map_update_elem", self.map(name), key, value, self.i64(flags))

    def map_delete(self, name: str, key: f.Op) -> f.Op:
        """Delete a key; returns 0 or a negative errno (i64)."""
        return self.helper("map_delete_elem", self.map(name), key)

    def barrier(self, value: f.Op | None = None) -> f.Op:
        """Stop the optimiser from moving code across, or from knowing about `value`."""
        return self.emit(f.Barrier(VOID if value is None else value.type, value))

    # -- control

    def jump(self, target: f.Block) -> None:
        """End the block with a jump (does nothing if it has ended already)."""
        if not self.finished:
            self.emit(f.Jump(VOID, target))

    def branch(self, condition: f.Op, then: f.Block, other: f.Block) -> None:
        """End the block with a conditional jump."""
        self.emit(f.Branch(VOID, condition, then, other))

    def switch(self, value: f.Op, default: f.Block, cases: Sequence[tuple[int, f.Block]]) -> None:
        """End the block with a multi-way jump."""
        self.emit(f.Switch(VOID, value, default, tuple(cases)))

    def ret(self, value: f.Op | None = None) -> None:
        """End the block by leaving the function."""
        self.emit(f.Return(VOID, value))

    @contextmanager
    def when(self, condition: f.Op) -> Iterator[None]:
        """Run what is built inside the ``with`` only if `condition` (an i1) is set."""
        body, after = self.new_block("then"), self.new_block("after")
        self.branch(condition, body, after)
        self.start(body)
        yield
        self.jump(after)
        self.start(after)

    def finish(self) -> f.Function:
        """Return the function; a block without an end returns 0."""
        if not self.finished:
            self.ret(None if self.function.returns == VOID else self.const(self.function.returns, 0))
        return self.function
