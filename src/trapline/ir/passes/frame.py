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
"""

from __future__ import annotations

from trapline.errors import FeatureMissingError
from trapline.ir import function as f
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
    moved = {local for local in locals_ if _is_large(local, registers)}
    frame = [local for local in locals_ if local not in moved and local not in registers]
    total = sum(_rounded(local.size) for local in frame)
    for local in sorted(frame, key=lambda local: -local.size):
        if total <= budget:
            break
        if local.scratch is None:
            moved.add(local)
            total -= _rounded(local.size)
    used = 0
    for function in functions:
        mine = [op for op in function.ops() if isinstance(op, f.Local) and op in moved]
        if mine:
            used = _move(function, mine, index, used)
    if used > LIMIT:
        raise FeatureMissingError(
            f"{program.label or program.name} needs {used} bytes for its variables, and there are {LIMIT} on each CPU",
            hint="use shorter strings or smaller arrays",
        )
    return used


def _is_large(local: f.Local, registers: set[f.Local]) -> bool:
    if local.scratch is not None:
        return local.scratch
    return local.size > LARGE and local not in registers


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


def _move(function: f.Function, moved: list[f.Local], index: int, used: int) -> int:
    """Rewrite `moved` variables of a function to addresses from `used` on in its element; return where they end."""
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
    for local in moved:
        address = f.Offset(_MAP, base, used, note=local.name, span=local.span)
        replaced[local] = address
        used += _rounded(local.size)
    for block in function.blocks:
        ops: list[f.Op] = []
        for op in block.ops:
            new = replaced.get(op)
            if new is None:
                _substitute(op, replaced)
                ops.append(op)
                continue
            ops.append(new)
            assert isinstance(op, f.Local)
            if op.zero:
                ops.append(f.Fill(VOID, new, 0, op.size, span=op.span))
        block.ops[:] = ops
    _retype(function)
    function.blocks[:0] = [entry]
    function.blocks.append(none)
    return used


def _substitute(op: f.Op, replaced: dict[f.Op, f.Op]) -> None:
    attributes = op.__dict__
    for name, value in attributes.items():
        if isinstance(value, f.Op):
            if value in replaced:
                attributes[name] = replaced[value]
        elif name == "arguments":
            attributes[name] = tuple(replaced.get(v, v) for v in value)


def _retype(function: f.Function) -> None:
    """Give addresses inside moved variables the space of where they now live."""
    for op in function.ops():
        if isinstance(op, f.Offset):
            op.type = op.pointer.type


def _rounded(size: int) -> int:
    return (size + 7) & ~7
