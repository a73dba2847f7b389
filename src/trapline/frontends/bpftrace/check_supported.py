"""Refuse constructs that the parser knows and later passes do not: imports."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.source import Diagnostic


def check_supported(program: ast.Program) -> list[Diagnostic]:
    """Return a diagnostic for each construct at the top level that is not implemented."""
    found = [Diagnostic("imports are not supported yet", node.span) for node in program.imports]
    return sorted(found, key=lambda d: d.span.start if d.span else 0)
