"""uprobe and uretprobe on a place of an executable file, by the kernel's uprobe PMU."""

from __future__ import annotations

import errno
import os

from trapline.abi.elf import Elf, Symbol
from trapline.errors import AttachError, DecodeError, FeatureMissingError, KernelError, NoSuchProbeError, TraplineError
from trapline.ir.spec import AttachPoint, UprobeAttach
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.probes import near_names
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall.fd import Fd
from trapline.syscall.machine import pmu_bit, pmu_type
from trapline.syscall.perf import open_probe_event


def attach_uprobe(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to the symbol or offset of an `UprobeAttach`.

    Raises:
        NoSuchProbeError: the file or the symbol does not exist; similar symbols are named.
        FeatureMissingError: the kernel has no uprobes.
        AttachError: the place cannot be probed.
    """
    spec = point.attach
    assert isinstance(spec, UprobeAttach)
    pmu = require_uprobe_pmu(point.label)
    offset = resolve_uprobe_offset(spec, point.label)
    event = open_uprobe_event(spec, offset, point.label, target, pmu)
    try:
        link = connect_program(program, event, point.label, point.cookie)
    except BaseException:
        event.close()
        raise
    return Link(point, program, perf_fds=[event], link_fds=[link] if link is not None else [])


def require_uprobe_pmu(label: str) -> int:
    """Return the type of the uprobe PMU.

    Raises:
        FeatureMissingError: the kernel has no uprobes.
    """
    pmu = pmu_type("uprobe")
    if pmu is None:
        raise FeatureMissingError(
            f"cannot attach to {label}: this kernel has no uprobes", hint="needs CONFIG_UPROBE_EVENTS=y"
        )
    return pmu


def open_uprobe_event(spec: UprobeAttach, offset: int, label: str, target: LiveTarget, pmu: int) -> Fd:
    """Open the perf event of one place.

    Args:
        spec: path, process, return probe and reference counter.
        offset: the place in the file.
        label: for messages.
        target: the machine.
        pmu: what `require_uprobe_pmu` returned.

    Raises:
        TargetError, AttachError: the kernel refused; says why.
    """
    config = 0
    if spec.retprobe:
        bit = pmu_bit("uprobe", "retprobe")
        if bit is None:
            raise FeatureMissingError(f"cannot attach to {label}: this kernel has no uretprobes")
        config |= 1 << bit
    if spec.ref_ctr_offset:
        bit = pmu_bit("uprobe", "ref_ctr_offset")
        if bit is None:
            raise FeatureMissingError(
                f"cannot attach to {label}: this kernel has no uprobe reference counters", hint="needs Linux 4.20"
            )
        config |= spec.ref_ctr_offset << bit
    try:
        return open_probe_event(
            pmu,
            name=spec.path,
            offset=offset,
            config=config,
            pid=spec.pid if spec.pid > 0 else -1,
            cpu=-1 if spec.pid > 0 else target.online_cpus[0],
            what=label,
        )
    except KernelError as error:
        raise explain_uprobe(label, spec.path, spec.pid, offset, error.errno) from None


def resolve_uprobe_offset(spec: UprobeAttach, label: str) -> int:
    """Return the offset in the file of what `spec` names.

    Raises:
        NoSuchProbeError: no such file, or no such symbol in it.
        AttachError: the file is not an executable that can be read.
    """
    if not spec.symbol:
        if not os.path.exists(spec.path):
            raise NoSuchProbeError(f"cannot attach to {label}: there is no file {spec.path}")
        return spec.offset
    try:
        with open(spec.path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchProbeError(f"cannot attach to {label}: there is no file {spec.path}") from None
    except OSError as error:
        raise AttachError(
            f"cannot attach to {label}: cannot read {spec.path}: {error.strerror}", errno=error.errno or 0
        ) from None
    try:
        elf = Elf(data)
        symbol = elf.symbol(spec.symbol)
        if symbol is not None:
            return _offset_in_file(elf, symbol, spec, label)
        names = [s.name for table in elf.symbol_tables() for s in elf.symbols(table) if s.defined]
    except DecodeError as error:
        raise AttachError(f"cannot attach to {label}: {spec.path} is not an executable: {error.message}") from None
    near = near_names(spec.symbol, names)
    if not names:
        hint: str | None = "the file is stripped; give an offset instead of a name"
    else:
        hint = f"did you mean {', '.join(near)}?" if near else None
    raise NoSuchProbeError(f"cannot attach to {label}: {spec.path} has no symbol {spec.symbol}", near=near, hint=hint)


def _offset_in_file(elf: Elf, symbol: Symbol, spec: UprobeAttach, label: str) -> int:
    place = elf.file_offset(symbol.value)
    if place is None:
        raise AttachError(f"cannot attach to {label}: {spec.symbol} is not in the file's code")
    if symbol.size and spec.offset >= symbol.size:
        raise AttachError(
            f"cannot attach to {label}: {spec.symbol} has only {symbol.size} bytes",
            hint=f"the offset must be less than {symbol.size} ({symbol.size:#x})",
        )
    return place + spec.offset


def explain_uprobe(label: str, path: str, pid: int, offset: int, number: int) -> TraplineError:
    """Return the error for a place that the kernel refused with errno `number`."""
    if number in (errno.EPERM, errno.EACCES):
        return explain_privilege(label, number)
    if number == errno.ENOENT:
        return NoSuchProbeError(f"cannot attach to {label}: there is no file {path}")
    if number == errno.ESRCH:
        return AttachError(f"cannot attach to {label}: there is no process {pid}", errno=number)
    if number in (errno.EINVAL, errno.EIO, errno.ENOEXEC, errno.EOPNOTSUPP):
        return AttachError(
            f"cannot attach to {label}: offset {offset:#x} of {path} cannot be probed",
            errno=number,
            hint="it must be the start of an instruction in the file's code",
        )
    return AttachError(f"cannot attach to {label}: {os.strerror(number)}", errno=number)
