"""Functions for this machine's own CPU, in IR: memory is read and written as it is, at addresses that are integers."""

from __future__ import annotations

from collections.abc import Callable

from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.types import I8, I32, I64, Int, Ptr, Space

MEMORY = Ptr(Space.MAP)  # memory that may be read and written as it is


class NativeBuilder(Builder):
    """A builder of a function that runs in our own process, with variables and loops.

    Its first parameter is a pointer, the others are integers.

    Args:
        name: of the function.
        parameters: how many it has.
    """

    def __init__(self, name: str, parameters: int) -> None:
        super().__init__(name, (MEMORY,) + (I64,) * (parameters - 1))

    def argument(self, index: int) -> f.Op:
        """Return a parameter."""
        return self.function.parameters[index]

    def word(self, pointer: f.Op, at: int) -> f.Op:
        """Read a u32 as an i64."""
        return self.resize(self.load(I32, self.offset(pointer, at)), I64, signed=False)

    def memory(self, address: f.Op) -> f.Op:
        """Return a pointer to an address."""
        return self.to_pointer(address, Space.MAP)

    def byte(self, address: f.Op) -> f.Op:
        """Read the byte at an address as an i64."""
        return self.resize(self.load(I8, self.memory(address)), I64, signed=False)

    def put(self, value: f.Op, address: f.Op, type_: Int = I8) -> None:
        """Write the low bits of an i64 at an address."""
        self.store(self.resize(value, type_, signed=False), self.memory(address))

    def add(self, left: f.Op, right: f.Op | int) -> f.Op:
        """Return the sum."""
        return self.binary("add", left, self.i64(right) if isinstance(right, int) else right)

    def sub(self, left: f.Op, right: f.Op | int) -> f.Op:
        """Return the difference."""
        return self.binary("sub", left, self.i64(right) if isinstance(right, int) else right)

    def both(self, left: f.Op, right: f.Op | int) -> f.Op:
        """Return the bits that both have."""
        return self.binary("and", left, self.i64(right) if isinstance(right, int) else right)

    def is_(self, operation: str, left: f.Op, right: f.Op | int) -> f.Op:
        """Compare an i64."""
        return self.compare(operation, left, self.i64(right) if isinstance(right, int) else right)

    def flag(self, flags: f.Op, flag: int) -> f.Op:
        """Return whether one of the bits is set."""
        return self.is_("ne", self.both(flags, flag), 0)

    def get(self, variable: f.Op) -> f.Op:
        """Read a variable."""
        return self.load(I64, variable)

    def advance(self, variable: f.Op, step: f.Op | int) -> None:
        """Add to a variable."""
        self.store(self.add(self.get(variable), step), variable)

    def leave_if(self, condition: f.Op, target: f.Block) -> None:
        """Jump to `target` if `condition` is set."""
        rest = self.new_block("go_on")
        self.branch(condition, target, rest)
        self.start(rest)

    def each(self, end: f.Op | int, body: Callable[[f.Op], None], *, step: int = 1, index: f.Op | None = None) -> f.Op:
        """Run `body` with 0, `step`, twice that … while it is less than `end`.

        Args:
            end: where it ends.
            body: what to run; it may leave with a jump.
            step: how much is added each time.
            index: a variable that has the first value, if it is not 0.

        Returns:
            The variable.
        """
        index = self.variable(self.i64(0), "index") if index is None else index

        def one(leave: f.Block) -> None:
            number = self.get(index)
            self.leave_if(self.is_("uge", number, end), leave)
            body(number)
            self.store(self.add(number, step), index)

        self.repeat(one)
        return index

    def repeat(self, body: Callable[[f.Block], None]) -> None:
        """Run `body` again and again until it jumps to the block that it is given."""
        head, leave = self.new_block("loop"), self.new_block("leave")
        self.jump(head)
        self.start(head)
        body(leave)
        self.jump(head)
        self.start(leave)
