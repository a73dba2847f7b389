"""From a script's C text to a compiled object, with BCC's messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trapline.bcc.constants import DEBUG_BPF, DEBUG_LLVM_IR, DEBUG_PREPROCESSOR, DEBUG_SOURCE
from trapline.bcc.failures import BccError, CompileError
from trapline.bcc.names import Name, to_text
from trapline.errors import SourceError
from trapline.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from trapline.engine.machine import Machine
    from trapline.frontends.bcc_c.result import CResult, TableInfo

TEXT_NAME = "<text>"


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


def compile_text(
    source: Source,
    machine: Machine,
    cflags: Sequence[str] = (),
    externs: Mapping[str, TableInfo] | None = None,
) -> CResult:
    """Compile C to IR; print its warnings, and on failure its errors, to stderr as a compiler does.

    Raises:
        CompileError: the text is wrong.
    """
    from trapline.frontends.bcc_c.compile import compile_c
    from trapline.frontends.bcc_c.result import COptions

    options = COptions(cflags=tuple(cflags), externs=dict(externs or {}))
    try:
        result = compile_c(source, machine.target, options)
    except SourceError as error:
        raise report_failure(source, error) from error
    machine.target.save_index()  # which the text's types have been looked up with: made, so that it costs nothing more
    for diagnostic in result.diagnostics:
        print(diagnostic.render(), file=sys.stderr)
    return result


def report_failure(source: Source, error: SourceError) -> CompileError:
    """Print a text's errors to stderr; return what is to be raised."""
    print(error, file=sys.stderr)
    return CompileError(f"Failed to compile BPF module {source.name}")


def stage_printer(debug: int) -> Callable[[str, str], None] | None:
    """Return what prints the compiler's stages that BCC's debug flags ask for, ``None`` when they ask for none."""
    wanted: set[str] = set()
    if debug & DEBUG_LLVM_IR:
        wanted.add("codegen-opt")
    if debug & (DEBUG_BPF | DEBUG_SOURCE):
        wanted.add("dis")
    if debug & DEBUG_PREPROCESSOR:
        wanted.add("ir")
    if not wanted:
        return None

    def show(stage: str, text: str) -> None:
        if stage in wanted:
            print(text, file=sys.stderr)

    return show
