"""When the contents of each variable matter, so that variables can share memory.

Blocks are laid in a line, each after all that dominate it.  A variable lives from its operation to its last use; if it
is older than a loop that uses it, to the end of that loop.  An address that is kept somewhere (stored, returned, made
an integer) may be used at any time: its variable lives to the end of the function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trapline.ir import function as f
from trapline.records import field, record

Lifetime = tuple[int, int]
# Operations that use an address and do not keep it.
_HARMLESS = (f.Load, f.Copy, f.Fill, f.Helper, f.Compare)


@record(eq=False)
class Slot:
    """Memory that several variables use one after the other."""

    size: int
    end: int
    members: list[f.Local] = field(default_factory=list)


class Lifetimes:
    """Finds the lifetimes of the variables of a program's functions.

    Args:
        functions: all of them.
    """

    def __init__(self, functions: Iterable[f.Function]) -> None:
        self._functions = {function.name: function for function in functions}
        self._kept: dict[str, set[int]] = {}

    def of(self, function: f.Function) -> dict[f.Local, Lifetime]:
        """Return the lifetimes of a function's variables, as positions of operations."""
        blocks = function.reachable()
        start_of: dict[f.Block, int] = {}
        at = 0
        for block in blocks:
            start_of[block] = at
            at += len(block.ops)
        end_of = {block: start_of[block] + len(block.ops) - 1 for block in blocks}
        loops = sorted(
            (start_of[target], end_of[block])
            for block in blocks
            for target in block.successors()
            if start_of[target] <= start_of[block]
        )
        first: dict[f.Local, int] = {}
        last: dict[f.Local, int] = {}
        roots = self._follow(blocks, first, last)
        for local in roots:
            last[local] = at
        return {local: (start, _outlive_loops(start, last[local], loops)) for local, start in first.items()}

    def _follow(self, blocks: list[f.Block], first: dict[f.Local, int], last: dict[f.Local, int]) -> set[f.Local]:
        """Note first and last uses; return the variables whose address is kept."""
        roots: dict[f.Op, tuple[f.Op, ...]] = {}
        kept: set[f.Local] = set()
        at = 0
        for block in blocks:
            for op in block.ops:
                if isinstance(op, f.Local):
                    roots[op] = (op,)
                    first[op] = last[op] = at
                else:
                    for used in op.operands():
                        for root in roots.get(used, ()):
                            assert isinstance(root, f.Local)
                            last[root] = at
                            if self._keeps(op, used):
                                kept.add(root)
                    _derive(op, roots)
                at += 1
        return kept

    def _keeps(self, op: f.Op, used: f.Op) -> bool:
        if isinstance(op, (f.Store, f.Atomic)):
            return used is op.value
        if isinstance(op, f.Call):
            positions = [i for i, argument in enumerate(op.arguments) if argument is used]
            return not self._kept_parameters(op.name).isdisjoint(positions)
        return not isinstance(op, (*_HARMLESS, f.Offset, f.Select, f.Barrier)) and not (
            isinstance(op, f.Convert) and op.operation == "space"
        )

    def _kept_parameters(self, name: str) -> set[int]:
        """Return which parameters' values a function keeps."""
        if name not in self._kept:
            function = self._functions.get(name)
            if function is None:
                return set(range(5))
            self._kept[name] = set(range(5))  # for a function that calls itself
            roots: dict[f.Op, tuple[f.Op, ...]] = {param: (param,) for param in function.parameters}
            kept: set[int] = set()
            for block in function.reachable():
                for op in block.ops:
                    for used in op.operands():
                        if used in roots and self._keeps(op, used):
                            kept.update(root.index for root in roots[used] if isinstance(root, f.Param))
                    _derive(op, roots)
            self._kept[name] = kept
        return self._kept[name]


def _derive(op: f.Op, roots: dict[f.Op, tuple[f.Op, ...]]) -> None:
    """Note what an address that is made of others points into."""
    if isinstance(op, f.Offset):
        found = roots.get(op.pointer, ())
    elif isinstance(op, f.Select):
        found = roots.get(op.then, ()) + roots.get(op.other, ())
    elif isinstance(op, (f.Convert, f.Barrier)) and op.value is not None:
        found = roots.get(op.value, ())
    else:
        return
    if found:
        roots[op] = found


def _outlive_loops(start: int, end: int, loops: list[Lifetime]) -> int:
    """Extend a life to the ends of the loops that it goes into."""
    grown = True
    while grown:
        grown = False
        for head, tail in loops:
            if head > end:
                break
            if start < head and end < tail:
                end = tail
                grown = True
    return end


def share(locals_: Iterable[f.Local], lifetimes: Mapping[f.Local, Lifetime]) -> list[Slot]:
    """Give variables memory, the same to those of one function that never live together.

    Args:
        locals_: the variables; one without a lifetime is in a block that control never reaches.
        lifetimes: when they live.
    """
    slots: list[Slot] = []
    for local in sorted(locals_, key=lambda local: lifetimes.get(local, (0, 0))[0]):
        start, end = lifetimes.get(local, (0, 0))
        size = (local.size + 7) & ~7
        free = [slot for slot in slots if slot.end < start]
        fitting = min(free, key=lambda slot: abs(slot.size - size), default=None)
        if fitting is None:
            fitting = Slot(size, end)
            slots.append(fitting)
        fitting.size = max(fitting.size, size)
        fitting.end = end
        fitting.members.append(local)
    return slots
