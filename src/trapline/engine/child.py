"""The traced command (``-c``): started before the probes, let go when they are attached."""

from __future__ import annotations

import contextlib
import os
import signal

from trapline.errors import TraplineError

_EXEC_FAILED = 127


class Child:
    """A command held just before its ``execve`` until `release`.

    Args:
        command: the program and its arguments, separated by white space (no shell, as in bpftrace).

    Raises:
        TraplineError: the command is empty or there is no such program.
    """

    def __init__(self, command: str) -> None:
        argv = command.split()
        if not argv:
            raise TraplineError("the command to trace (-c) is empty", hint="give a program, as in -c 'sleep 1'")
        from shutil import which

        path = which(argv[0])
        if path is None:
            raise TraplineError(
                f"Failed to fork child: Path '{argv[0]}' does not exist or is not executable",
                hint="-c takes a program in PATH or a path, and its arguments; the command is not a shell line",
            )
        ready_read, self._gate = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(path, argv, ready_read)
        os.close(ready_read)
        self.pidfd = os.pidfd_open(self.pid)
        self._status: int | None = None

    def _become(self, path: str, argv: list[str], gate: int) -> None:
        try:
            os.close(self._gate)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            # An empty read means that the tracer went away: do not run the command untraced.
            if os.read(gate, 1):
                os.execv(path, argv)
        finally:
            os._exit(_EXEC_FAILED)

    def release(self) -> None:
        """Let the command run."""
        if self._gate >= 0:
            os.write(self._gate, b"x")
            os.close(self._gate)
            self._gate = -1

    def poll(self) -> int | None:
        """Return the exit status as a shell gives it (128 + signal number when killed), or ``None`` while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code
        return self._status

    def close(self) -> None:
        """End the command if it still runs (SIGTERM, as bpftrace does) and reap it."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        if self.pidfd >= 0:
            if self.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, 0)
            os.close(self.pidfd)
            self.pidfd = -1
