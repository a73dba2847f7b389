"""The bpftrace language: text → syntax tree → typed program → IR."""

from trapline.frontends.bpftrace.parser import parse_program
from trapline.frontends.bpftrace.printer import format_program

__all__ = ["format_program", "parse_program"]
