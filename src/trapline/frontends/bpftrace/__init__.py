"""The bpftrace language: text → syntax tree → typed program → IR."""

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
