"""Runs an unmodified BCC script as ``python script.py`` would, with ``bcc`` imported from trapline."""

from __future__ import annotations

import io
import os
import sys
import types
from collections.abc import Sequence

from trapline.bcc.importer import install
from trapline.bcc.shell import other_interpreter, run_shell_script
from trapline.errors import InternalError, TraplineError

USAGE = "usage: trapline bcc SCRIPT.py [ARGUMENT...]"


def run_script(arguments: Sequence[str]) -> None:
    """Run a script as ``__main__``.

    ``sys.argv``, ``sys.path[0]`` and ``__main__`` are what the script would find under ``python script.py``, and so is
    what happens to its exceptions: `SystemExit` ends the process with the script's code, `KeyboardInterrupt` and errors
    propagate.  Their traceback starts in the script; errors that trapline made are shown as a message only, and an
    interrupt that came while trapline waited for output is not shown.

    A script of another interpreter (``#!/bin/bash``) replaces this process; see `trapline.bcc.shell`.

    Args:
        arguments: the script's path and its arguments.

    Raises:
        TraplineError: the script cannot be read.
    """
    path = arguments[0]
    try:
        with io.open_code(os.path.abspath(path)) as file:
            text = file.read()
        if (interpreter := other_interpreter(text)) is not None:
            run_shell_script(interpreter, arguments)
    except OSError as error:
        raise TraplineError(f"cannot run the script {path}: {error.strerror}", hint=USAGE) from None
    sys.excepthook = show_exception
    sys.argv[:] = list(arguments)
    # The directory of the script, links followed, comes first, in place of the directory of our own command.
    sys.path[0:1] = [os.path.dirname(os.path.realpath(path))]
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    install()
    exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)


def show_exception(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Show what ended the script: a message for trapline's own errors, else a traceback of the script's frames."""
    if isinstance(error, TraplineError) and not isinstance(error, InternalError):
        sys.stdout.flush()
        print(f"ERROR: {error}" if not str(error).startswith("ERROR") else error, file=sys.stderr)
        return
    if isinstance(error, KeyboardInterrupt) and _waited_in_trapline(trace):
        return  # Ctrl-C is how such scripts are ended; the process still dies of the signal, as under python
    # The hook prints the traceback that the exception carries.
    error.__traceback__ = _skip_own_frames(trace)
    sys.__excepthook__(kind, error, error.__traceback__)


def _waited_in_trapline(trace: types.TracebackType | None) -> bool:
    """Whether an exception came up inside `trapline.bcc`: while it waited for output, as a rule."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith(f"{__package__}.")


def _skip_own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback from the script's first frame on, ``None`` when the script did not begin to run."""
    script = sys.modules["__main__"].__dict__
    step = trace
    while step is not None and step.tb_frame.f_globals is not script:
        step = step.tb_next
    return step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trapline bcc`` with the arguments after the sub-command; return the exit code if the script ends normally.

    Exceptions of the script propagate, so that the interpreter ends as it does under ``python script.py``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if given else sys.stderr)
        return 0 if given else 1
    if given[0].startswith("-"):
        print(f"ERROR: {given[0]} is not an option of trapline bcc\nHINT: {USAGE}", file=sys.stderr)
        return 1
    try:
        run_script(given)
    except TraplineError as error:
        if sys.excepthook is show_exception:
            raise  # the script's: the hook shows it, and exit handlers run as they should
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0
