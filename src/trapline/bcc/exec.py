"""Commands that a tool starts and traces (``bcc.exec`` of the scripts): held until the tool is ready for them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence


class _Command:
    """The command: the pipe that holds it, and whether it has ended."""

    def __init__(self) -> None:
        self.gate = -1
        self.pid = 0
        self.ended = False

    def reap(self, *_: object) -> None:
        """Collect the command if it has ended."""
        with contextlib.suppress(ChildProcessError):
            self.ended = self.ended or os.waitpid(self.pid, os.WNOHANG)[0] == self.pid


_command = _Command()


def run_cmd(args: Sequence[str]) -> int:
    """Start a command that does nothing before `cmd_ready` is called; return its process's number.

    Args:
        args: the program, searched in ``PATH``, and its arguments.
    """
    held, _command.gate = os.pipe()
    _command.ended = False
    signal.signal(signal.SIGCHLD, _command.reap)
    _command.pid = pid = os.fork()
    if pid:
        os.close(held)
        return pid
    try:
        os.close(_command.gate)
        if os.read(held, 1):
            os.execvp(args[0], list(args))
    except OSError as error:
        print(f"failed to exec command: {' '.join(args)}: {error}", file=sys.stderr)
    finally:
        os._exit(1)  # also when the tool ended without being ready


def cmd_ready() -> None:
    """Let the command go."""
    os.write(_command.gate, b"x")
    os.close(_command.gate)
    _command.gate = -1


def cmd_exited() -> int:
    """Return 1 when the command has ended, else 0."""
    return int(_command.ended)
