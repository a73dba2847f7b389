"""Bring in what a program imports: other programs, folders of them, C headers.

import "lib.bt"; begin { … }   →   the blocks, macros and maps of lib.bt, then those of the program
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.parser import parse_program
from trapline.records import record, replace
from trapline.source import Diagnostic, Diagnostics, Source

_MOST_FILES = 256
_LINKED = (".bpf.c", ".c", ".o")
_KINDS = (".bt", ".h", *_LINKED)
# Names that stand for the standard library, all of which is always there.
_BUILT_IN = ("stdlib",)
# What blocks may import for functions of the standard library; ours need nothing.
_BLOCK_PARTS = """
base.bpf.c map/map.bpf.c process/process.bpf.c stack/dwunwind.bpf.c stack/dwunwind_defs.h strings/errors.h
strings/signal.h strings/strings.bpf.c strings/strings.h strings/syscall.h system/system.bpf.c task/task.bpf.c
task/vma.bpf.c test/test.bpf.c usdt/usdt.bpf.c
"""
BLOCK_IMPORTS = frozenset(f"stdlib/{name}" for name in _BLOCK_PARTS.split())


@record(frozen=True)
class Imported:
    """A program with what it imports.

    Args:
        program: all of it.
        sources: the imported files, in the order of `Source.base`.
        files: paths that the result depends on.
        unsupported: imports of what cannot be linked.
    """

    program: ast.Program
    sources: tuple[Source, ...] = ()
    files: tuple[str, ...] = ()
    unsupported: tuple[Diagnostic, ...] = ()


def resolve_imports(program: ast.Program, positional: Sequence[str], diagnostics: Diagnostics) -> Imported:
    """Read all files that a program imports, each once.

    Args:
        program: the program; paths in it are relative to its own folder, or to the current one if it is no file.
        positional: the script's arguments, which attach points may name.
        diagnostics: receives what cannot be imported.

    Raises:
        ParseError: a file is not a program.
    """
    if not program.imports:
        return Imported(program)
    reader = _Reader(program.source, positional, diagnostics)
    folder = os.path.dirname(program.source.name) if program.source.name != "stdin" else ""
    reader.seen.add(os.path.realpath(program.source.name))
    parts = reader.read_all(program, folder)
    merged = replace(
        program,
        preamble=tuple(piece for part in parts for piece in part.preamble),
        maps=_maps(parts),
        macros=tuple(macro for part in reversed(parts) for macro in part.macros),
        functions=tuple(function for part in parts for function in part.functions),
        probes=tuple(probe for part in parts for probe in part.probes),
    )
    return Imported(merged, tuple(reader.sources), tuple(reader.files), tuple(reader.unsupported))


def _maps(parts: Sequence[ast.Program]) -> tuple[ast.MapDeclaration, ...]:
    """Return the declarations of all parts; the last file's own decides about a map, which is the program itself."""
    found: dict[str, list[ast.MapDeclaration]] = {}
    for part in parts:
        for name in {declaration.map.name for declaration in part.maps}:
            found[name] = [declaration for declaration in part.maps if declaration.map.name == name]
    return tuple(declaration for declarations in found.values() for declaration in declarations)


class _Reader:
    def __init__(self, root: Source, positional: Sequence[str], diagnostics: Diagnostics) -> None:
        self.sources: list[Source] = []
        self.files: list[str] = []
        self.unsupported: list[Diagnostic] = []
        self.seen: set[str] = set()
        self._positional = positional
        self._diagnostics = diagnostics
        self._end = len(root.text) + 1

    def read_all(self, program: ast.Program, folder: str) -> list[ast.Program]:
        """Return the programs that `program` imports, and it itself at the end."""
        parts: list[ast.Program] = []
        for node in program.imports:
            parts += self._read(node, os.path.join(folder, node.path))
        parts.append(program)
        return parts

    def _read(self, node: ast.Import, path: str) -> list[ast.Program]:
        if node.path in _BUILT_IN and not os.path.exists(path):
            return []
        self.files.append(path)
        if not os.path.exists(path) or not self._safe(node, path):
            hint = f"checked: {path}"
            self._diagnostics.error("Unable to find suitable path for import", node.span, hint)
            return []
        if os.path.isdir(path):
            return self._read_folder(node, path)
        return self._read_file(node, path, node.path)

    def _safe(self, node: ast.Import, path: str) -> bool:
        """Refuse what anybody could have put there."""
        whole = os.path.abspath(path)
        for place in (whole, os.path.dirname(whole)):
            if os.stat(place).st_mode & stat.S_IWOTH:
                self._diagnostics.warning(f'skipping due to global write permissions: "{path}"', node.span)
                return False
        return True

    def _read_folder(self, node: ast.Import, path: str) -> list[ast.Program]:
        parts: list[ast.Program] = []
        for name in sorted(os.listdir(path)):
            inner = os.path.join(path, name)
            if name.endswith(_KINDS) and os.path.isfile(inner) and self._safe(node, inner):
                self.files.append(inner)
                parts += self._read_file(node, inner, os.path.join(node.path, name))
        return parts

    def _read_file(self, node: ast.Import, path: str, name: str) -> list[ast.Program]:
        real = os.path.realpath(path)
        if real in self.seen:
            return []
        self.seen.add(real)
        if path.endswith(_LINKED):
            self.unsupported.append(Diagnostic(f'import "{name}": linking C code is not supported yet', node.span))
            return []
        if not path.endswith(_KINDS):
            self._diagnostics.error(f'unknown import type: "{name}"', node.span)
            return []
        if len(self.sources) >= _MOST_FILES:
            self._diagnostics.error(f"more than {_MOST_FILES} files are imported", node.span)
            return []
        try:
            with open(path, "rb") as file:
                text = file.read().decode("utf-8", "surrogateescape")
        except OSError as error:
            self._diagnostics.error(f'cannot read "{name}": {error.strerror}', node.span)
            return []
        header = path.endswith(".h")
        source = Source(path if header else name, text, self._end, node.span)
        self._end += len(text) + 1
        self.sources.append(source)
        if header:
            return [_header(source)]
        return self._read_program(source, os.path.dirname(path))

    def _read_program(self, source: Source, folder: str) -> list[ast.Program]:
        program = parse_program(source, self._positional, imported=True)
        for entry in program.config[:1]:
            self._diagnostics.error("invalid `config` within import", entry.span)
        return self.read_all(program, folder)


def _header(source: Source) -> ast.Program:
    """Return a program of nothing but a header's text."""
    span = source.span(0, len(source.text))
    return ast.Program(span, source, (ast.CText(span, source.text),), (), (), (), (), (), ())
