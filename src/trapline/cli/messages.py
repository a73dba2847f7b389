"""Messages on standard error: errors, warnings and hints, coloured on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from trapline.errors import SourceError, TraplineError
from trapline.source import Diagnostic

_COLOURS = {"ERROR": "\033[31m", "WARNING": "\033[33m", "HINT": "\033[36m"}
_LINE = re.compile(r"^(?:\S[^\n]*?: )?(ERROR|WARNING|HINT): [^\n]*", re.MULTILINE)
_SETTINGS = ("auto", "always", "never")


def _coloured() -> bool:
    setting = os.environ.get("BPFTRACE_COLOR", "auto")
    if setting in ("always", "never"):
        return setting == "always"
    return sys.stderr.isatty() and sys.stdout.isatty() and "NO_COLOR" not in os.environ


def print_message(text: str) -> None:
    """Print text to standard error, its ERROR, WARNING and HINT lines coloured on a terminal."""
    if _coloured():
        text = _LINE.sub(lambda m: f"{_COLOURS[m[1]]}{m[0]}\033[0m", text)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def check_colour_setting() -> None:
    """Warn of a value of ``BPFTRACE_COLOR`` that means nothing."""
    setting = os.environ.get("BPFTRACE_COLOR", "auto")
    if setting not in _SETTINGS:
        print_message(
            "WARNING: Invalid env value! The valid values of `BPFTRACE_COLOR` are "
            f"[{'|'.join(_SETTINGS)}]. The current value is {setting}!"
        )


def print_warnings(warnings: Iterable[Diagnostic]) -> None:
    """Print the warnings of a compilation."""
    for warning in warnings:
        print_message(warning.render())


def print_error(error: TraplineError) -> None:
    """Print what went wrong: the diagnostics of a wrong program as they are, anything else behind ``ERROR:``."""
    print_message(str(error) if isinstance(error, SourceError) else f"ERROR: {error}")
    if getattr(error, "usage", False):
        from trapline.cli.options import USAGE

        sys.stderr.write("\n" + "\n".join(USAGE) + "\n")


def print_bug(error: BaseException) -> None:
    """Print that trapline itself went wrong."""
    words = f"{type(error).__name__}: {error}".rstrip(": ").partition("\n")[0]
    print_message(
        f"ERROR: this is a bug in trapline, not in your program: {words}\n"
        "HINT: please report it; with TRAPLINE_TRACEBACK=1 in the environment trapline shows where it happened"
    )
