"""Why a probe could not be attached: from an error number and the place to one clear line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from trapline.errors import (
    AttachError,
    FeatureMissingError,
    NoSuchProbeError,
    PrivilegeError,
    TraplineError,
)
from trapline.hints import TYPE_CHECKING
from trapline.ir.spec import KprobeAttach
from trapline.syscall import machine, privilege
from trapline.syscall.tracefs import MOUNT_HINT

if TYPE_CHECKING:
    from trapline.kernel.target import LiveTarget
    from trapline.syscall.kallsyms import Symbol

_VARIANTS_SHOWN = 5


def explain_kprobe(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError:
    """Return the error for a kprobe that the kernel refused.

    Args:
        spec: what was asked for.
        number: errno of the refusal; 0 when the kernel has no kprobe PMU at all.
        label: the probe as the user wrote it.
        target: the machine.
    """
    if machine.pmu_type("kprobe") is None:
        return explain_no_kprobes(label, target)
    if number in (errno.EPERM, errno.EACCES):
        return explain_privilege(label, number)
    if spec.address:
        return _explain_address(spec, number, label, target)
    checks: tuple[Callable[[KprobeAttach, int, str, LiveTarget], TraplineError | None], ...] = (
        _check_module,
        _check_exists,
        _check_unique,
        _check_offset,
        _check_blacklist,
        _check_traceable,
        _check_enabled,
    )
    for check in checks:
        found = check(spec, number, label, target)
        if found is not None:
            return found
    return AttachError(f"cannot attach to {label}: {os.strerror(number)}", errno=number)


def explain_no_kprobes(label: str, target: LiveTarget) -> FeatureMissingError:
    """Return the error for a kernel without kprobes; names the option when the configuration can be read."""
    hint = "use a tracepoint instead, or boot a kernel with CONFIG_KPROBES=y and CONFIG_KPROBE_EVENTS=y"
    for option in ("CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS", "CONFIG_PERF_EVENTS"):
        if target.kernel_config(option) == "":
            return FeatureMissingError(f"cannot attach to {label}: this kernel was built without {option}", hint=hint)
    return FeatureMissingError(
        f"cannot attach to {label}: this kernel has no kprobes (CONFIG_KPROBE_EVENTS)", hint=hint
    )


def explain_privilege(label: str, number: int) -> PrivilegeError:
    """Return the error for a probe that the process may not attach: the capability, lockdown or sysctl in the way."""
    missing = privilege.missing_capabilities("CAP_PERFMON", "CAP_BPF")
    if missing:
        return PrivilegeError(
            f"cannot attach to {label}: this process lacks {' and '.join(missing)}",
            hint="run as root, or give the program CAP_BPF and CAP_PERFMON",
        )
    mode = privilege.lockdown_mode()
    if mode == "confidentiality":
        return PrivilegeError(
            f"cannot attach to {label}: the kernel is locked down (mode confidentiality)",
            hint="boot without lockdown=confidentiality; secure boot may have turned it on",
        )
    paranoid = privilege.read_sysctl("kernel.perf_event_paranoid")
    if privilege.missing_capabilities("CAP_SYS_ADMIN") and paranoid is not None and paranoid > 1:
        return PrivilegeError(
            f"cannot attach to {label}: kernel.perf_event_paranoid is {paranoid}",
            hint="run with CAP_SYS_ADMIN, or: sysctl kernel.perf_event_paranoid=1",
        )
    if mode == "integrity":
        return PrivilegeError(
            f"cannot attach to {label}: the kernel is locked down (mode integrity) and refuses it",
            hint="boot without lockdown; secure boot may have turned it on",
        )
    return PrivilegeError(
        f"cannot attach to {label}: {os.strerror(number)}",
        hint="a security module (SELinux, AppArmor) or a container may forbid it",
    )


# ---------------------------------------------------------------- one check for each cause


def _functions(spec: KprobeAttach, target: LiveTarget) -> list[Symbol]:
    found = target.symbols.find(spec.symbol, spec.module or None)
    return [symbol for symbol in found if symbol.is_function]


def _check_module(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    if not spec.module or spec.module == "vmlinux":
        return None
    loaded = [m.name for m in machine.loaded_modules()]
    if spec.module in loaded or any(s.module == spec.module for s in target.symbols.find(spec.symbol)):
        return None
    elsewhere = sorted({s.module or "vmlinux" for s in target.symbols.find(spec.symbol)})
    hint = f"{spec.symbol} is in {', '.join(elsewhere)}" if elsewhere else f"load it: modprobe {spec.module}"
    return NoSuchProbeError(f"cannot attach to {label}: module {spec.module} is not loaded", hint=hint)


def _check_exists(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    if _functions(spec, target):
        return None
    name = spec.symbol
    elsewhere = target.symbols.find(name)
    if any(s.is_function for s in elsewhere):
        modules = sorted({s.module or "vmlinux" for s in elsewhere})
        return NoSuchProbeError(
            f"cannot attach to {label}: module {spec.module} has no function {name}",
            hint=f"{name} is in {', '.join(modules)}",
        )
    if elsewhere:
        return NoSuchProbeError(f"cannot attach to {label}: {name} is data, not a function")
    variants = target.symbols.variants(name)
    if variants:
        return _explain_variants(name, variants, label)
    if target.has_btf and target.btf.func(name) is not None:
        return NoSuchProbeError(
            f"cannot attach to {label}: the compiler inlined {name} everywhere, so there is no such function to probe",
            hint="probe a function that calls it",
        )
    near = target.near_probes("kprobe", name)
    hint = f"did you mean {', '.join(near)}?" if near else "trapline -l 'kprobe:*' lists the functions"
    return NoSuchProbeError(
        f"cannot attach to {label}: the kernel has no function {name} (or it was inlined into its callers)",
        near=near,
        hint=hint,
    )


def _explain_variants(name: str, variants: list[str], label: str) -> NoSuchProbeError:
    usable = [v for v in variants if not v.endswith(".cold") and ".cold." not in v]
    shown = ", ".join((usable or variants)[:_VARIANTS_SHOWN])
    if len(usable or variants) > _VARIANTS_SHOWN:
        shown += ", …"
    if usable:
        return NoSuchProbeError(
            f"cannot attach to {label}: the compiler changed {name}; only variants of it exist: {shown}",
            near=usable,
            hint=f"probe {usable[0]}; its arguments may differ from {name}'s",
        )
    return NoSuchProbeError(
        f"cannot attach to {label}: {name} was inlined; only its rarely run part exists ({shown})",
        hint="probe a function that calls it",
    )


def _check_unique(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    # Since Linux commit b022f0c7e404 ("tracing/kprobes: Return EADDRNOTAVAIL when func matches several
    # symbols") (v6.7, and stable kernels).
    if number != errno.EADDRNOTAVAIL:
        return None
    places = _functions(spec, target)
    where = ", ".join(f"{s.address:#x}" + (f" [{s.module}]" if s.module else "") for s in places[:_VARIANTS_SHOWN])
    if len(places) > _VARIANTS_SHOWN:
        where += ", …"
    several = len({s.module for s in places}) > 1
    return AttachError(
        f"cannot attach to {label}: {len(places)} functions are called {spec.symbol} ({where})",
        errno=number,
        hint="name the module (kprobe:module:function)" if several else "give the address of the one you mean",
    )


def _check_offset(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    if not spec.offset:
        return None
    places = _functions(spec, target)
    size = target.symbols.extent(places[0].address) if places and places[0].address else None
    if size is not None and spec.offset >= size:
        return AttachError(
            f"cannot attach to {label}: {spec.symbol} has only {size} bytes",
            errno=number,
            hint=f"the offset must be less than {size} ({size:#x})",
        )
    if spec.retprobe:
        return AttachError(
            f"cannot attach to {label}: a kretprobe takes no offset", errno=number, hint="leave out the offset"
        )
    if number == errno.EILSEQ:
        return AttachError(
            f"cannot attach to {label}: offset {spec.offset} ({spec.offset:#x}) is not at the start of an instruction",
            errno=number,
            hint=f"a disassembly of {spec.symbol} shows where its instructions start",
        )
    return None


def _check_blacklist(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    entries = target.probes.blacklist
    places = _functions(spec, target)
    for entry in entries or ():
        hidden = not entry.start or not any(s.address for s in places)
        inside = any(entry.start <= s.address + spec.offset < entry.end for s in places)
        if inside or (hidden and entry.name == spec.symbol):
            return AttachError(
                f"cannot attach to {label}: {spec.symbol} is on the kernel's kprobe blacklist"
                " (a probe there could hang the machine)",
                errno=number,
                hint="probe a function that calls it; /sys/kernel/debug/kprobes/blacklist lists them",
            )
    return None


def _check_traceable(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    if number not in (errno.EINVAL, errno.ENOENT, errno.ESRCH):
        return None
    traceable = target.probes.traceable
    if traceable is None:
        return AttachError(
            f"cannot attach to {label}: the kernel refused ({os.strerror(number)})",
            errno=number,
            hint=f"tracefs would tell whether the function may be traced; {MOUNT_HINT}",
        )
    if spec.symbol in traceable:
        return None
    return AttachError(
        f"cannot attach to {label}: the kernel's sources mark {spec.symbol} notrace",
        errno=number,
        hint="probe a function that calls it; available_filter_functions in tracefs lists the traceable ones",
    )


def _check_enabled(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError | None:
    if privilege.kprobes_enabled() is not False:
        return None
    return AttachError(
        f"cannot attach to {label}: kprobes are switched off",
        errno=number,
        hint="echo 1 > /sys/kernel/debug/kprobes/enabled",
    )


def _explain_address(spec: KprobeAttach, number: int, label: str, target: LiveTarget) -> TraplineError:
    address = spec.address + spec.offset
    found = None if target.symbols.restricted else target.symbols.symbolize(address)
    where = f"{found[0]}+{found[1]:#x}" if found else "no known function"
    if number == errno.EILSEQ:
        return AttachError(
            f"cannot attach to {label}: address {address:#x} ({where}) is not at the start of an instruction",
            errno=number,
            hint="a disassembly shows where instructions start",
        )
    if found:
        for entry in target.probes.blacklist or ():
            if entry.start <= address < entry.end:
                return AttachError(
                    f"cannot attach to {label}: {where} is on the kernel's kprobe blacklist", errno=number
                )
    return AttachError(
        f"cannot attach to {label}: the kernel allows no probe at address {address:#x} ({where})",
        errno=number,
        hint="the address must be that of an instruction of the kernel or of a loaded module",
    )
