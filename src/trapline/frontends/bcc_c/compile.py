"""`compile_c`: from the text of a BCC script's C to IR, in the order parse → read → lower."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trapline.btf import Btf
from trapline.clang.c_api import Finding
from trapline.clang.ctype import CPointer, CRecord
from trapline.clang.includes import read_headers
from trapline.clang.libclang import drop_clang, parse_text
from trapline.clang.read_types import TypeReader
from trapline.errors import ParseError
from trapline.frontends.bcc_c.lower_programs import lower_program
from trapline.frontends.bcc_c.lowerer import Unit
from trapline.frontends.bcc_c.naming import describe_program
from trapline.frontends.bcc_c.prelude.assemble import assemble_prelude
from trapline.frontends.bcc_c.prelude.module_types import find_module_types
from trapline.frontends.bcc_c.read_declarations import Declarations, read_declarations
from trapline.frontends.bcc_c.reading import MAX_DEPTH, Reader
from trapline.frontends.bcc_c.result import COptions, CResult, TableInfo
from trapline.frontends.bcc_c.scan import is_virtual_include, scan_text
from trapline.frontends.bcc_c.statics import Statics
from trapline.frontends.bcc_c.tables import describe, map_spec
from trapline.frontends.bcc_c.tree import FunctionTree
from trapline.ir.spec import MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.target import Target, can_forbid_preemption
from trapline.source import Diagnostic, Source

# The dialect: GNU C with Microsoft's anonymous members, lenient where scripts written for older compilers need it.
_DIALECT = (
    "-std=gnu11",
    "-nostdinc",
    "-fms-extensions",
    "-ferror-limit=0",
    "-O2",
    "-w",
    "-Wno-error=int-conversion",
    "-Wno-error=incompatible-pointer-types",
    "-Wno-error=incompatible-function-pointer-types",
    "-Wno-error=implicit-int",
    "-D__KERNEL__",
    '-DKBUILD_MODNAME="bcc"',
    "-D__BPF_TRACING__",
    "-D__HAVE_BUILTIN_BSWAP16__",
    "-D__HAVE_BUILTIN_BSWAP32__",
    "-D__HAVE_BUILTIN_BSWAP64__",
)
_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


def compile_c(source: Source, target: Target, options: COptions | None = None) -> CResult:
    """Compile the C text of a BCC script.

    Args:
        source: the text, as the script gave it (USDT readers in front, if any).
        target: the machine to compile for.
        options: compiler options and tables of other texts.

    Returns:
        Programs and maps as IR, and what the Python side needs to know of them.

    Raises:
        ParseError: clang rejects the text.
        SemanticError: it declares maps that make no sense.
        UnsupportedError: it uses C that has no lowering.
        NoSuchProbeError: it uses a tracepoint that the kernel does not have.
    """
    options = options or COptions()
    defines = [f"-D{name}={text}" for name, text in options.defines.items()]
    flags = [*options.cflags, *defines]
    beside = [options.folder] if options.folder else []
    headers = read_headers(source.text, beside, _folders(flags), is_virtual_include)
    scan = scan_text("\n".join((_defines_as_text(flags), *headers, source.text)))
    quoted = [argument for folder in beside for argument in ("-iquote", folder)]
    arguments = [f"--target={_TRIPLES.get(target.arch.name, _TRIPLES['x86_64'])}", *_DIALECT, *quoted, *flags]
    includes = dict.fromkeys(scan.includes, "")
    clashes: frozenset[str] = frozenset()
    types: Btf | None = None
    while True:
        prelude = assemble_prelude(scan, target, clashes, types)
        unit = parse_text(source.text, prelude.text, includes, arguments)
        if not unit.diagnostics:
            break
        from trapline.frontends.bcc_c.messages import find_clashes, find_missing_types  # most texts need them not

        messages = [d.spelling for d in unit.diagnostics]
        if new := find_clashes(messages) - clashes:
            # The script defines (through macros, or by name only) what the kernel's types define too: the script wins.
            clashes |= new
        elif types is not None or (types := find_module_types(target, find_missing_types(messages))) is None:
            break
    reader = Reader(source, TypeReader(), _character_offsets(source.text))
    diagnostics = _diagnose(reader, unit.diagnostics, prelude.unknown_configs)
    with _deep_recursion():
        declarations = read_declarations(reader, unit.cursor, options.externs)
        del unit, reader
        drop_clang()  # LLVM is next
        return _lower(source, target, declarations, scan.license, diagnostics)


def _diagnose(reader: Reader, findings: Sequence[Finding], unknown_configs: tuple[str, ...]) -> list[Diagnostic]:
    """Return the warnings.

    Raises:
        ParseError: there are errors.
    """
    if not findings and not unknown_configs:
        return []
    from trapline.frontends.bcc_c.messages import diagnose, one_for_each_table, warn_unknown_configs

    diagnostics = one_for_each_table(diagnose(reader, finding) for finding in findings)
    errors = [found for found in diagnostics if found.severity.name == "ERROR"]
    if errors:
        raise ParseError(errors)
    return diagnostics + warn_unknown_configs(reader.source, unknown_configs)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Make room for expressions as deep as `reading.MAX_DEPTH`, a handful of Python frames each."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20 * MAX_DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _lower(
    source: Source, target: Target, declarations: Declarations, license_: str, diagnostics: list[Diagnostic]
) -> CResult:
    unit = Unit(source, target, declarations.tables, Statics(), declarations.find_function)
    programs, infos = [], {}
    for function in declarations.programs:
        info = describe_program(function.name, function.span, _context_of(function))
        infos[function.name] = info
        spec = ProgramSpec(
            name=function.name,
            type=info.type,
            function=lower_program(unit, function),
            label=function.name,
            expected_attach=info.expected_attach,
            span=function.span,
            # It may be attached to a function of a user program, too.
            preemptible=info.type == "KPROBE" and can_forbid_preemption(target, license_),
        )
        programs.append(spec)
    tables = {name: _with_event(table, unit) for name, table in declarations.tables.items()}
    module = ModuleSpec(
        source_name=source.name,
        source_text=source.text,
        programs=tuple(programs),
        maps=(*_maps(tables), *unit.statics.maps()),
        license=license_,
        optimiser="unrolling" if unit.unroll else "standard",
    )
    return CResult(module, tables, infos, (*diagnostics, *unit.diagnostics.items))


def _context_of(function: FunctionTree) -> str:
    """Return the tag of the struct that a program's first parameter points to, if any."""
    first = function.parameters[0].type if function.parameters else None
    pointee = first.pointee if isinstance(first, CPointer) else None
    return pointee.name if isinstance(pointee, CRecord) else ""


def _with_event(table: TableInfo, unit: Unit) -> TableInfo:
    event = unit.events.get(table.name)
    if event is None:
        return table
    values = {name: getattr(table, name) for name in table.__dataclass_fields__}
    return TableInfo(**{**values, "event": describe(event)})


def _maps(tables: dict[str, TableInfo]) -> list[MapSpec]:
    """Return the maps to create; those of other texts keep a spec too, so that references to them have a name."""
    result = []
    for table in tables.values():
        inner = tables.get(table.inner)
        result.append(map_spec(table, map_spec(inner) if inner is not None else None))
    return result


def _folders(flags: list[str]) -> list[str]:
    """Return the folders of ``-I`` options, in one word or two."""
    folders = [flag[2:] for flag in flags if flag.startswith("-I") and len(flag) > 2]
    return folders + [folder for flag, folder in itertools.pairwise(flags) if flag in ("-I", "-iquote", "-isystem")]


def _defines_as_text(flags: list[str]) -> str:
    lines = []
    for flag in flags:
        if flag.startswith("-D") and len(flag) > 2:
            name, _, value = flag[2:].partition("=")
            lines.append(f"#define {name} {value or 1}\n")
    return "".join(lines)


def _character_offsets(text: str) -> list[int] | None:
    """Return for each byte of the UTF-8 text the character that it belongs to; ``None`` when they are the same."""
    if text.isascii():
        return None
    offsets: list[int] = []
    for index, char in enumerate(text):
        offsets += [index] * len(char.encode("utf-8", "surrogateescape"))
    offsets.append(len(text))
    return offsets
