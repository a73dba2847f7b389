"""From program text to `ModuleSpec`: the passes of the front end, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trapline.errors import SemanticError, UnsupportedError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.builtins import BUILTINS
from trapline.frontends.bpftrace.c_definitions import read_definitions
from trapline.frontends.bpftrace.config import CompileOptions, resolve_config
from trapline.frontends.bpftrace.depth import deep_recursion
from trapline.frontends.bpftrace.expand_macros import expand_macros
from trapline.frontends.bpftrace.functions import FUNCTIONS
from trapline.frontends.bpftrace.imports import resolve_imports
from trapline.frontends.bpftrace.infer import infer_types
from trapline.frontends.bpftrace.kernel_types import KernelTypes
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo
from trapline.frontends.bpftrace.lower import lower_program
from trapline.frontends.bpftrace.parser import parse_program
from trapline.frontends.bpftrace.resolve_attach_points import resolve_attach_points
from trapline.frontends.bpftrace.script_options import check_script_options
from trapline.frontends.bpftrace.sites import ProbeSite
from trapline.ir import spec
from trapline.ir.target import Target
from trapline.records import record
from trapline.source import Diagnostic, Diagnostics, Source

Dump = Callable[[str, str], None]

# Providers whose attach points may name a kernel module.
_IN_MODULES = ("kprobe", "kretprobe", "fentry", "fexit", "rawtracepoint")


@record(frozen=True)
class CompileResult:
    """A compiled program and what the user should know about it.

    Args:
        module: the program.
        warnings: what the user should know.
        files: paths of other files that it depends on, whether they exist or not.
    """

    module: spec.ModuleSpec
    warnings: list[Diagnostic]
    files: tuple[str, ...] = ()


def compile_program(
    source: Source, target: Target, options: CompileOptions | None = None, *, dump: Dump | None = None
) -> CompileResult:
    """Compile a program of the bpftrace language.

    Args:
        source: the program text.
        target: the machine to compile for.
        options: what the user asked for.
        dump: called with a stage's name and text: ``ast`` (the syntax tree), ``types`` (with the types found).

    Returns:
        The module and the warnings.

    Raises:
        ParseError: the text is not a program.
        SemanticError: it has no meaning; with every error found.
        UnsupportedError: it uses what is not implemented.
        TargetError: the machine lacks what it needs.
    """
    with deep_recursion():
        return _compile_program(source, target, options or CompileOptions(), dump)


def _compile_program(source: Source, target: Target, options: CompileOptions, dump: Dump | None) -> CompileResult:
    program = parse_program(source, options.positional)
    if dump is not None:
        from trapline.frontends.bpftrace.printer import format_program

        dump("ast", format_program(program))
    diagnostics = Diagnostics()
    imported = resolve_imports(program, options.positional, diagnostics)
    if diagnostics.errors:
        raise SemanticError([*diagnostics.errors, *diagnostics.warnings])
    program = expand_macros(imported.program, lambda name: name in BUILTINS or name in FUNCTIONS, diagnostics)
    if diagnostics.errors:
        raise SemanticError(diagnostics.errors)
    check_script_options(program, options.named, diagnostics)
    if not program.probes:
        raise SemanticError([Diagnostic("No probes to attach", None)])
    definitions = read_definitions(program, target, options)
    if definitions is not None:
        from trapline.frontends.bpftrace.c_macros import expand_c_macros

        program = expand_c_macros(program, definitions, BUILTINS, diagnostics)
        if diagnostics.errors:
            raise SemanticError(diagnostics.errors)
    config = resolve_config(program.config, options, diagnostics)
    sites, refused = resolve_attach_points(program, target, config, options, diagnostics)
    kernel = KernelTypes(target, (site.point.target for site in sites if site.provider in _IN_MODULES))
    knowledge = Knowledge(target, config, options, BUILTINS, FUNCTIONS, kernel, diagnostics, c=definitions)
    _declare_maps(program, knowledge)
    typed = infer_types(knowledge, sites)
    for info in knowledge.maps.values():
        info.can_lack |= bool(options.warnings)
    _drop_unused_maps(knowledge)
    findings = _distinct(diagnostics)
    if findings.errors:
        raise SemanticError(findings.errors)
    refused = [*imported.unsupported, *refused, *knowledge.unsupported]
    if refused:
        raise UnsupportedError(list({(d.message, d.span): d for d in refused}.values()))
    if dump is not None:
        from trapline.frontends.bpftrace.types_printer import format_types

        dump("types", format_types(program, typed, knowledge))
    builder, maps = lower_program(knowledge, typed, target.page_size)
    module = spec.ModuleSpec(
        source.name,
        source.text,
        tuple(builder.programs),
        maps,
        tuple(builder.events),
        tuple(builder.faults),
        tuple(builder.probe_names),
        config.items(),
        options.typed_events,
        config.text("license"),
        tuple(dict.fromkeys(used for site in sites for used in site.files)),
        tuple((s.name, s.text, *s.origin.range) for s in imported.sources if s.origin is not None),
        report_reads=options.warnings > 0,
        optimiser="standard" if _has_loop(builder.programs) else "light",
    )
    files = definitions.files if definitions is not None else ()
    return CompileResult(module, findings.warnings, (*imported.files, *files))


def _has_loop(programs: Iterable[spec.ProgramSpec]) -> bool:
    """Return whether a program has a loop of its own: where LLVM does not rotate it, Linux 6.1 takes it for endless."""
    return any(function.has_loop() for program in programs for function in (program.function, *program.subprograms))


def list_attach_points(source: Source, target: Target, options: CompileOptions | None = None) -> list[str]:
    """Return the names of all probes of a program, wildcards expanded, in source order.

    What the session runs itself (``begin``, ``test:x``) is left out; timers and counters are named without their rate.

    Raises:
        ParseError, SemanticError, TargetError: as `compile_program` does.
    """
    options = options or CompileOptions()
    diagnostics = Diagnostics()
    with deep_recursion():
        program = resolve_imports(parse_program(source, options.positional), options.positional, diagnostics).program
    config = resolve_config(program.config, options, diagnostics)
    sites, refused = resolve_attach_points(program, target, config, options, diagnostics)
    if diagnostics.errors:
        raise SemanticError(diagnostics.errors)
    if refused:
        raise UnsupportedError(refused)
    return [name for site in sites for name in _listed_names(site)]


def _listed_names(site: ProbeSite) -> tuple[str, ...]:
    if isinstance(site.attach_points[0].attach, spec.SpecialAttach):
        return ()
    if site.provider in ("profile", "interval"):
        return (f"{site.provider}:{site.point.target.partition(':')[0]}:",)
    if site.provider in ("software", "hardware"):
        return (f"{site.provider}:{site.point.event}:",)
    return site.names


def _declare_maps(program: ast.Program, knowledge: Knowledge) -> None:
    for declaration in program.maps:
        name = declaration.map.name
        if name in knowledge.maps:
            knowledge.diagnostics.error(f"{name} is declared twice", declaration.span)
        elif not isinstance(declaration.entries, ast.Integer) or declaration.entries.value <= 0:
            knowledge.diagnostics.error("the size of a map must be a positive literal", declaration.span)
        else:
            knowledge.maps[name] = MapInfo(name, declaration=declaration)


def _drop_unused_maps(knowledge: Knowledge) -> None:
    for name, info in list(knowledge.maps.items()):
        if info.used is None and info.declaration is not None:
            knowledge.diagnostics.warning(f"Unused map: {name}", info.declaration.span)
            del knowledge.maps[name]


def _distinct(diagnostics: Diagnostics) -> Diagnostics:
    """Drop what several sites of one block found alike; in source order."""
    seen: dict[tuple[str, tuple[tuple[int, int], ...]], Diagnostic] = {}
    for item in diagnostics.items:
        seen.setdefault((item.message, item.span.chain if item.span else ()), item)
    return Diagnostics(sorted(seen.values(), key=lambda d: d.span.chain[-1] if d.span else (-1, -1)))
