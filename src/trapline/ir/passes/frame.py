"""Move large variables out of the frame, which has 512 bytes.

They go to the per-CPU array ``.scratch``, which has an element for each program; a function that needs it looks it up
once, when it starts::

    %0: ptr<stack> = local 1000 'text'                 %0: ptr<stack> = local 4 'scratch key'
    …                                                  store i32 0 -> %0
                                                       %1: ptr<mapref> = map .scratch
                                                       %2: ptr<map> = helper map_lookup_elem(%1, %0)
                                                       %3: i1 = ne %2, ptr<map> 0
                                                       branch %3, entry, scratch none
                                                       …
                                                       %4: ptr<map> = offset %2 + 0

Variables that never live together share their memory.

A program that can be preempted (those of user probes) could find itself running twice on a CPU, with one scratch
memory; where it uses that, it forbids the kernel to run another thread until it ends.
"""

from __future__ import annotations

from trapline.errors import FeatureMissingError
from trapline.ir import function as f
from trapline.ir.passes.clone import substitute_operands
from trapline.ir.passes.lifetimes import Lifetimes, Slot, share
from trapline.ir.spec import SCRATCH, MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import BOOL, I32, VOID, Ptr, Space, Void
from trapline.records import replace

LARGE = 64
BUDGET = 384

# A per-CPU allocation is at most PCPU_MIN_UNIT_SIZE bytes (include/linux/percpu.h).
LIMIT = 32768

_STACK = Ptr(Space.STACK)
_MAP = Ptr(Space.MAP)


def place_locals(module: ModuleSpec, budget: int = BUDGET) -> ModuleSpec:
    """Decide where each variable lives, and add the scratch map if one is needed.

    Args:
        module: its functions are changed.
        budget: bytes of frame that a program's variables may take.

    Raises:
        FeatureMissingError: a program's variables do not fit into a per-CPU allocation.
    """
    needed = 0
    for index, program in enumerate(module.programs):
        needed = max(needed, _place_program(program, index, budget))
    if needed == 0:
        return module
    scratch = MapSpec(SCRATCH, "PERCPU_ARRAY", 4, needed, len(module.programs))
    return replace(module, maps=(*module.maps, scratch))


def _place_program(program: ProgramSpec, index: int, budget: int) -> int:
    """Rewrite a program's functions; return the bytes of scratch memory that it uses."""
    functions = (program.function, *program.subprograms)
    locals_ = [op for function in functions for op in function.ops() if isinstance(op, f.Local)]
    if not locals_ or (
        sum(local.size for local in locals_) <= min(LARGE, budget) and not any(local.scratch for local in locals_)
    ):
        return 0
    registers = _register_like(functions)
    lifetimes = Lifetimes(functions)
    lives = {function.name: lifetimes.of(function) for function in functions}
    moved = {local for local in locals_ if _is_large(local, registers)}
    frames: dict[str, list[Slot]] = {}
    for function in functions:
        frame = [op for op in function.ops() if isinstance(op, f.Local) and op not in moved and op not in registers]
        frames[function.name] = share(frame, lives[function.name])
    chains = _callees(functions)
    candidates = sorted((s for slots in frames.values() for s in slots), key=lambda slot: -slot.size)
    for slot in candidates:
        if _deepest(functions[0].name, chains, _sizes(frames)) <= budget:
            break
        if all(local.scratch is None for local in slot.members):
            moved.update(slot.members)
            for slots in frames.values():
                if slot in slots:
                    slots.remove(slot)
    places = {
        function.name: share(
            [op for op in function.ops() if isinstance(op, f.Local) and op in moved], lives[function.name]
        )
        for function in functions
    }
    starts = _starts(functions[0].name, chains, _sizes(places))
    used = 0
    for function in functions:
        _merge(function, frames[function.name])
        if places[function.name]:
            used = max(used, _move(function, places[function.name], index, starts.get(function.name, 0)))
    if used > LIMIT:
        raise FeatureMissingError(
            f"{program.label or program.name} needs {used} bytes for its variables, and there are {LIMIT} on each CPU",
            hint="use shorter strings or smaller arrays",
        )
    if used and program.preemptible and not any(_is_tail_call(op) for function in functions for op in function.ops()):
        _forbid_preemption(program.function)
    return used


def _is_tail_call(op: f.Op) -> bool:
    """Tell whether a program ends here without a return; it cannot allow preemption again."""
    return isinstance(op, f.Helper) and op.name == "tail_call"


def _forbid_preemption(function: f.Function) -> None:
    function.blocks[0].ops.insert(0, f.Kfunc(VOID, "bpf_preempt_disable", ()))
    for block in function.blocks:
        if isinstance(block.terminator, f.Return):
            block.ops.insert(len(block.ops) - 1, f.Kfunc(VOID, "bpf_preempt_enable", ()))


def _callees(functions: tuple[f.Function, ...]) -> dict[str, list[str]]:
    return {
        function.name: list(
            dict.fromkeys(op.name for op in function.ops() if isinstance(op, f.Call | f.FunctionAddress))
        )
        for function in functions
    }


def _sizes(slots: dict[str, list[Slot]]) -> dict[str, int]:
    return {name: sum(slot.size for slot in own) for name, own in slots.items()}


def _deepest(name: str, callees: dict[str, list[str]], sizes: dict[str, int]) -> int:
    """Return the bytes of the deepest chain of calls that begins at a function."""
    return sizes[name] + max((_deepest(callee, callees, sizes) for callee in callees[name]), default=0)


def _starts(name: str, callees: dict[str, list[str]], sizes: dict[str, int]) -> dict[str, int]:
    """Return where each function's memory begins: behind that of all that call it."""
    starts = {name: 0}
    pending = [name]
    while pending:
        caller = pending.pop()
        end = starts[caller] + sizes[caller]
        for callee in callees[caller]:
            if end > starts.get(callee, -1):
                starts[callee] = end
                pending.append(callee)
    return starts


def _is_large(local: f.Local, registers: set[f.Local]) -> bool:
    if local.scratch is not None:
        return local.scratch
    return local.size > LARGE and (local not in registers or local.size > BUDGET)


def _register_like(functions: tuple[f.Function, ...]) -> set[f.Local]:
    """Return the variables that are only loaded and stored at constant offsets: LLVM keeps them in registers."""
    roots: dict[f.Op, f.Local] = {}
    result: set[f.Local] = set()
    for function in functions:
        for op in function.ops():
            if isinstance(op, f.Local):
                roots[op] = op
                result.add(op)
            elif isinstance(op, f.Offset) and op.index is None and op.pointer in roots:
                roots[op] = roots[op.pointer]
            elif isinstance(op, f.Load):
                continue
            else:
                for used in op.operands():
                    if used in roots and not (isinstance(op, f.Store) and used is op.pointer and used is not op.value):
                        result.discard(roots[used])
    return result


def _merge(function: f.Function, slots: list[Slot]) -> None:
    """Make the variables of each slot one variable."""
    replaced: dict[f.Op, f.Op] = {}
    merged: list[f.Op] = []
    for slot in slots:
        if len(slot.members) > 1:
            name = slot.members[0].name
            shared = f.Local(_STACK, slot.size, 8, name, scratch=slot.members[0].scratch)
            merged.append(shared)
            replaced.update(dict.fromkeys(slot.members, shared))
    if merged:
        _replace(function, replaced)
        function.blocks[0].ops[:0] = merged


def _move(function: f.Function, slots: list[Slot], index: int, start: int) -> int:
    """Rewrite variables of a function to addresses from `start` on in its element; return where they end."""
    body = function.blocks[0]
    key = f.Local(_STACK, 4, 4, "scratch key", scratch=False)
    number = f.Const(I32, index)
    scratch = f.MapAddress(Ptr(Space.MAPREF), SCRATCH)
    base = f.Helper(_MAP, "map_lookup_elem", (scratch, key))
    null = f.Const(_MAP, 0)
    found = f.Compare(BOOL, "ne", base, null)
    none = f.Block("scratch none")
    entry = f.Block("scratch", [key, number, f.Store(VOID, number, key), scratch, base, null, found])
    entry.ops.append(f.Branch(VOID, found, body, none))
    if isinstance(function.returns, Void):
        none.ops.append(f.Return(VOID, None))
    else:
        zero = f.Const(function.returns, 0)
        none.ops += [zero, f.Return(VOID, zero)]
    replaced: dict[f.Op, f.Op] = {}
    addresses: list[f.Op] = []
    for slot in slots:
        address = f.Offset(_MAP, base, start, note=slot.members[0].name)
        addresses.append(address)
        replaced.update(dict.fromkeys(slot.members, address))
        start += slot.size
    _replace(function, replaced)
    body.ops[:0] = addresses
    _retype(function)
    function.blocks[:0] = [entry]
    function.blocks.append(none)
    return start


def _replace(function: f.Function, replaced: dict[f.Op, f.Op]) -> None:
    """Take variables out of a function, and let the addresses that replace them be used instead."""
    for block in function.blocks:
        ops: list[f.Op] = []
        for op in block.ops:
            new = replaced.get(op)
            if new is None:
                substitute_operands(op, replaced)
                ops.append(op)
            elif isinstance(op, f.Local) and op.zero:
                ops.append(f.Fill(VOID, new, 0, op.size, span=op.span))
        block.ops[:] = ops


def _retype(function: f.Function) -> None:
    """Give addresses inside moved variables the space of where they now live."""
    for op in function.ops():
        if isinstance(op, f.Offset):
            op.type = op.pointer.type
