"""Tracepoints, by perf."""

from __future__ import annotations

import errno

from trapline.abi.perf import PERF_ATTR_DISABLED, PERF_TYPE_TRACEPOINT, PerfEventAttr
from trapline.errors import AttachError, KernelError, NoSuchProbeError
from trapline.ir.spec import AttachPoint, TracepointAttach
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall.perf import open_perf_event
from trapline.syscall.tracefs import read_event_id


def attach_tracepoint(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to a `TracepointAttach`.

    Raises:
        NoSuchProbeError: there is no such tracepoint; similar ones are named.
        TargetError: tracefs is not mounted, or not readable.
        AttachError: the kernel refused.
    """
    spec = point.attach
    assert isinstance(spec, TracepointAttach)
    number = read_event_id(spec.category, spec.name)
    if number is None:
        name = f"{spec.category}:{spec.name}"
        near = target.near_probes("tracepoint", name)
        raise NoSuchProbeError(
            f"tracepoint {name} does not exist",
            near=near,
            hint=f"did you mean {', '.join(near)}?" if near else None,
        )
    attr = PerfEventAttr(PERF_TYPE_TRACEPOINT, number, sample_period=1, wakeup_events=1, flags=PERF_ATTR_DISABLED)
    try:
        event = open_perf_event(attr, cpu=target.online_cpus[0], what=point.label)
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise explain_privilege(point.label, error.errno) from None
        raise AttachError(f"cannot attach to {point.label}: {error.message}", errno=error.errno) from None
    try:
        link = connect_program(program, event, point.label, point.cookie)
    except BaseException:
        event.close()
        raise
    return Link(point, program, perf_fds=[event], link_fds=[link] if link is not None else [])
