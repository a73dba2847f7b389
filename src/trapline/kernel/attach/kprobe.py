"""kprobe and kretprobe on one place, by the kernel's kprobe PMU.

Never by tracefs' ``kprobe_events``: such a probe would survive a killed tracer.
"""

from __future__ import annotations

from trapline.errors import FeatureMissingError, KernelError
from trapline.ir.spec import AttachPoint, KprobeAttach
from trapline.kernel.attach.perf_link import connect_program
from trapline.kernel.diagnose import explain_kprobe
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall.fd import Fd
from trapline.syscall.machine import pmu_bit, pmu_type
from trapline.syscall.perf import open_probe_event


def attach_kprobe(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to the function, offset or address of a `KprobeAttach`.

    Raises:
        NoSuchProbeError: there is no such function; similar names and the compiler's variants are named.
        FeatureMissingError: the kernel has no kprobes.
        PrivilegeError: the process may not.
        AttachError: the place cannot be probed; the message says why.
    """
    spec = point.attach
    assert isinstance(spec, KprobeAttach)
    event = open_kprobe_event(spec, point.label, target)
    try:
        link = connect_program(program, event, point.label, point.cookie)
    except BaseException:
        event.close()
        raise
    return Link(point, program, perf_fds=[event], link_fds=[link] if link is not None else [])


def open_kprobe_event(spec: KprobeAttach, label: str, target: LiveTarget) -> Fd:
    """Open (disarmed) the perf event for a kprobe; see `attach_kprobe` for what it raises."""
    pmu = pmu_type("kprobe")
    if pmu is None:
        raise explain_kprobe(spec, 0, label, target)
    if spec.maxactive:
        raise FeatureMissingError(
            f"{label}: maxactive cannot be set",
            hint="the kernel offers it only for probes in tracefs, which outlive a killed tracer; leave it out",
        )
    bit = pmu_bit("kprobe", "retprobe") if spec.retprobe else None
    if spec.retprobe and bit is None:
        raise FeatureMissingError(f"{label}: this kernel has no kretprobes", hint="needs CONFIG_KRETPROBES")
    name, offset = resolve_place(spec, target)
    try:
        return open_probe_event(
            pmu, name=name, offset=offset, config=0 if bit is None else 1 << bit, what=f"probe {label}"
        )
    except KernelError as error:
        raise explain_kprobe(spec, error.errno, label, target) from None


def resolve_place(spec: KprobeAttach, target: LiveTarget) -> tuple[str, int]:
    """Return what the PMU takes: (function, offset), or an empty name and an address.

    A function of a module goes by its address: kernels disagree on whether the PMU takes ``module:function``.
    """
    if spec.address:
        return "", spec.address + spec.offset
    if spec.module and spec.module != "vmlinux":
        address = target.symbols.function_address(spec.symbol, spec.module)
        if address is not None:
            return "", address + spec.offset
        return f"{spec.module}:{spec.symbol}", spec.offset
    return spec.symbol, spec.offset
