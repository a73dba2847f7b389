"""From `ModuleSpec` to `ObjectSpec`: passes, LLVM IR, object file, links."""

from __future__ import annotations

from collections.abc import Callable

from trapline.abi.bpf import MAX_BPF_STACK
from trapline.abi.disassemble import disassemble
from trapline.codegen.emit import Frame, FunctionEmitter
from trapline.codegen.llvm import compile_bpf
from trapline.codegen.object import ObjectFile, link_program
from trapline.codegen.tables import DebugTable, Declarations, References
from trapline.errors import SemanticError
from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.ir.printer import format_module
from trapline.ir.spec import ModuleSpec, ObjectProgram, ObjectSpec, ProgramSpec
from trapline.ir.target import Target
from trapline.source import Diagnostic, Sources

Dump = Callable[[str, str], None]

# LLVM's own temporaries take frame too: when they do not fit, more of the variables move to scratch memory.
FRAME_BUDGETS = (passes.BUDGET, passes.BUDGET // 3, 0)

ATTRIBUTES = 'nounwind "no-builtins" "no-jump-tables"="true"'


def compile_module(module: ModuleSpec, target: Target, *, cpu: str = "v3", dump: Dump | None = None) -> ObjectSpec:
    """Generate the bytecode of all programs of a module.

    Args:
        module: what a front end made; it is left unchanged.
        target: the machine to compile for.
        cpu: the BPF instruction set, ``v3`` or ``v4``.
        dump: called with a stage's name and text: ``ir`` (after the passes), ``codegen`` (LLVM IR), ``codegen-opt``
            (after LLVM's optimiser), ``elf`` (the object file, a character for each byte), ``dis`` (bytecode).

    Raises:
        SemanticError: the program writes to memory that it may only read, or needs too much stack.
        InternalError: malformed IR.
    """
    deep: tuple[ProgramSpec, int] | None = None
    for budget in FRAME_BUDGETS:
        stages = _Stages()
        result, deep = _compile(passes.run(module, budget), cpu, None if dump is None else stages.add)
        if deep is None:
            break
    if deep is not None:
        raise _frame_error(module, *deep)
    if dump is not None:
        for stage, text in stages.texts:
            dump(stage, text)
    return result


class _Stages:
    """Keeps the texts of an attempt until it is known to be the last one."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, stage: str, text: str) -> None:
        self.texts.append((stage, text))


def _compile(module: ModuleSpec, cpu: str, dump: Dump | None) -> tuple[ObjectSpec, tuple[ProgramSpec, int] | None]:
    """Return the object, and a program with a frame that is too large (with its size)."""
    if dump is not None:
        dump("ir", format_module(module))
    check_module(module)
    if not module.programs:
        return _object(module, ()), None
    references, declarations, debug = References(), Declarations(), DebugTable()
    texts: list[str] = []
    tables: list[dict[str, tuple[str, int]]] = []
    for number, program in enumerate(module.programs):
        tables.append(_emit_program(program, number, references, declarations, debug, texts))
    text = "\n".join([*declarations.lines.values(), *texts, debug.render()])
    if dump is not None:
        dump("codegen", text)
    image = compile_bpf(text, cpu, dump, module.optimiser)
    if dump is not None:
        dump("elf", image.decode("latin-1"))
    file = ObjectFile(image)
    lines = file.lines()
    weak = _weak_kfuncs(module)
    programs = []
    deep = None
    for number, program in enumerate(module.programs):
        section = _section(number)
        linked = link_program(file, section, tables[number], references, debug.spans, lines.get(section, ()), weak)
        if linked.frame > MAX_BPF_STACK:
            deep = program, linked.frame
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
    return result, deep


def _section(number: int) -> str:
    return f".text.{number}"


def _emit_program(
    program: ProgramSpec,
    number: int,
    references: References,
    declarations: Declarations,
    debug: DebugTable,
    texts: list[str],
) -> dict[str, tuple[str, int]]:
    """Append the text of a program's functions; return the name and number of parameters behind each symbol."""
    symbols = {sub.name: f"s{number}_{i}" for i, sub in enumerate(program.subprograms)}
    table: dict[str, tuple[str, int]] = {}
    for function in (program.function, *program.subprograms):
        entry = function is program.function
        symbol = f"p{number}" if entry else symbols[function.name]
        linkage, attributes = ("", ATTRIBUTES) if entry else ("internal ", f"alwaysinline {ATTRIBUTES}")
        frame = Frame(symbol, _section(number), linkage, attributes, symbols)
        table[symbol] = (program.name if entry else function.name, len(function.parameters))
        texts.append(FunctionEmitter(function, frame, references, declarations, debug).emit())
    return table


def _frame_error(module: ModuleSpec, program: ProgramSpec, size: int) -> SemanticError:
    sources = Sources(module.source_name, module.source_text, module.imports)
    span = sources.span(program.span) if program.span else None
    message = f"{program.label or program.name} needs {size} bytes of stack, and the kernel allows {MAX_BPF_STACK}"
    return SemanticError([Diagnostic(message, span, hints=("split the program, or use fewer values at a time",))])


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
        files=module.files,
        license=module.license,
        imports=module.imports,
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
