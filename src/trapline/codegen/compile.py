"""From `ModuleSpec` to `ObjectSpec`: passes, LLVM IR, object file, links."""

from __future__ import annotations

from collections.abc import Callable

from trapline.abi.disassemble import disassemble
from trapline.codegen.emit import DebugTable, Declarations, Frame, FunctionEmitter, References
from trapline.codegen.llvm import compile_bpf
from trapline.codegen.object import ObjectFile, link_program
from trapline.errors import InternalError
from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.ir.printer import format_module
from trapline.ir.spec import ModuleSpec, ObjectProgram, ObjectSpec
from trapline.ir.target import Target

Dump = Callable[[str, str], None]

ATTRIBUTES = 'nounwind "no-builtins" "no-jump-tables"="true"'


def compile_module(module: ModuleSpec, target: Target, *, cpu: str = "v3", dump: Dump | None = None) -> ObjectSpec:
    """Generate the bytecode of all programs of a module.

    Args:
        module: what a front end made; it is left unchanged.
        target: the machine to compile for.
        cpu: the BPF instruction set, ``v3`` or ``v4``.
        dump: called with a stage's name and text: ``ir`` (after the passes), ``codegen`` (LLVM IR), ``codegen-opt``
            (after LLVM's optimiser), ``dis`` (bytecode).

    Raises:
        SemanticError: the program writes to memory that it may only read.
        InternalError: malformed IR.
    """
    module = passes.run(module)
    if dump is not None:
        dump("ir", format_module(module))
    check_module(module)
    if not module.programs:
        return _object(module, ())
    references, declarations, debug = References(), Declarations(), DebugTable()
    texts: list[str] = []
    tables: list[dict[str, tuple[str, int]]] = []
    for number, program in enumerate(module.programs):
        section = f".text.{number}"
        symbols = {sub.name: f"s{number}_{i}" for i, sub in enumerate(program.subprograms)}
        table: dict[str, tuple[str, int]] = {}
        for function in (program.function, *program.subprograms):
            entry = function is program.function
            symbol = f"p{number}" if entry else symbols[function.name]
            frame = Frame(
                symbol,
                section,
                "" if entry else "internal ",
                ATTRIBUTES if entry else f"alwaysinline {ATTRIBUTES}",
                symbols,
            )
            table[symbol] = (program.name if entry else function.name, len(function.parameters))
            texts.append(FunctionEmitter(function, frame, references, declarations, debug).emit())
        tables.append(table)
    text = "\n".join([*declarations.lines.values(), *texts, debug.render()])
    if dump is not None:
        dump("codegen", text)
    file = ObjectFile(compile_bpf(text, cpu, dump))
    lines = file.lines()
    weak = _weak_kfuncs(module)
    known = {m.name for m in module.maps}
    programs = []
    for number, program in enumerate(module.programs):
        section = f".text.{number}"
        linked = link_program(file, section, tables[number], references, debug.spans, lines.get(section, ()), weak)
        for ref in linked.map_refs:
            if ref.map not in known:
                raise InternalError(f"{program.name} refers to {ref.map}, which is no map of its module")
        programs.append(
            ObjectProgram(
                name=program.name,
                type=program.type,
                instructions=linked.instructions,
                map_refs=linked.map_refs,
                kfunc_refs=linked.kfunc_refs,
                subprograms=linked.subprograms,
                spans=linked.spans,
                attach_points=program.attach_points,
                label=program.label,
                expected_attach=program.expected_attach,
                span=program.span,
            )
        )
    result = _object(module, tuple(programs))
    if dump is not None:
        dump("dis", format_object(result))
    return result


def _object(module: ModuleSpec, programs: tuple[ObjectProgram, ...]) -> ObjectSpec:
    return ObjectSpec(
        source_name=module.source_name,
        source_text=module.source_text,
        programs=programs,
        maps=module.maps,
        events=module.events,
        faults=module.faults,
        probe_names=module.probe_names,
        config=module.config,
        typed_events=module.typed_events,
        license=module.license,
    )


def _weak_kfuncs(module: ModuleSpec) -> frozenset[str]:
    return frozenset(
        op.name
        for program in module.programs
        for function in (program.function, *program.subprograms)
        for op in function.ops()
        if isinstance(op, f.Kfunc) and op.weak
    )


def format_object(spec: ObjectSpec) -> str:
    """Return the disassembly of all programs."""
    parts = []
    for program in spec.programs:
        maps = {ref.index: ref.map for ref in program.map_refs}
        lines = "\n".join(disassemble(program.instructions, maps))
        parts.append(f"{program.name}:\n{lines}\n")
    return "\n".join(parts)
