"""Resolve attach points in user space: uprobe, uretprobe."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.resolver import Resolver, make_site
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.ir import spec


def resolve_uprobe(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve uprobe and uretprobe."""
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
    return [make_site(probe, point, "KPROBE", [r.attach(point, attach, label)], label, lambda: nothing, retval=retval)]
