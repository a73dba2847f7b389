"""Which function attaches which kind of attach point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from trapline.ir.spec import (
    Attach,
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
    UprobeMultiAttach,
)
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget

AttachFunction = Callable[[Program, AttachPoint, LiveTarget], Link]

# Module and function of each mechanism, imported when it is first used.
ATTACH_FUNCTIONS: dict[type, tuple[str, str]] = {
    KprobeAttach: ("trapline.kernel.attach.kprobe", "attach_kprobe"),
    KprobeMultiAttach: ("trapline.kernel.attach.kprobe_multi", "attach_kprobe_multi"),
    TracepointAttach: ("trapline.kernel.attach.tracepoint", "attach_tracepoint"),
    RawTracepointAttach: ("trapline.kernel.attach.raw_tracepoint", "attach_raw_tracepoint"),
    TrampolineAttach: ("trapline.kernel.attach.trampoline", "attach_trampoline"),
    UprobeAttach: ("trapline.kernel.attach.uprobe", "attach_uprobe"),
    UprobeMultiAttach: ("trapline.kernel.attach.uprobe_multi", "attach_uprobe_multi"),
    PerfAttach: ("trapline.kernel.attach.perf_event", "attach_perf_event"),
    IterAttach: ("trapline.kernel.attach.iterator", "attach_iterator"),
}

# What a program is loaded for, by the kind of its trampoline.
ATTACH_TYPE_OF_KIND: dict[str, str] = {
    "fentry": "TRACE_FENTRY",
    "fexit": "TRACE_FEXIT",
    "fmod_ret": "MODIFY_RETURN",
    "lsm": "LSM_MAC",
}


def choose_attach_order(attaches: Sequence[Attach], target: LiveTarget) -> list[int]:
    """Return the indices of `attaches` in the order to attach them, so that programs on one place run as listed.

    The kernel runs some kinds last attached first. Seen on Linux 6.1, 6.12, 6.18 and 7.2: kprobes, kprobe_multi
    entries, uprobes, uretprobes and trampolines; not so tracepoints, perf events and kretprobes (whose instances are a
    stack, filled in reverse). It depends on the kernel for kprobe_multi returns: it is asked when there are several.
    """
    multi_returns = sum(isinstance(a, KprobeMultiAttach) and a.retprobe for a in attaches)
    returns_last_first = (
        multi_returns > 1 and target.has("kprobe_multi") and target.has("kprobe_multi_returns_last_first")
    )

    def runs_last_first(attach: Attach) -> bool:
        if isinstance(attach, KprobeMultiAttach):
            return returns_last_first if attach.retprobe else True
        if isinstance(attach, KprobeAttach):
            return not attach.retprobe
        return isinstance(attach, (UprobeAttach, UprobeMultiAttach, TrampolineAttach))

    last_first = [i for i, attach in enumerate(attaches) if runs_last_first(attach)]
    return [i for i in range(len(attaches)) if i not in set(last_first)] + last_first[::-1]


def attach_program(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach a loaded program to one of its attach points.

    Raises:
        TargetError: the machine cannot; says why.
        AttachError: the kernel refused; says why.
        ValueError: the point is a special one (``begin``), which the session runs itself.
    """
    if isinstance(point.attach, SpecialAttach):
        raise ValueError(f"{point.label} is run by the session, not attached")
    module, name = ATTACH_FUNCTIONS[type(point.attach)]
    function: AttachFunction = getattr(import_module(module), name)
    return function(program, point, target)
