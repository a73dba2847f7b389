"""The C part of a program: structs, enums, typedefs, ``#define`` and ``#include``, parsed by libclang.

struct pair { int a, b; }   #define LIMIT (1 << 4)   →   `CDefinitions` that knows ``struct pair`` and ``LIMIT``

libclang is loaded only when there is C.  Types that the C uses and does not define come from the kernel's BTF; so do
those of kernel headers that are not on the machine, whose constants come from a table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from trapline.errors import ParseError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.config import CompileOptions
from trapline.frontends.bpftrace.kernel_types import KernelTypes
from trapline.hints import TYPE_CHECKING
from trapline.ir.target import Target
from trapline.ir.types import Space
from trapline.source import Span

if TYPE_CHECKING:
    from trapline.clang.definitions import CConstant, CMacro, Definitions
    from trapline.clang.includes import Headers

_TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
# Microsoft's extensions: since Linux 6.19 the kernel embeds named structs without naming the member.
_DIALECT = ("-fms-extensions", "-ferror-limit=0", "-w")
# What the kernel's headers mark pointers with.
_TAGS = ('-D__user=__attribute__((btf_type_tag("user")))', "-D__percpu=", "-D__rcu=", "-D__iomem=", "-D__kernel=")
_OBJECT_LIKE = re.compile(r"#define (\w+) (.+)")


class CDefinitions:
    """What the C of a program defines.

    Args:
        definitions: as clang read them.
        kernel: the kernel's types, for what they only name.
        kernel_headers: whether the program includes headers of the kernel.
        files: paths that it depends on; see `trapline.clang.includes.dependencies`.
    """

    def __init__(
        self,
        definitions: Definitions,
        kernel: KernelTypes,
        kernel_headers: bool,
        files: tuple[str, ...],
    ) -> None:
        self._definitions = definitions
        self._kernel = kernel
        self._kernel_headers = kernel_headers
        self.files = files

    def find(self, tag: str, name: str, space: Space = Space.KERNEL) -> t.Type | None:
        """Find a type that the C defines.

        Args:
            tag: ``struct``, ``union``, ``enum``; empty for a typedef.
            name: the name.
            space: the address space that pointers in it point to.
        """
        from trapline.frontends.bpftrace.c_types import from_c  # few programs have C

        found = self._definitions.type(tag, name)
        if tag == "enum" and found is not None:
            return self._enum(name, found)
        return None if found is None else from_c(found, space, self._find_any)

    def _enum(self, name: str, found: object) -> t.Type | None:
        from trapline.clang.ctype import CInt

        if not isinstance(found, CInt):
            return None
        return t.EnumT(name, found.size, found.signed, self._definitions.enumerators(name))

    def _find_any(self, tag: str, name: str, space: Space) -> t.Type | None:
        return self.find(tag, name, space) or self._kernel.find(tag, name, space)

    def enumerator(self, name: str) -> tuple[int, t.Type] | None:
        """Return value and type of an enumerator that the C defines."""
        found = self._definitions.enumerator(name)
        if found is None:
            return None
        kind = self._find_any("enum", found.type.enum, Space.KERNEL)
        if not isinstance(kind, t.EnumT):
            kind = t.EnumT("", found.type.size, found.type.signed, self._definitions.siblings(name))
        return found.value, kind

    def macro(self, name: str) -> CMacro | None:
        """Return a macro of the program or its headers; of kernel headers that are absent, a well-known constant."""
        found = self._definitions.macro(name)
        if found is not None or not self._kernel_headers:
            return found
        from trapline.clang.definitions import CMacro
        from trapline.clang.kernel_names import MACROS

        match = _OBJECT_LIKE.fullmatch(MACROS.get(name, ""))
        if match is None or self.find_enumerator(name) is not None:
            return None
        return CMacro(name, match[2], False)

    def find_enumerator(self, name: str) -> int | None:
        """Return the value of an enumerator of the C or of the kernel."""
        found = self._definitions.enumerator(name)
        if found is not None:
            return found.value
        known = self._kernel.enumerator(name)
        return None if known is None else known[1]

    def evaluate(self, name: str) -> CConstant | None:
        """Return the value of a macro as C sees it; ``None`` when it is no integer constant."""
        return self._definitions.evaluate(name)


def read_definitions(program: ast.Program, target: Target, options: CompileOptions) -> CDefinitions | None:
    """Parse the C of a program; ``None`` when it has none.

    Args:
        program: the program.
        target: the machine.
        options: where headers are, and which are always included.

    Raises:
        ParseError: clang rejects the C.
        FeatureMissingError: libclang is not installed.
    """
    pieces = [piece.span for piece in program.preamble]
    if not pieces and not options.includes:
        return None
    from trapline.btf.header import generate_header
    from trapline.clang.definitions import Definitions
    from trapline.clang.includes import dependencies, included_names, is_kernel_header
    from trapline.clang.unit import Unit

    kernel = KernelTypes(target)
    headers = _headers(pieces, target, options)

    def supply(names: frozenset[str], clashes: frozenset[str]) -> str:
        if not target.has_btf:
            return ""
        rename = {name: f"{name}___btf" for name in clashes}
        roots: list[str | int] = sorted(names - clashes)
        constants = (target.btf.enum_constant(name) for name in sorted(names - clashes))
        return generate_header(target.btf, [*roots, *(c[1] for c in constants if c is not None)], rename=rename)

    arguments = [f"--target={_TRIPLES.get(target.arch.name, _TRIPLES['x86_64'])}", *_DIALECT, *_TAGS]
    if target.has_btf:
        arguments.append("-DBPFTRACE_HAVE_BTF")
    unit = Unit(pieces, headers, arguments, supply, target.has_btf)
    errors = unit.errors()
    if errors:
        raise ParseError(errors)
    names = [name for name, _ in included_names(unit.text)]
    files = dependencies(unit.unit, unit.text, headers)
    return CDefinitions(Definitions(unit), kernel, any(map(is_kernel_header, names)), files)


def _headers(pieces: Sequence[Span], target: Target, options: CompileOptions) -> Headers:
    from trapline.clang.includes import Headers

    own = [os.path.dirname(piece.source.name) or "." for piece in pieces if piece.source.name != "stdin"]
    quoted = tuple(dict.fromkeys((*own, ".")))
    machine = _TRIPLES.get(target.arch.name, _TRIPLES["x86_64"])
    return Headers(quoted, options.include_dirs, options.includes, machine)
