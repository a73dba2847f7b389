"""Many places of a file on one program: one ``uprobe_multi`` link, or one perf uprobe each on kernels without it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from trapline.errors import AttachError, TraplineError
from trapline.ir.spec import AttachPoint, UprobeAttach, UprobeMultiAttach
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.attach.uprobe import explain_uprobe, open_uprobe_event, require_uprobe_pmu
from trapline.kernel.link import Link, SkippedProbe
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.machine import raise_file_limit

# (offset in the file, cookie, offset of the reference counter): one place.
Place = tuple[int, int, int]
_FATAL = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.E2BIG, errno.ESRCH, errno.ENOENT, errno.EBADF)


def attach_uprobe_multi(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to all places of an `UprobeMultiAttach`.

    Places that cannot be probed are left out and reported in `Link.skipped`; if none is left that is an error.

    Raises:
        NoSuchProbeError: there is no such file.
        FeatureMissingError: the kernel has no uprobes.
        AttachError: not one of the places could be attached.
    """
    spec = point.attach
    assert isinstance(spec, UprobeMultiAttach)
    count = len(spec.offsets)
    if not count:
        raise ValueError(f"{point.label} names no place")
    if len(spec.cookies) not in (0, count) or len(spec.counters) not in (0, count):
        raise ValueError(f"{point.label} has cookies or counters for another number of places")
    nothing = (0,) * count
    places = list(zip(spec.offsets, spec.cookies or nothing, spec.counters or nothing, strict=True))
    if program.spec.expected_attach.removeprefix("BPF_") == "TRACE_UPROBE_MULTI":
        return _attach_as_one(program, point, spec, places)
    return _attach_each(program, point, spec, places, target)


def _attach_as_one(program: Program, point: AttachPoint, spec: UprobeMultiAttach, places: list[Place]) -> Link:
    def attempt(part: Sequence[Place]) -> int:
        return bpf.create_uprobe_multi_link(
            program.fileno(),
            spec.path,
            [offset for offset, _, _ in part],
            cookies=[cookie for _, cookie, _ in part],
            counters=[counter for _, _, counter in part],
            retprobe=spec.retprobe,
            pid=spec.pid,
        )

    skipped: list[SkippedProbe] = []

    def search(part: list[Place]) -> list[Place]:
        result = attempt(part)
        if result >= 0:
            os.close(result)
            return part
        if len(part) == 1:
            reason = explain_uprobe(point.label, spec.path, spec.pid, part[0][0], -result).message
            skipped.append(SkippedProbe(f"{spec.path}:{part[0][0]:#x}", reason))
            return []
        middle = len(part) // 2
        return search(part[:middle]) + search(part[middle:])

    result = attempt(places)
    if result < 0 and len(places) > 1 and -result not in _FATAL:
        middle = len(places) // 2
        places = search(places[:middle]) + search(places[middle:])
        result = attempt(places) if places else result
    if result < 0:
        raise explain_uprobe(point.label, spec.path, spec.pid, spec.offsets[0], -result)
    link = Fd(result, f"link of {point.label}")
    return Link(point, program, link_fds=[link], skipped=tuple(skipped), count=1 if spec.as_one else len(places))


def _attach_each(
    program: Program, point: AttachPoint, spec: UprobeMultiAttach, places: list[Place], target: LiveTarget
) -> Link:
    pmu = require_uprobe_pmu(point.label)
    events: list[Fd] = []
    links: list[Fd] = []
    skipped: list[SkippedProbe] = []
    first: TraplineError | None = None
    raise_file_limit(2 * len(places))
    try:
        for offset, cookie, counter in places:
            # A perf event of a process fires in one of its threads only: the program itself looks at the process.
            single = UprobeAttach(spec.path, offset=offset, retprobe=spec.retprobe, ref_ctr_offset=counter)
            try:
                event = open_uprobe_event(single, offset, point.label, target, pmu)
            except AttachError as error:
                first = first or error
                skipped.append(SkippedProbe(f"{spec.path}:{offset:#x}", error.message))
                continue
            events.append(event)
            link = connect_program(program, event, point.label, cookie)
            if link is not None:
                links.append(link)
        if not events:
            assert first is not None
            raise first
    except BaseException:
        for fd in (*links, *events):
            fd.close()
        raise
    count = 1 if spec.as_one else len(events)
    return Link(point, program, perf_fds=events, link_fds=links, skipped=tuple(skipped), count=count)
