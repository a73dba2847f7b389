"""What is done with a program without running it: format it, say which options it takes."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from trapline.cli.run import open_output, read_program
from trapline.hints import TYPE_CHECKING
from trapline.source import Source

if TYPE_CHECKING:
    from trapline.cli.options import Arguments

EXIT_HELP = 1  # as bpftrace: nothing was traced


def print_formatted(found: Arguments) -> int:
    """Print the program in the common style (``--fmt``); returns the exit code."""
    from trapline.frontends.bpftrace.format_source import format_source

    text = format_source(Source(*read_program(found)))
    with ExitStack() as stack:
        target = open_output(found, stack)
        with open(target, "wb", closefd=False) as file:
            file.write(text.encode("utf-8", "surrogateescape"))
    return 0


def print_script_help(found: Arguments) -> int:
    """Print the options that the program takes (``-- --help``); returns the exit code."""
    from trapline.frontends.bpftrace.imports import resolve_imports
    from trapline.frontends.bpftrace.parser import parse_program
    from trapline.frontends.bpftrace.script_options import format_script_help
    from trapline.source import Diagnostics

    program = parse_program(Source(*read_program(found)), ("1",) * 99)
    imported = resolve_imports(program, (), Diagnostics())
    sys.stderr.write(format_script_help(imported.program))
    return EXIT_HELP
