"""From a script's C text to a compiled object, with BCC's messages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from trapline.bcc.constants import DEBUG_LLVM_IR, DEBUG_PREPROCESSOR
from trapline.bcc.failures import BccError, CompileError
from trapline.bcc.names import Name, to_text
from trapline.errors import SourceError
from trapline.hints import TYPE_CHECKING, NamedTuple
from trapline.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from trapline.bcc.sharing import PublishedTables
    from trapline.engine.described import CompiledObject, Described
    from trapline.engine.dynamic import DynamicMap
    from trapline.engine.machine import Machine
    from trapline.frontends.bcc_c.result import ProgramInfo, TableInfo

TEXT_NAME = "<text>"
_READS = re.compile(r"#\s*include|#\s*embed|__has_include|#\s*import|\\\n[ \t]*include")


def find_source_file(name: Name) -> str:
    """Return the path of a source file: as given, or in the directory of the script.

    Raises:
        BccError: it is in neither.
    """
    path = to_text(name)
    if os.path.isfile(path):
        return path
    beside = os.path.join(os.path.abspath(os.path.dirname(sys.argv[0])), path)
    if os.path.isfile(beside):
        return beside
    raise BccError(f"Could not find file {path}", hint=f"looked in {os.getcwd()} and {os.path.dirname(beside)}")


def read_source(src_file: Name, text: Name | None, readers: str = "") -> Source:
    """Return the C text of a `BPF` constructor call.

    `readers` are functions that the text may call.  They stand behind it, so that its lines keep their numbers.

    Raises:
        BccError: neither is given, or the file cannot be read.
    """
    if text is not None:
        return Source(TEXT_NAME, _join(to_text(text), readers))
    if not src_file:
        raise BccError("no C text: give BPF(text=…) or BPF(src_file=…)")
    path = find_source_file(src_file)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return Source(path, _join(file.read(), readers))
    except OSError as error:
        raise BccError(f"cannot read {path}: {error.strerror}") from error


def _join(text: str, readers: str) -> str:
    return f"{text}\n{readers}" if readers else text


class CompiledText(NamedTuple):
    """An object, and the descriptions of its tables and functions, by name."""

    object: CompiledObject
    tables: dict[str, TableInfo]
    programs: dict[str, ProgramInfo]


def compile_text(
    source: Source,
    machine: Machine,
    cflags: Sequence[str] = (),
    published: PublishedTables | None = None,
    dump: Callable[[str, str], None] | None = None,
) -> CompiledText:
    """Compile C, or take it from the cache; print its warnings, and on failure its errors, to stderr.

    Raises:
        CompileError: the text is wrong.
    """
    from trapline.bcc.descriptions import decode_descriptions
    from trapline.engine.described import Described, compile_described

    infos = published.infos() if published else {}
    target = machine.target

    if dump is not None:
        dump("source", source.text)

    def frontend() -> Described:
        from trapline.bcc.descriptions import encode_descriptions
        from trapline.frontends.bcc_c.compile import compile_c
        from trapline.frontends.bcc_c.result import COptions

        folder = "" if source.name == TEXT_NAME else os.path.dirname(os.path.abspath(source.name))
        result = compile_c(source, target, COptions(cflags=tuple(cflags), externs=infos, folder=folder))
        for diagnostic in result.diagnostics:
            print(diagnostic.render(), file=sys.stderr)
        target.keep()  # made to look up the text's types, so that keeping it costs little more
        target.release_types()  # before LLVM needs memory
        return Described(
            result.module, encode_descriptions(result.tables, result.programs), keep=not result.diagnostics
        )

    def externs(described: Described) -> dict[str, DynamicMap]:
        tables, _ = decode_descriptions(described.description)
        extern = [name for name, info in tables.items() if info.scope == "extern"]
        return {name: published.handle(name) for name in extern} if published else {}

    kept = not infos and not depends_on_files(source.text, cflags)
    key = "\0".join((source.name, source.text, *cflags)) if kept else ""
    try:
        object_, description = compile_described(frontend, target, key=key, externs=externs, dump=dump)
    except SourceError as error:
        raise report_failure(source, error) from error
    return CompiledText(object_, *decode_descriptions(description))


def depends_on_files(text: str, cflags: Sequence[str]) -> bool:
    """Return whether compiling a text may read files: headers that are not the kernel's, which are all known."""
    mentioned = len(_READS.findall(text))
    if mentioned:
        from trapline.frontends.bcc_c.scan import virtual_includes

        mentioned -= len(virtual_includes(text))
    return mentioned > 0 or any(flag.startswith(("-I", "-i", "-F", "--", "@")) for flag in cflags)


def report_failure(source: Source, error: SourceError) -> CompileError:
    """Print a text's errors to stderr; return what is to be raised."""
    print(error, file=sys.stderr)
    return CompileError(f"Failed to compile BPF module {source.name}")


def stage_printer(debug: int) -> Callable[[str, str], None] | None:
    """Return what prints the compiler's stages that BCC's debug flags ask for, ``None`` when they ask for none."""
    wanted: set[str] = set()
    if debug & DEBUG_LLVM_IR:
        wanted.add("codegen-opt")
    if debug & DEBUG_PREPROCESSOR:  # BCC's rewriter writes C; here, what it does is done in the IR
        wanted.update(("source", "ir"))
    if not wanted:
        return None

    def show(stage: str, text: str) -> None:
        if stage in wanted:
            print(text, file=sys.stderr)

    return show
