"""Bind every block to the places where it runs: wildcards expanded, mechanisms chosen.

kprobe:vfs_* { … }         →   one site, KprobeMultiAttach(symbols=("vfs_read", …), cookies=(0, …))
tracepoint:sched:*, k:f {} →   a site for each tracepoint, and one for the kprobe
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.errors import FeatureMissingError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.config import CompileOptions, Config
from trapline.frontends.bpftrace.resolve_events import (
    resolve_counter,
    resolve_raw_tracepoint,
    resolve_special,
    resolve_timer,
    resolve_tracepoint,
)
from trapline.frontends.bpftrace.resolve_functions import resolve_fentry, resolve_kprobe
from trapline.frontends.bpftrace.resolve_user import resolve_uprobe
from trapline.frontends.bpftrace.resolver import Resolver, Skip
from trapline.frontends.bpftrace.sites import ProbeSite
from trapline.ir.target import Target
from trapline.source import Diagnostic, Diagnostics

_UNSUPPORTED = ("test", "bench", "usdt", "watchpoint", "iter")


_RESOLVERS: dict[str, Callable[[Resolver, ast.Probe, ast.AttachPoint], list[ProbeSite]]] = {
    "begin": resolve_special,
    "end": resolve_special,
    "self": resolve_special,
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
    "uprobe": resolve_uprobe,
    "uretprobe": resolve_uprobe,
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
    for probe in program.probes:
        for point in probe.attach_points:
            try:
                if point.provider in _UNSUPPORTED:
                    resolver.refuse(point, f"{point.provider} probes")
                sites += _RESOLVERS[point.provider](resolver, probe, point)
            except Skip:
                continue
            except FeatureMissingError as error:
                diagnostics.error(error.message, point.span, *([error.hint] if error.hint else []))
    return sites, resolver.unsupported
