"""Resolve attach points on kernel functions: kprobe, kretprobe, fentry, fexit."""

from __future__ import annotations

from trapline.btf import Func
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.arguments import function_result, kprobe_arguments, trampoline_arguments
from trapline.frontends.bpftrace.parse_attach_points import is_wildcard
from trapline.frontends.bpftrace.resolver import Resolver, make_site
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.ir import spec
from trapline.ir.target import Target

_EXPECTED = {"fentry": "TRACE_FENTRY", "fexit": "TRACE_FEXIT"}


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
    if is_wildcard(point.event + point.target):
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
        r.no_match(point)
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
    target = r.target
    if not target.has_btf:
        r.error(point, f"{point.provider} needs the kernel's type information", "Use a kprobe instead.")
    if point.target == "bpf":
        return _resolve_bpf_function(r, probe, point)
    sites = []
    for module, name in _typed_functions(r, point):
        label = f"{point.provider}:{module}:{name}"
        attach = r.attach(point, spec.TrampolineAttach(point.provider, name, module), label)
        result = function_result(target, name, module) if point.provider == "fexit" else None

        def find(name: str = name, module: str = module) -> Arguments:
            return trampoline_arguments(target, name, module)

        expected = _EXPECTED[point.provider]
        sites.append(make_site(probe, point, "TRACING", [attach], label, find, expected_attach=expected, retval=result))
    return sites


def _typed_functions(r: Resolver, point: ast.AttachPoint) -> list[tuple[str, str]]:
    """Return the (module, function) of an attach point, of functions whose types are known."""
    target, name = r.target, point.event
    if is_wildcard(name + point.target):
        found = target.function_modules(name, point.target or "*")
        matches = [row for row in found if _has_type(target, *row)]
        if not matches:
            r.no_match(point)
        return matches
    if point.target:
        matches = [(point.target, name)] if _has_type(target, point.target, name) else []
    elif _has_type(target, "vmlinux", name):
        matches = [("vmlinux", name)]
    else:
        matches = [row for row in target.function_modules(name, "*") if _has_type(target, *row)]
    if not matches:
        near = target.near_probes("kprobe", name)
        hints = [f"Did you mean {point.provider}:{near[0]}?"] if near and near[0] != name else []
        r.missing(f"No matches for {point.provider} {point.text.partition(':')[2]}.", point, *hints)
    if len(matches) > 1:
        modules = ", ".join(module for module, _ in matches)
        r.error(
            point,
            f"{name} is a function of several modules: {modules}",
            f"Name one: {point.provider}:{matches[0][0]}:{name}, or all: {point.provider}:*:{name}.",
        )
    return matches


def _has_type(target: Target, module: str, name: str) -> bool:
    btf = target.module_btf(module)
    if btf is None:
        return False
    return any(number >= btf.first_id for number in btf.find_all(name, Func))


def _resolve_bpf_function(r: Resolver, probe: ast.Probe, point: ast.AttachPoint) -> list[ProbeSite]:
    matches = r.target.bpf_functions(point.namespace, point.event)
    if not matches:
        r.no_match(point)
    reason = Arguments(missing="args of a BPF program's function are not known")
    retval = t.UINT64 if point.provider == "fexit" else None
    expected = _EXPECTED[point.provider]
    sites = []
    for program, name in matches:
        label = f"{point.provider}:bpf:{program}:{name}"
        attach = r.attach(point, spec.TrampolineAttach(point.provider, name, "bpf", program), label)
        sites.append(
            make_site(probe, point, "TRACING", [attach], label, lambda: reason, expected_attach=expected, retval=retval)
        )
    return sites
