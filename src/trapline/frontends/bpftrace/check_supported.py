"""Refuse constructs that the parser knows and later passes do not: macros, imports, functions, C definitions."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.source import Diagnostic


def check_supported(program: ast.Program) -> list[Diagnostic]:
    """Return a diagnostic for each construct at the top level that is not implemented."""
    found = [Diagnostic("macros are not supported yet", macro.span) for macro in program.macros]
    found += [Diagnostic("imports are not supported yet", node.span) for node in program.imports]
    found += [Diagnostic("user functions are not supported yet", node.span) for node in program.functions]
    for text in program.preamble:
        if text.text.startswith("#include"):
            continue  # the kernel's types come from BTF: there is nothing to include
        if text.text.startswith("#"):
            found.append(Diagnostic("the C preprocessor is not supported yet", text.span))
        else:
            found.append(Diagnostic("C definitions in a program are not supported yet", text.span))
    return sorted(found, key=lambda d: d.span.start if d.span else 0)
