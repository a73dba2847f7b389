"""Resolve attach points on events: begin and end, tracepoints, timers, counters."""

from __future__ import annotations

from collections.abc import Sequence

from trapline.abi import perf
from trapline.btf.tracing import iterator_names
from trapline.errors import FeatureMissingError, TargetError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.arguments import (
    iterator_arguments,
    raw_tracepoint_arguments,
    tracepoint_arguments,
)
from trapline.frontends.bpftrace.parse_attach_points import is_wildcard
from trapline.frontends.bpftrace.resolver import Resolver, make_site, no_arguments
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.frontends.bpftrace.suggestions import near_hint, nearest
from trapline.ir import spec

# What fires once per event unless the program says otherwise: the rest fires every so many.
_SOFTWARE_COUNTS = {"cpu-clock": 1_000_000, "page-faults": 100, "context-switches": 1000}
_RARE_HARDWARE = ("branch-instructions", "branch-misses", "bus-cycles")
_ACCESS = {"r": perf.HW_BREAKPOINT_R, "w": perf.HW_BREAKPOINT_W, "x": perf.HW_BREAKPOINT_X}
_OF_TASKS = ("task", "task_file", "task_vma")
_MODES = {"x86_64": ("x", "w", "rw"), "aarch64": ("r", "w", "x", "rw")}


def resolve_special(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve what the session runs itself: begin, end, self."""
    when = "signal" if point.provider == "self" else point.provider
    label = {"self": "self:signal:SIGUSR1", "test": f"test:{point.event}", "bench": f"bench:{point.event}"}.get(
        point.provider, point.provider
    )
    # Only some types of programs can be run many times in one call, and timed.
    program = "XDP" if point.provider == "bench" else "RAW_TRACEPOINT"
    attach = r.attach(point, spec.SpecialAttach(when), label)
    return [make_site(probe, point, program, [attach], label, no_arguments(f"a {point.provider} probe"))]


def resolve_tracepoint(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve tracepoints: a site for each match."""
    target = r.target
    matches: Sequence[tuple[str, str]] = [(point.target, point.event)]
    if is_wildcard(point.target + point.event):
        matches = target.tracepoints(point.target, point.event)
        if not matches:
            r.no_match(point)
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
    target = r.target
    if not target.has_btf:
        r.error(point, "rawtracepoint needs the kernel's type information", "Use a tracepoint instead.")
    matches = target.raw_tracepoints(point.target, point.event)
    if not matches:
        r.no_match(point)
    sites = []
    for module, name in matches:
        label = f"rawtracepoint:{module}:{name}"
        attach = r.attach(point, spec.RawTracepointAttach(name, btf=True, module=module), label)

        def find(name: str = name, module: str = module) -> Arguments:
            return raw_tracepoint_arguments(target, name, module)

        sites.append(make_site(probe, point, "TRACING", [attach], label, find, expected_attach="TRACE_RAW_TP"))
    return sites


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
    label = f"{point.provider}:{point.target}"
    what = f"an {point.provider} probe" if point.provider == "interval" else "a profile probe"
    return [make_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, no_arguments(what))]


def resolve_counter(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve software and hardware counters."""
    software = point.provider == "software"
    events = perf.SOFTWARE_EVENTS if software else perf.HARDWARE_EVENTS
    aliases = perf.SOFTWARE_ALIASES if software else perf.HARDWARE_ALIASES
    name = aliases.get(point.event, point.event)
    if name not in events:
        known = ", ".join(sorted([*events, *aliases]))
        hints = near_hint(point.event, [*events, *aliases]) or [f"Events are: {known}."]
        r.error(point, f"{point.event} is not a {point.provider} probe", *hints)
    default = _SOFTWARE_COUNTS.get(name, 1) if software else 100_000 if name in _RARE_HARDWARE else 1_000_000
    kind = perf.PERF_TYPE_SOFTWARE if software else perf.PERF_TYPE_HARDWARE
    attach = spec.PerfAttach(kind, events[name], period=point.number or default, pid=r.options.pid or -1)
    label = f"{point.provider}:{point.event}" + (f":{point.number}" if point.number else "")
    nothing = no_arguments(f"a {point.provider} probe")
    return [make_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, nothing)]


def resolve_watchpoint(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve watchpoints: an address, a length in bytes, and what kind of access fires."""
    modes = _MODES[r.target.arch.name]
    if point.mode not in modes:
        r.error(point, f"invalid watchpoint mode: {point.mode}", f"supported modes: {','.join(modes)}")
    attach = spec.PerfAttach(
        perf.PERF_TYPE_BREAKPOINT,
        0,
        period=1,
        pid=r.options.pid or -1,
        access=sum(_ACCESS[letter] for letter in point.mode),
        address=point.address or 0,
        length=point.number,
    )
    label = f"watchpoint:{point.address}:{point.number}:{point.mode}"
    nothing = no_arguments("a watchpoint probe")
    return [make_site(probe, point, "PERF_EVENT", [r.attach(point, attach, label)], label, nothing)]


def resolve_iterator(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve iterators over the kernel's objects."""
    target, name = r.target, point.event
    context = target.btf.struct(f"bpf_iter__{name}") if target.has_btf else None
    if context is None or target.btf.func(f"bpf_iter_{name}") is None:
        names = iterator_names(target.btf) if target.has_btf else []
        near = nearest(name, names)
        hint = f"Did you mean iter:{near}?" if near else "trapline -l 'iter:*' lists what there is."
        r.missing(f"iter {name} not available for your kernel version.", point, hint)
    label = f"iter:{name}"
    pin = point.mode if point.mode.startswith("/") or not point.mode else f"/sys/fs/bpf/{point.mode}"
    attach = r.attach(point, spec.IterAttach(name, pin, r.options.pid if name in _OF_TASKS else 0), label)

    def find() -> Arguments:
        return iterator_arguments(target, name)

    return [make_site(probe, point, "TRACING", [attach], label, find, expected_attach="TRACE_ITER")]
