"""Messages on standard error: errors, warnings and hints, coloured on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

from trapline.errors import SourceError, TraplineError
from trapline.source import Diagnostic

_COLOURS = {"ERROR": "\033[31m", "WARNING": "\033[33m", "HINT": "\033[36m"}
_WORD = re.compile(r"^((?:\S[^\n]*?: )?)(ERROR|WARNING|HINT):", re.MULTILINE)


def _coloured() -> bool:
    setting = os.environ.get("BPFTRACE_COLOR", "auto")
    if setting in ("always", "never"):
        return setting == "always"
    return sys.stderr.isatty() and sys.stdout.isatty() and "NO_COLOR" not in os.environ


def print_message(text: str) -> None:
    """Print text to standard error, its ERROR, WARNING and HINT words coloured on a terminal."""
    if _coloured():
        text = _WORD.sub(lambda m: f"{m[1]}{_COLOURS[m[2]]}{m[2]}\033[0m:", text)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_warnings(warnings: Iterable[Diagnostic]) -> None:
    """Print the warnings of a compilation."""
    for warning in warnings:
        print_message(warning.render())


def print_error(error: TraplineError) -> None:
    """Print what went wrong: the diagnostics of a wrong program as they are, anything else behind ``ERROR:``."""
    print_message(str(error) if isinstance(error, SourceError) else f"ERROR: {error}")
