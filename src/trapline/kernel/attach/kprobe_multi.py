"""Many kernel functions on one program: one ``kprobe_multi`` link, or one perf kprobe each on kernels without it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from trapline.errors import AttachError, FeatureMissingError, PrivilegeError, TraplineError
from trapline.ir.spec import AttachPoint, KprobeAttach, KprobeMultiAttach
from trapline.kernel.attach.kprobe import open_kprobe_event
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.diagnose import explain_kprobe
from trapline.kernel.link import Link, SkippedProbe
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

# (symbol, cookie): what is attached.
Entry = tuple[str, int]
_LARGEST = 1 << 20  # MAX_KPROBE_MULTI_CNT


def attach_kprobe_multi(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to all functions of a `KprobeMultiAttach`.

    Functions that cannot be attached are left out and reported in `Link.skipped`; if none is left that is an error.

    Raises:
        AttachError: not one of the functions could be attached.
        FeatureMissingError: sessions are asked for and the kernel has none, or it has no kprobes at all.
    """
    spec = point.attach
    assert isinstance(spec, KprobeMultiAttach)
    if not spec.symbols:
        raise ValueError(f"{point.label} names no function")
    if len(spec.cookies) not in (0, len(spec.symbols)):
        raise ValueError(f"{point.label} has {len(spec.cookies)} cookies for {len(spec.symbols)} functions")
    entries = list(dict(zip(spec.symbols, spec.cookies or (0,) * len(spec.symbols), strict=True)).items())
    expected = program.spec.expected_attach.removeprefix("BPF_")
    if spec.session or expected == "TRACE_KPROBE_SESSION":
        if not target.has("kprobe_session"):
            raise FeatureMissingError(
                f"{point.label}: this kernel has no kprobe sessions", hint="use a kprobe and a kretprobe"
            )
        return _attach_as_one(program, point, spec, entries, target)
    if target.has("kprobe_multi"):
        return _attach_as_one(program, point, spec, entries, target)
    return _attach_each(program, point, spec, entries, target)


def _attach_as_one(
    program: Program, point: AttachPoint, spec: KprobeMultiAttach, entries: list[Entry], target: LiveTarget
) -> Link:
    if len(entries) > _LARGEST:
        raise AttachError(f"{point.label} matches {len(entries)} functions; the kernel takes {_LARGEST}")

    def attempt(part: Sequence[Entry]) -> int:
        names = [name for name, _ in part]
        addresses = _addresses(names, spec.module, target) if spec.module else None
        return bpf.create_kprobe_multi_link(
            program.fileno(),
            symbols=None if addresses else names,
            addresses=addresses,
            cookies=[cookie for _, cookie in part] if spec.cookies else None,
            retprobe=spec.retprobe,
            session=spec.session,
        )

    result = attempt(entries)
    skipped: list[SkippedProbe] = []
    if result < 0 and len(entries) > 1 and -result not in (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.E2BIG):
        entries, skipped = _leave_out_bad(entries, attempt, spec, target)
        result = attempt(entries) if entries else result
    if result < 0:
        raise _explain(point, spec, entries, -result, target)
    link = Fd(result, f"link of {point.label}")
    return Link(point, program, link_fds=[link], skipped=tuple(skipped), count=len(entries))


def _addresses(names: list[str], module: str, target: LiveTarget) -> list[int] | None:
    known = target.symbols.function_addresses(module)
    found = [known.get(name, 0) for name in names]
    return found if all(found) else None


def _leave_out_bad(
    entries: list[Entry], attempt: object, spec: KprobeMultiAttach, target: LiveTarget
) -> tuple[list[Entry], list[SkippedProbe]]:
    """Split `entries` into those that attach and those that do not, by halving."""
    assert callable(attempt)
    skipped: list[SkippedProbe] = []

    def search(part: list[Entry]) -> list[Entry]:
        result = attempt(part)
        if result >= 0:
            os.close(result)
            return part
        if len(part) == 1:
            name = part[0][0]
            single = KprobeAttach(symbol=name, module=spec.module, retprobe=spec.retprobe)
            skipped.append(SkippedProbe(name, explain_kprobe(single, -result, name, target).message))
            return []
        middle = len(part) // 2
        return search(part[:middle]) + search(part[middle:])

    middle = len(entries) // 2
    return search(entries[:middle]) + search(entries[middle:]), skipped


def _explain(
    point: AttachPoint, spec: KprobeMultiAttach, entries: list[Entry], number: int, target: LiveTarget
) -> TraplineError:
    if len(spec.symbols) == 1:
        single = KprobeAttach(symbol=spec.symbols[0], module=spec.module, retprobe=spec.retprobe)
        return explain_kprobe(single, number, point.label, target)
    if number in (errno.EPERM, errno.EACCES):
        return explain_kprobe(KprobeAttach(symbol=spec.symbols[0], module=spec.module), number, point.label, target)
    return AttachError(
        f"cannot attach to any of the {len(spec.symbols)} functions of {point.label}: {os.strerror(number)}",
        errno=number,
    )


def _attach_each(
    program: Program, point: AttachPoint, spec: KprobeMultiAttach, entries: list[Entry], target: LiveTarget
) -> Link:
    events: list[Fd] = []
    links: list[Fd] = []
    skipped: list[SkippedProbe] = []
    first: TraplineError | None = None
    if spec.module and len(entries) > 1:
        target.symbols.function_addresses(spec.module)  # one look at the symbols instead of one for each function
    try:
        for name, cookie in entries:
            single = KprobeAttach(symbol=name, module=spec.module, retprobe=spec.retprobe)
            label = point.label if len(entries) == 1 else name
            try:
                event = open_kprobe_event(single, label, target)
            except PrivilegeError:
                raise explain_kprobe(single, errno.EPERM, point.label, target) from None
            except FeatureMissingError:
                raise
            except TraplineError as error:
                first = first or error
                skipped.append(SkippedProbe(name, error.message))
                continue
            events.append(event)
            link = connect_program(program, event, label, cookie)
            if link is not None:
                links.append(link)
        if not events:
            assert first is not None
            if len(entries) == 1:
                raise first
            raise AttachError(f"cannot attach to any of the {len(entries)} functions of {point.label}: {first.message}")
    except BaseException:
        for fd in (*links, *events):
            fd.close()
        raise
    return Link(point, program, perf_fds=events, link_fds=links, skipped=tuple(skipped), count=len(events))
