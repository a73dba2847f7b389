"""Resolve attach points on events: begin and end, tracepoints, timers, counters."""

from __future__ import annotations

from collections.abc import Sequence

from trapline.abi import perf
from trapline.errors import FeatureMissingError, TargetError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.arguments import raw_tracepoint_arguments, tracepoint_arguments
from trapline.frontends.bpftrace.resolver import Resolver, make_site, no_arguments
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.ir import spec

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


def resolve_special(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve what the session runs itself: begin, end, self."""
    when = "signal" if point.provider == "self" else point.provider
    label = "self:signal:SIGUSR1" if point.provider == "self" else point.provider
    attach = r.attach(point, spec.SpecialAttach(when), label)
    return [make_site(probe, point, "RAW_TRACEPOINT", [attach], label, no_arguments(f"a {point.provider} probe"))]


def resolve_tracepoint(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve tracepoints: a site for each match."""
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

        sites.append(make_site(probe, point, "TRACEPOINT", [attach], label, find))
    return sites


def resolve_raw_tracepoint(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve raw tracepoints."""
    if "*" in point.event:
        r.refuse(point, "wildcards of raw tracepoints")
    label = f"rawtracepoint:{point.target or 'vmlinux'}:{point.event}"
    attach = r.attach(point, spec.RawTracepointAttach(point.event, btf=True), label)
    target, name = r.target, point.event
    return [
        make_site(
            probe,
            point,
            "TRACING",
            [attach],
            label,
            lambda: raw_tracepoint_arguments(target, name),
            expected_attach="TRACE_RAW_TP",
        )
    ]


def resolve_timer(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve profile (every CPU) and interval (one CPU)."""
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
    return [make_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, no_arguments(what))]


def resolve_counter(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve software and hardware counters."""
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
    nothing = no_arguments(f"a {point.provider} probe")
    return [make_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, nothing)]
