"""Carry a function's arguments from its entry to its return: ``args`` in a kretprobe.

A second program at the function's entry keeps the words that the block uses; the block's program takes them back.  A
task may be in the function several times (recursion, interrupts): its calls are numbered by depth.
"""

from __future__ import annotations

from trapline.frontends.bpftrace.infer import SiteTyper, TypedSite
from trapline.frontends.bpftrace.lower_expressions import ExpressionLowerer
from trapline.frontends.bpftrace.module_builder import DEPTH, STASH, ModuleBuilder, stash_maps
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I64, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.lower import Lowerer

# A task is not that many times in one function: the count was disturbed by missed returns, and starts again.
_MAX_DEPTH = 64


def argument_slots(typer: SiteTyper) -> tuple[str, ...]:
    """Return the arguments that a kretprobe's block uses, in the order of their slots."""
    return tuple(typer.used_arguments) if typer.site.provider == "kretprobe" else ()


def _task_key(low: ExpressionLowerer, number: int) -> Op:
    """Return the address of ``{u64 task; u32 program; u32 cpu; u64 depth}``: tasks are idle on every CPU with pid 0."""
    b = low.b
    key = b.local(24, "stash_key")
    task = b.helper("get_current_pid_tgid")
    idle = b.compare("eq", task, b.i64(0))
    cpu = b.select(idle, b.resize(b.helper("get_smp_processor_id"), I64, signed=False), b.i64(0))
    b.store(task, key)
    b.store(b.binary("or", b.binary("shl", cpu, b.i64(32)), b.i64(number)), b.offset(key, 8))
    b.store(b.i64(0), b.offset(key, 16))
    return key


def restore_stash(low: Lowerer, slots: tuple[str, ...]) -> None:
    """Take the arguments of this call back; leave the program when they are not known.

    They are not when the call began before the probes were attached.
    """
    b = low.b
    stash_maps(low.module, len(slots))
    name = f"{STASH}{len(slots)}"
    key = _task_key(low, low.program_index)
    depth_at = b.map_lookup(DEPTH, key)
    with b.when(b.compare("eq", depth_at, b.null(Space.MAP))):
        low.leave()
    depth = b.load(I64, depth_at)
    with b.when(b.compare("eq", depth, b.i64(0))):
        low.leave()
    b.store(b.binary("sub", depth, b.i64(1)), depth_at)
    b.store(b.binary("sub", depth, b.i64(1)), b.offset(key, 16))
    found = b.map_lookup(name, key)
    words = b.local(8 * len(slots), "arguments", zero=True)
    with b.when(b.compare("eq", found, b.null(Space.MAP))):
        low.leave()
    b.copy(words, found, 8 * len(slots))
    b.map_delete(name, key)
    with b.when(b.compare("eq", depth, b.i64(1))):
        b.map_delete(DEPTH, key)
    low.stash = words
    low.stash_slots = {argument: index for index, argument in enumerate(slots)}


def lower_stash(typed: TypedSite, module: ModuleBuilder, number: int) -> spec.ProgramSpec | None:
    """Make the entry program that belongs to a kretprobe, if its block uses ``args``."""
    slots = argument_slots(typed.typer)
    if not slots:
        return None
    low = ExpressionLowerer(typed.typer, module, len(module.programs), f"stash_{number + 1}")
    b = low.b
    key = _task_key(low, number)
    depth_at = b.variable(b.map_lookup(DEPTH, key), "depth_at")
    pointer = b.map_lookup(DEPTH, key).type
    with b.when(b.compare("eq", b.load(pointer, depth_at), b.null(Space.MAP))):
        b.map_update(DEPTH, key, b.variable(b.i64(0), "none"))
        b.store(b.map_lookup(DEPTH, key), depth_at)
    found = b.load(pointer, depth_at)
    with b.when(b.compare("eq", found, b.null(Space.MAP))):
        low.fault("map_full", "map_update_elem", typed.site.point, b.i64(-7))
        b.ret(b.i64(0))
    old = b.load(I64, found)
    depth = b.select(b.compare("ult", old, b.i64(_MAX_DEPTH)), old, b.i64(0))
    b.store(b.binary("add", depth, b.i64(1)), found)
    b.store(depth, b.offset(key, 16))
    words = b.local(8 * len(slots), "arguments")
    for index, name in enumerate(slots):
        b.store(low.argument_slot(typed.typer.used_arguments[name]), b.offset(words, 8 * index))
    low.check_update(b.map_update(f"{STASH}{len(slots)}", key, words), typed.site.point)
    b.ret(b.i64(0))
    return spec.ProgramSpec(
        low.b.function.name,
        "KPROBE",
        b.finish(),
        tuple(_entry_point(p) for p in typed.site.attach_points),
        label=f"{typed.site.label} (entry arguments)",
        span=typed.site.point.span.range,
    )


def _entry_point(point: spec.AttachPoint) -> spec.AttachPoint:
    attach = point.attach
    if isinstance(attach, spec.KprobeAttach):
        attach = spec.KprobeAttach(attach.symbol, module=attach.module)
    elif isinstance(attach, spec.KprobeMultiAttach):
        attach = spec.KprobeMultiAttach(attach.symbols, module=attach.module)
    return spec.AttachPoint(
        attach, f"{point.label} (entry arguments)", span=point.span, optional=point.optional, internal=True
    )
