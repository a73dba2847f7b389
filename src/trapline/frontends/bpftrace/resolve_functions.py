"""Resolve attach points on kernel functions: kprobe, kretprobe, fentry, fexit."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.arguments import function_result, kprobe_arguments, trampoline_arguments
from trapline.frontends.bpftrace.resolver import Resolver, make_site
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.ir import spec


def resolve_kprobe(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve kprobe and kretprobe: one function, offset or address, or all that match a wildcard."""
    returning = point.provider == "kretprobe"
    retval = t.UINT64 if returning else None
    if point.address is not None:
        if not r.options.unsafe:
            r.error(point, f"{point.provider} on an address needs --unsafe", "Name a function, or run with --unsafe.")
        label = f"{point.provider}:{point.address:#x}"
        attach = r.attach(point, spec.KprobeAttach(address=point.address, retprobe=returning), label)
        reason = Arguments(missing="args are known at a function's entry only, not at an address")
        return [make_site(probe, point, "KPROBE", [attach], label, lambda: reason, retval=retval)]
    if "*" in point.event or "*" in point.target:
        return _resolve_wildcard(r, probe, point, retval)
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
        return [make_site(probe, point, "KPROBE", [attach], label, lambda: inside)]
    return [
        make_site(probe, point, "KPROBE", [attach], label, lambda: kprobe_arguments(target, [symbol]), retval=retval)
    ]


def _resolve_wildcard(r: Resolver, probe: ast.Probe, point: ast.AttachPoint, retval: t.Type | None) -> list[ProbeSite]:
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
        make_site(
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


def resolve_fentry(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    """Resolve fentry and fexit: a site for each function."""
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
        sites.append(make_site(probe, point, "TRACING", [attach], label, find, expected_attach=expected, retval=result))
    return sites
