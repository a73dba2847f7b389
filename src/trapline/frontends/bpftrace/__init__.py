"""The bpftrace language: text → syntax tree → typed program → IR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.compile import CompileResult, compile_program, list_attach_points
    from trapline.frontends.bpftrace.config import CompileOptions, settings_from_environment
    from trapline.frontends.bpftrace.parser import parse_program
    from trapline.frontends.bpftrace.printer import format_program

__all__ = [
    "CompileOptions",
    "CompileResult",
    "compile_program",
    "format_program",
    "list_attach_points",
    "parse_program",
    "settings_from_environment",
]

# Where each name lives: a program found in the compile cache needs the options only.
_HOMES = {
    "CompileOptions": "config",
    "CompileResult": "compile",
    "compile_program": "compile",
    "format_program": "printer",
    "list_attach_points": "compile",
    "parse_program": "parser",
    "settings_from_environment": "config",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
