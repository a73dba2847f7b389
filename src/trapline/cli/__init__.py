"""The command line: arguments, exit codes, colour, signals.  A thin client of `trapline.api`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

EXIT_OK = 0
EXIT_ERROR = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``trapline`` command.

    Args:
        argv: the arguments without the program's name; ``None`` takes those of the process.

    Returns:
        The exit code: 0, 1 for anything that went wrong, or what the program gave to ``exit()``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bcc"]:
        # The script owns the process: its exceptions end it as they would under ``python script.py``.
        from trapline.cli.bcc import main as run_script

        return run_script(arguments[1:])
    from trapline.errors import TraplineError

    if argv is None and not os.environ.get("TRAPLINE_TRACEBACK"):
        sys.excepthook = _report_bug
    # What a start makes stays: looking for garbage in it takes a twelfth of a warm start.  A run turns it on again.
    gc.disable()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except TraplineError as error:
        from trapline.cli.messages import print_error

        print_error(error)
        return EXIT_ERROR
    except BrokenPipeError:
        # The reader of our output went away: nothing is wrong, and Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 130
    finally:
        gc.enable()


def _report_bug(kind: type[BaseException], error: BaseException, trace: object) -> None:
    from trapline.cli.messages import print_bug

    print_bug(error)


def _dispatch(arguments: list[str]) -> int:
    from trapline.cli.options import UsageError, format_help, parse_arguments

    found = parse_arguments(arguments)
    if found.help:
        sys.stdout.write(format_help())
        return EXIT_OK
    if found.version:
        from trapline.cli.identity import version_line

        sys.stdout.write(version_line() + "\n")
        return EXIT_OK
    restricting = (found.without, found.traceable_functions, found.debuginfo, found.probe_filter)
    if any(option for option in restricting):
        from trapline.cli.machine import restrict_machine

        restrict_machine(found)
    if found.info:
        from trapline.cli.info import print_info

        return print_info()
    if found.list:
        from trapline.cli.listing import print_listing

        return print_listing(found)
    if found.program == "":
        raise UsageError("USAGE: filename or -e 'program' required.", hint="the program after -e is empty")
    if found.program is None and found.file is None:
        raise UsageError("USAGE: filename or -e 'program' required.", hint="trapline --help explains")
    if found.mode == "format":
        from trapline.cli.scripts import print_formatted

        return print_formatted(found)
    if "--help" in found.operands:
        from trapline.cli.scripts import print_script_help

        return print_script_help(found)
    from trapline.cli.run import run_program

    return run_program(found)
