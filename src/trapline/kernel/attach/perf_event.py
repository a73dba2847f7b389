"""Perf events: sampling and counting, on every CPU, on one, or on a process."""

from __future__ import annotations

import errno
import os

from trapline.abi.perf import (
    PERF_ATTR_FREQ,
    PERF_ATTR_INHERIT,
    PERF_TYPE_BREAKPOINT,
    PERF_TYPE_HARDWARE,
    PERF_TYPE_HW_CACHE,
    PerfEventAttr,
)
from trapline.errors import AttachError, FeatureMissingError, KernelError, TraplineError
from trapline.ir.spec import AttachPoint, PerfAttach
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall.fd import Fd
from trapline.syscall.perf import open_perf_event

FIRST_ONLINE_CPU = -2
_BREAKPOINT_HINTS = {
    errno.ENOSPC: "the CPU has no free breakpoint register (x86 has four); somebody else may hold them",
    errno.EINVAL: "the address must be a multiple of the length, and that of x must be 8",
    errno.EBUSY: "somebody else holds the breakpoint registers",
    errno.EOPNOTSUPP: "this machine has no hardware breakpoints",
    errno.ENOENT: "this kernel has no hardware breakpoints",
}


def attach_perf_event(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to a `PerfAttach`: an event per CPU (or per thread of its process), each with a link.

    Raises:
        FeatureMissingError: the machine has no such counter.
        AttachError: the kernel refused, or the process is gone.
    """
    spec = point.attach
    assert isinstance(spec, PerfAttach)
    if not spec.attr and bool(spec.period) == bool(spec.frequency):
        raise ValueError(f"{point.label}: give either a period or a frequency")
    attr = PerfEventAttr(
        spec.type,
        spec.config,
        sample_period=spec.frequency or spec.period,
        flags=(PERF_ATTR_FREQ if spec.frequency else 0) | (PERF_ATTR_INHERIT if spec.pid >= 0 else 0),
        bp_type=spec.access,
        config1=spec.address,
        config2=spec.length,
    )
    events: list[Fd] = []
    links: list[Fd] = []
    try:
        for pid, cpu in _places(spec, target):
            try:
                event = open_perf_event(spec.attr or attr, pid=pid, cpu=cpu, group_fd=spec.group_fd, what=point.label)
            except KernelError as error:
                if error.errno == errno.ESRCH and pid >= 0 and pid != spec.pid:
                    continue  # a thread that just ended
                raise _explain(point, spec, error.errno) from None
            events.append(event)
            link = connect_program(program, event, point.label, point.cookie, enable=True)
            if link is not None:
                links.append(link)
        if not events:
            raise AttachError(f"cannot attach to {point.label}: no CPU is online")
    except BaseException:
        for fd in (*links, *events):
            fd.close()
        raise
    return Link(point, program, perf_fds=events, link_fds=links, count=1)


def _places(spec: PerfAttach, target: LiveTarget) -> list[tuple[int, int]]:
    """Return the (pid, cpu) to open events on."""
    if spec.pid >= 0:
        try:
            threads = sorted(int(name) for name in os.listdir(f"/proc/{spec.pid}/task"))
        except OSError:
            threads = [spec.pid]
        return [(thread, -1 if spec.cpu < 0 else spec.cpu) for thread in threads]
    if spec.cpu >= 0:
        return [(-1, spec.cpu)]
    if spec.cpu == FIRST_ONLINE_CPU:
        return [(-1, target.online_cpus[0])]
    return [(-1, cpu) for cpu in target.online_cpus]


def _explain(point: AttachPoint, spec: PerfAttach, number: int) -> TraplineError:
    if number in (errno.EPERM, errno.EACCES):
        return explain_privilege(point.label, number)
    if spec.type == PERF_TYPE_BREAKPOINT and number in _BREAKPOINT_HINTS:
        text = f"cannot attach to {point.label}: {os.strerror(number)}"
        return AttachError(text, errno=number, hint=_BREAKPOINT_HINTS[number])
    if number in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        hint = None
        if spec.type in (PERF_TYPE_HARDWARE, PERF_TYPE_HW_CACHE):
            hint = "virtual machines often have no hardware counters; software:cpu-clock may do"
        return FeatureMissingError(f"{point.label}: this machine has no such counter", hint=hint)
    if number == errno.ESRCH:
        return AttachError(f"cannot attach to {point.label}: there is no process {spec.pid}", errno=number)
    return AttachError(f"cannot attach to {point.label}: {os.strerror(number)}", errno=number)
