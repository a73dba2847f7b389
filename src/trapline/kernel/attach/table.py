"""Which function attaches which kind of attach point."""

from __future__ import annotations

from collections.abc import Callable

from trapline.ir.spec import (
    AttachPoint,
    IterAttach,
    KprobeAttach,
    KprobeMultiAttach,
    PerfAttach,
    RawTracepointAttach,
    SpecialAttach,
    TracepointAttach,
    TrampolineAttach,
    UprobeAttach,
)
from trapline.kernel.attach.iterator import attach_iterator
from trapline.kernel.attach.kprobe import attach_kprobe
from trapline.kernel.attach.kprobe_multi import attach_kprobe_multi
from trapline.kernel.attach.perf_event import attach_perf_event
from trapline.kernel.attach.raw_tracepoint import attach_raw_tracepoint
from trapline.kernel.attach.tracepoint import attach_tracepoint
from trapline.kernel.attach.trampoline import attach_trampoline
from trapline.kernel.attach.uprobe import attach_uprobe
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget

AttachFunction = Callable[[Program, AttachPoint, LiveTarget], Link]

ATTACH_FUNCTIONS: dict[type, AttachFunction] = {
    KprobeAttach: attach_kprobe,
    KprobeMultiAttach: attach_kprobe_multi,
    TracepointAttach: attach_tracepoint,
    RawTracepointAttach: attach_raw_tracepoint,
    TrampolineAttach: attach_trampoline,
    UprobeAttach: attach_uprobe,
    PerfAttach: attach_perf_event,
    IterAttach: attach_iterator,
}


def attach_program(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach a loaded program to one of its attach points.

    Raises:
        TargetError: the machine cannot; says why.
        AttachError: the kernel refused; says why.
        ValueError: the point is a special one (``begin``), which the session runs itself.
    """
    if isinstance(point.attach, SpecialAttach):
        raise ValueError(f"{point.label} is run by the session, not attached")
    return ATTACH_FUNCTIONS[type(point.attach)](program, point, target)
