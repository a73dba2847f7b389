"""Check that IR is well formed: our own bugs surface here, with the operation printed, and not inside LLVM."""

from __future__ import annotations


from trapline.errors import InternalError
from trapline.ir import function as f
from trapline.ir.spec import ModuleSpec, ProgramSpec


def check_module(module: ModuleSpec) -> None:
    """Check all programs."""
