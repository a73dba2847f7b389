"""Bind every block to the places where it runs: wildcards expanded, mechanisms chosen.

kprobe:vfs_* { … }         →   one site, KprobeMultiAttach(symbols=("vfs_read", …), cookies=(0, …))
tracepoint:sched:*, k:f {} →   a site for each tracepoint, and one for the kprobe
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline.abi import perf
from trapline.errors import FeatureMissingError, TargetError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.arguments import (
    function_result,
    kprobe_arguments,
    raw_tracepoint_arguments,
    tracepoint_arguments,
    trampoline_arguments,
)
from trapline.frontends.bpftrace.config import CompileOptions, Config
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.ir import spec
from trapline.ir.target import Target
from trapline.source import Diagnostic, Diagnostics

_SOFTWARE = {
    "cpu-clock": (0, 1_000_000),
    "cpu": (0, 1_000_000),
    "task-clock": (1, 1),
    "page-faults": (2, 100),
    "faults": (2, 100),
    "context-switches": (3, 1000),
    "cs": (3, 1000),
    "cpu-migrations": (4, 1),
    "minor-faults": (5, 1),
    "major-faults": (6, 1),
    "alignment-faults": (7, 1),
    "emulation-faults": (8, 1),
    "dummy": (9, 1),
    "bpf-output": (10, 1),
}
_HARDWARE = {
    "cpu-cycles": (0, 1_000_000),
    "cycles": (0, 1_000_000),
    "instructions": (1, 1_000_000),
    "cache-references": (2, 1_000_000),
    "cache-misses": (3, 1_000_000),
    "branch-instructions": (4, 100_000),
    "branches": (4, 100_000),
    "branch-misses": (5, 100_000),
    "bus-cycles": (6, 100_000),
    "frontend-stalls": (7, 1_000_000),
    "backend-stalls": (8, 1_000_000),
    "ref-cycles": (9, 1_000_000),
}
_UNSUPPORTED = ("test", "bench", "usdt", "watchpoint", "iter")


class _Skip(Exception):
    """This attach point cannot be resolved; the diagnostic is recorded.  Never leaves this module."""


class _Resolver:
    def __init__(self, target: Target, config: Config, options: CompileOptions, diagnostics: Diagnostics) -> None:
        self.target = target
        self.config = config
        self.options = options
        self.diagnostics = diagnostics
        self.unsupported: list[Diagnostic] = []

    def missing(self, message: str, point: ast.AttachPoint, *hints: str) -> None:
        """Report an attach point that does not exist, as strictly as ``missing_probes`` asks."""
        hints = hints or (f"trapline -l '{point.provider}:*' lists what there is.",)
        policy = self.config.text("missing_probes")
        if policy == "error":
            self.diagnostics.error(message, point.span, *hints)
        elif policy == "warn":
            self.diagnostics.warning(message, point.span, *hints)
        raise _Skip

    def refuse(self, point: ast.AttachPoint, what: str) -> None:
        """Report a kind of probe that is not implemented."""
        self.unsupported.append(Diagnostic(f"{what} are not supported yet", point.span))
        raise _Skip

    def error(self, point: ast.AttachPoint, message: str, *hints: str) -> None:
        """Report a mistake."""
        self.diagnostics.error(message, point.span, *hints)
        raise _Skip

    def attach(self, point: ast.AttachPoint, attach: spec.Attach, label: str) -> spec.AttachPoint:
        """Make the spec of one place."""
        optional = self.config.text("missing_probes") != "error"
        return spec.AttachPoint(attach, label, span=(point.span.start, point.span.end), optional=optional)

    def resolve(self, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
        """Return the sites of one attach point."""
        if point.provider in _UNSUPPORTED:
            self.refuse(point, f"{point.provider} probes")
        return _RESOLVERS[point.provider](self, probe, point)


def resolve_attach_points(
    program: ast.Program, target: Target, config: Config, options: CompileOptions, diagnostics: Diagnostics
) -> tuple[list[ProbeSite], list[Diagnostic]]:
    """Bind all blocks of a program, in source order.

    Args:
        program: the syntax tree.
        target: knows functions and tracepoints.
        config: ``missing_probes`` decides what a missing probe means.
        options: ``unsafe`` allows absolute addresses.
        diagnostics: receives what is wrong.

    Returns:
        The sites, and what is right but not supported yet.
    """
    resolver = _Resolver(target, config, options, diagnostics)
    sites: list[ProbeSite] = []
    for probe in program.probes:
        for point in probe.attach_points:
            try:
                sites += resolver.resolve(probe, point)
            except _Skip:
                continue
            except FeatureMissingError as error:
                diagnostics.error(error.message, point.span, *([error.hint] if error.hint else []))
    return sites, resolver.unsupported


def _no_arguments(what: str) -> Callable[[], Arguments]:
    return lambda: Arguments(missing=f"{what} has no arguments")


def _site(
    probe: ast.Probe,
    point: ast.AttachPoint,
    program_type: str,
    attach_points: Sequence[spec.AttachPoint],
    label: str,
    find_arguments: Callable[[], Arguments],
    *,
    names: Sequence[str] = (),
    expected_attach: str = "",
    retval: t.Type | None = None,
) -> ProbeSite:
    return ProbeSite(
        probe,
        point,
        point.provider,
        program_type,
        tuple(attach_points),
        label,
        tuple(names) or (label,),
        find_arguments,
        expected_attach,
        retval,
    )


def _resolve_special(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    when = "signal" if point.provider == "self" else point.provider
    label = "self:signal:SIGUSR1" if point.provider == "self" else point.provider
    attach = r.attach(point, spec.SpecialAttach(when), label)
    return [_site(probe, point, "RAW_TRACEPOINT", [attach], label, _no_arguments(f"a {point.provider} probe"))]


def _resolve_kprobe(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    returning = point.provider == "kretprobe"
    retval = t.UINT64 if returning else None
    if point.address is not None:
        if not r.options.unsafe:
            r.error(point, f"{point.provider} on an address needs --unsafe", "Name a function, or run with --unsafe.")
        label = f"{point.provider}:{point.address:#x}"
        attach = r.attach(point, spec.KprobeAttach(address=point.address, retprobe=returning), label)
        reason = Arguments(missing="args are known at a function's entry only, not at an address")
        return [_site(probe, point, "KPROBE", [attach], label, lambda: reason, retval=retval)]
    if "*" in point.event or "*" in point.target:
        return _resolve_kprobe_wildcard(r, probe, point, retval)
    prefix = f"{point.provider}:{point.target}:" if point.target else f"{point.provider}:"
    label = prefix + point.event + (f"+{point.offset}" if point.offset else "")
    attach = r.attach(
        point, spec.KprobeAttach(point.event, point.offset, module=point.target, retprobe=returning), label
    )
    target, symbol = r.target, (point.event, point.target)
    if point.offset:
        inside = Arguments(
            missing="args are known at a function's entry only: inside of it their registers may hold anything else",
            hint=f'Use kprobe:{point.event}, or reg("…") with what the disassembly says.',
        )
        return [_site(probe, point, "KPROBE", [attach], label, lambda: inside)]
    return [_site(probe, point, "KPROBE", [attach], label, lambda: kprobe_arguments(target, [symbol]), retval=retval)]


def _resolve_kprobe_wildcard(
    r: _Resolver, probe: ast.Probe, point: ast.AttachPoint, retval: t.Type | None
) -> list[ProbeSite]:
    returning = point.provider == "kretprobe"
    if point.target:
        pairs = list(r.target.function_modules(point.event, point.target))
        symbols = [(name, module) for module, name in pairs]
        names = [f"{point.provider}:{module}:{name}" for module, name in pairs]
    else:
        symbols = [(name, "") for name in r.target.functions(point.event)]
        names = [f"{point.provider}:{name}" for name, _ in symbols]
    if not symbols:
        r.missing(f"No matches for {point.provider} {point.text.partition(':')[2]}.", point)
    modules = {module for _, module in symbols}
    multi = spec.KprobeMultiAttach(
        tuple(name for name, _ in symbols),
        tuple(range(len(symbols))),
        retprobe=returning,
        module=modules.pop() if len(modules) == 1 else "",
    )
    attach = r.attach(point, multi, f"{point.provider}:{point.text.partition(':')[2]}")
    target = r.target
    return [
        _site(
            probe,
            point,
            "KPROBE",
            [attach],
            attach.label,
            lambda: kprobe_arguments(target, symbols),
            names=names,
            retval=retval,
        )
    ]


def _resolve_fentry(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    if point.target == "bpf":
        r.refuse(point, f"{point.provider} probes on BPF programs")
    target = r.target
    matches = [(point.target, point.event)]
    if "*" in point.event or "*" in point.target:
        matches = list(target.function_modules(point.event, point.target or "*"))
        if not matches:
            r.missing(f"No matches for {point.provider} {point.text.partition(':')[2]}.", point)
    sites = []
    for module, name in matches:
        if not target.has_btf:
            r.error(point, f"{point.provider} needs the kernel's type information", "Use a kprobe instead.")
        label = f"{point.provider}:{module or 'vmlinux'}:{name}"
        attach = r.attach(point, spec.TrampolineAttach(point.provider, name, module), label)
        result = function_result(target, name, module) if point.provider == "fexit" else None

        def find(name: str = name, module: str = module) -> Arguments:
            return trampoline_arguments(target, name, module)

        expected = "TRACE_FENTRY" if point.provider == "fentry" else "TRACE_FEXIT"
        sites.append(_site(probe, point, "TRACING", [attach], label, find, expected_attach=expected, retval=result))
    return sites


def _resolve_tracepoint(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    target = r.target
    matches: Sequence[tuple[str, str]] = [(point.target, point.event)]
    if "*" in point.target or "*" in point.event:
        matches = target.tracepoints(point.target, point.event)
        if not matches:
            r.missing(f"No matches for tracepoint {point.target}:{point.event}.", point)
    else:
        try:
            target.tracepoint_format(point.target, point.event)
        except FeatureMissingError:
            raise
        except TargetError as error:
            near = list(getattr(error, "near", ())) or list(
                target.near_probes("tracepoint", f"{point.target}:{point.event}")
            )
            hints = [f"Did you mean tracepoint:{near[0]}?"] if near else [error.hint] if error.hint else []
            r.missing(f"No matches for tracepoint {point.target}:{point.event}.", point, *hints)
    sites = []
    for category, name in matches:
        label = f"tracepoint:{category}:{name}"
        attach = r.attach(point, spec.TracepointAttach(category, name), label)

        def find(category: str = category, name: str = name) -> Arguments:
            return tracepoint_arguments(target, category, name)

        sites.append(_site(probe, point, "TRACEPOINT", [attach], label, find))
    return sites


def _resolve_raw_tracepoint(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    if "*" in point.event:
        r.refuse(point, "wildcards of raw tracepoints")
    label = f"rawtracepoint:{point.target or 'vmlinux'}:{point.event}"
    attach = r.attach(point, spec.RawTracepointAttach(point.event, btf=True), label)
    target, name = r.target, point.event
    return [
        _site(
            probe,
            point,
            "TRACING",
            [attach],
            label,
            lambda: raw_tracepoint_arguments(target, name),
            expected_attach="TRACE_RAW_TP",
        )
    ]


def _resolve_timer(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    everywhere = point.provider == "profile"
    attach = spec.PerfAttach(
        perf.PERF_TYPE_SOFTWARE,
        perf.PERF_COUNT_SW_CPU_CLOCK,
        period=0 if point.mode == "hz" else point.number,
        frequency=point.number if point.mode == "hz" else 0,
        cpu=-1 if everywhere else -2,
        pid=(r.options.pid or -1) if everywhere else -1,
    )
    label = f"{point.provider}:{point.text.partition(':')[2]}"
    what = f"an {point.provider} probe" if point.provider == "interval" else "a profile probe"
    return [_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, _no_arguments(what))]


def _resolve_counter(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    events = _SOFTWARE if point.provider == "software" else _HARDWARE
    if point.event not in events:
        r.error(
            point,
            f"{point.event} is not a {point.provider} event",
            "Events are: " + ", ".join(sorted(events)) + ".",
        )
    config, default = events[point.event]
    kind = perf.PERF_TYPE_SOFTWARE if point.provider == "software" else perf.PERF_TYPE_HARDWARE
    count = point.number or default
    attach = spec.PerfAttach(kind, config, period=count, pid=r.options.pid or -1)
    label = f"{point.provider}:{point.event}:{count}"
    nothing = _no_arguments(f"a {point.provider} probe")
    return [_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, nothing)]


def _resolve_uprobe(r: _Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    if "*" in point.target or "*" in point.event:
        r.refuse(point, f"wildcards of {point.provider}s")
    if point.namespace or point.mode == "line":
        r.refuse(point, f"{point.provider}s by language or source line")
    if not point.target:
        r.refuse(point, f"{point.provider}s without a binary")
    returning = point.provider == "uretprobe"
    where = point.event or f"{point.address or 0:#x}"
    label = f"{point.provider}:{point.target}:{where}" + (f"+{point.offset}" if point.offset else "")
    attach = spec.UprobeAttach(
        point.target, point.event, point.offset or point.address or 0, returning, pid=r.options.pid or -1
    )
    nothing = Arguments(missing="args of user functions are not supported yet", hint="Use arg0, arg1 … instead.")
    retval = t.UINT64 if returning else None
    return [_site(probe, point, "KPROBE", [r.attach(point, attach, label)], label, lambda: nothing, retval=retval)]


_RESOLVERS: dict[str, Callable[[_Resolver, ast.Probe, ast.AttachPoint], list[ProbeSite]]] = {
    "begin": _resolve_special,
    "end": _resolve_special,
    "self": _resolve_special,
    "kprobe": _resolve_kprobe,
    "kretprobe": _resolve_kprobe,
    "fentry": _resolve_fentry,
    "fexit": _resolve_fentry,
    "tracepoint": _resolve_tracepoint,
    "rawtracepoint": _resolve_raw_tracepoint,
    "profile": _resolve_timer,
    "interval": _resolve_timer,
    "software": _resolve_counter,
    "hardware": _resolve_counter,
    "uprobe": _resolve_uprobe,
    "uretprobe": _resolve_uprobe,
}
