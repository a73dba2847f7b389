"""The bpftrace language: text → syntax tree → typed program → IR.

The names below are imported when they are first used: a program that is found in the compile cache needs no compiler.
"""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.compile import CompileResult, compile_program, list_attach_points
    from trapline.frontends.bpftrace.config import CompileOptions, settings_from_environment, split_arguments
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
    "split_arguments",
]

_HOMES = {
    "CompileOptions": "config",
    "CompileResult": "compile",
    "compile_program": "compile",
    "format_program": "printer",
    "list_attach_points": "compile",
    "parse_program": "parser",
    "settings_from_environment": "config",
    "split_arguments": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
