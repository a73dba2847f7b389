"""Bind every block to the places where it runs: wildcards expanded, mechanisms chosen.

kprobe:vfs_* { … }         →   one site, KprobeMultiAttach(symbols=("vfs_read", …), cookies=(0, …))
tracepoint:sched:*, k:f {} →   a site for each tracepoint, and one for the kprobe
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline.errors import FeatureMissingError, TargetError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.config import CompileOptions, Config
from trapline.frontends.bpftrace.resolve_events import (
    resolve_counter,
    resolve_iterator,
    resolve_raw_tracepoint,
    resolve_special,
    resolve_timer,
    resolve_tracepoint,
    resolve_watchpoint,
)
from trapline.frontends.bpftrace.resolve_functions import resolve_fentry, resolve_kprobe
from trapline.frontends.bpftrace.resolve_user import resolve_uprobe, resolve_usdt
from trapline.frontends.bpftrace.resolver import Resolver, Skip
from trapline.frontends.bpftrace.sites import ProbeSite
from trapline.ir.target import Target
from trapline.source import Diagnostic, Diagnostics

_RESOLVERS: dict[str, Callable[[Resolver, ast.Probe, ast.AttachPoint], list[ProbeSite]]] = {
    "begin": resolve_special,
    "end": resolve_special,
    "self": resolve_special,
    "test": resolve_special,
    "bench": resolve_special,
    "kprobe": resolve_kprobe,
    "kretprobe": resolve_kprobe,
    "fentry": resolve_fentry,
    "fexit": resolve_fentry,
    "tracepoint": resolve_tracepoint,
    "rawtracepoint": resolve_raw_tracepoint,
    "profile": resolve_timer,
    "interval": resolve_timer,
    "software": resolve_counter,
    "hardware": resolve_counter,
    "watchpoint": resolve_watchpoint,
    "iter": resolve_iterator,
    "uprobe": resolve_uprobe,
    "uretprobe": resolve_uprobe,
    "usdt": resolve_usdt,
}


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
    resolver = Resolver(target, config, options, diagnostics)
    sites: list[ProbeSite] = []
    dropped = ""
    for probe in program.probes:
        before = len(sites)
        for point in probe.attach_points:
            if point.provider in ("test", "bench") and point.provider != options.mode:
                dropped = point.provider
                continue
            try:
                sites += _RESOLVERS[point.provider](resolver, probe, point)
            except Skip:
                continue
            except FeatureMissingError as error:
                diagnostics.error(error.message, point.span, *([error.hint] if error.hint else []))
        resolver.finish_block(sites[before:])
        _limit_programs(probe, sites[before:], len(sites), config, diagnostics)
    if dropped and not sites and not diagnostics.errors:
        words = {"test": "--test to run test probes", "bench": "--bench to run benchmark probes"}
        raise TargetError(f"No probes attached; use {words[dropped]}.")
    _limit_places(sites, target, config)
    return sites, resolver.unsupported


def _limit_programs(
    probe: ast.Probe, sites: Sequence[ProbeSite], total: int, config: Config, diagnostics: Diagnostics
) -> None:
    """Refuse the block that makes the program's BPF programs too many."""
    limit = config.integer("max_bpf_progs")
    if total > limit and total - len(sites) <= limit and sites:
        diagnostics.error(
            f"Your program is trying to generate more than {total} BPF programs, which exceeds the current limit of "
            f"{limit}",
            probe.attach_points[0].span.to(probe.attach_points[-1].span),
            "You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable.",
        )


def _limit_places(sites: Sequence[ProbeSite], target: Target, config: Config) -> None:
    """Refuse too many places; what one link attaches counts once."""
    limit = config.integer("max_probes")
    if len(sites) + sum(len(site.names) - 1 for site in sites) <= limit:
        return  # without asking the kernel
    count = len(sites) if target.has("kprobe_multi") else sum(len(site.names) for site in sites)
    if count > limit:
        raise TargetError(
            f"Can't attach to {count} probes because it exceeds the current limit of {limit} probes.",
            hint="You can increase the limit through the BPFTRACE_MAX_PROBES environment variable, but BE CAREFUL since"
            " a high number of probes attached can cause your system to crash.",
        )
