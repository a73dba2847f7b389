"""Call helpers once that return the same as long as a program runs; LLVM must assume that each call may differ.

    %0: i64 = helper get_current_pid_tgid()            %0: i64 = helper get_current_pid_tgid()
    …                                                  …
    %7: i64 = helper get_current_pid_tgid()            (%0 is used)

A call is left out where another one lies on every way to it.
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.passes.clone import substitute
from trapline.ir.spec import ModuleSpec

# Without arguments, and about the thread that the program interrupted. (The CPU is not: some programs can be moved.)
_CONSTANT = frozenset(("get_current_pid_tgid", "get_current_uid_gid", "get_current_task", "get_current_task_btf"))
_Known = dict[str, f.Op]


def share_calls(module: ModuleSpec) -> None:
    """Rewrite every function of the module."""
    for program in module.programs:
        for function in (program.function, *program.subprograms):
            calls = [op.name for op in function.ops() if _is_constant(op) and isinstance(op, f.Helper)]
            if len(calls) > len(set(calls)):
                _share(function)


def _is_constant(op: f.Op) -> bool:
    return isinstance(op, f.Helper) and op.name in _CONSTANT


def _share(function: f.Function) -> None:
    order = function.reachable()
    before = _known_before(order)
    replaced: dict[f.Op, f.Op] = {}
    for block in order:
        known = dict(before[block])
        kept: list[f.Op] = []
        for op in block.ops:
            if isinstance(op, f.Helper) and _is_constant(op):
                first = known.setdefault(op.name, op)
                if first is not op and first.type == op.type:
                    replaced[op] = first
                    continue
            kept.append(op)
        block.ops[:] = kept
    substitute(function, replaced)


def _known_before(order: list[f.Block]) -> dict[f.Block, _Known]:
    """Find the calls that lie on every way to each block, by iteration to the fixed point."""
    before: dict[f.Block, _Known] = {order[0]: {}}
    changed = True
    while changed:
        changed = False
        for block in order:
            if block not in before:
                continue
            after = dict(before[block])
            for op in block.ops:
                if isinstance(op, f.Helper) and _is_constant(op):
                    after.setdefault(op.name, op)
            for successor in block.successors():
                old = before.get(successor)
                new = after if old is None else {name: op for name, op in old.items() if after.get(name) is op}
                if old is None or len(new) != len(old):
                    before[successor] = dict(new)
                    changed = True
    return before
