"""The kernel's trace pipe: what ``bpf_trace_printk`` prints."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable

from trapline.bcc.failures import BccError
from trapline.hints import BinaryIO, NamedTuple

MAX_LINE = 1024
_IDLE = 0.1  # seconds


class TraceFields(NamedTuple):
    """A line of the trace pipe: task name, pid, CPU, flags, seconds since boot, message."""

    task: bytes | None
    pid: int | None
    cpu: int | None
    flags: bytes | None
    ts: float | None
    msg: bytes | None


NO_FIELDS = TraceFields(None, None, None, None, None, None)


def parse_trace_line(line: bytes) -> TraceFields | None:
    """Return the fields of a line of the trace pipe, or ``None`` for lines about lost events and other notes.

    The layout is the function tracer's: task name in 16 columns, ``-pid``, ``[cpu]``, flags, seconds, then
    ``bpf_trace_printk: message`` (a symbol or address before the colon).
    """
    if line.startswith(b"CPU:"):
        return None
    # A task's name may hold any character, so it is found by its width; pids grow to the left of it on no kernel.
    task, rest = line[:16].lstrip(), line[17:]
    head, colon, tail = rest.partition(b": ")
    words = head.split()
    if not colon or len(words) < 4:
        return None
    pid, cpu, flags, ts = words[0], words[-3], words[-2], words[-1]
    # bpf_trace_printk's own column is followed by ": "; a message may hold any number of them.
    _, separator, message = tail.partition(b": ")
    try:
        return TraceFields(task, int(pid), int(cpu.strip(b"[]")), flags, float(ts), message if separator else tail)
    except ValueError:
        return None


class TracePipe:
    """Reads the trace pipe, which all tracers of the machine share.

    Args:
        locate: returns the path of ``trace_pipe``; called on the first read.
    """

    def __init__(self, locate: Callable[[], str]) -> None:
        self._locate = locate
        self._file: BinaryIO | None = None

    def open(self, nonblocking: bool = False) -> BinaryIO:
        """Open the pipe if it is not open, and return it.

        Args:
            nonblocking: whether reads return nothing instead of waiting, from now on.
        """
        if self._file is None:
            path = self._locate()
            try:
                self._file = open(path, "rb")  # noqa: SIM115 (it stays open)
            except OSError as error:
                raise BccError(
                    f"cannot open {path}: {error.strerror}",
                    hint="bpf_trace_printk prints to tracefs: mount it, and run as root",
                ) from error
            if nonblocking:
                fd = self._file.fileno()
                fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        return self._file

    def readline(self, nonblocking: bool = False) -> bytes | None:
        """Return the next line without its end.

        Returns:
            The line; nothing (empty or ``None``) when there is none and `nonblocking` was asked for.
        """
        pipe = self.open(nonblocking)
        try:
            while True:
                line = pipe.readline(MAX_LINE)
                if line or nonblocking:
                    return line.rstrip()
                time.sleep(_IDLE)  # the pipe ends while tracing is switched off
        except OSError:
            return None

    def fields(self, nonblocking: bool = False) -> TraceFields:
        """Return the next line's fields; all ``None`` when there is no line and `nonblocking` was asked for."""
        while True:
            line = self.readline(nonblocking)
            if not line:
                if nonblocking:
                    return NO_FIELDS
                continue
            fields = parse_trace_line(line)
            if fields is not None:
                return fields

    def print(self, fmt: str | None = None) -> None:
        """Print lines without end.

        Args:
            fmt: a ``str.format`` text over the six fields of `TraceFields` (``"{5}"`` is the message); without it,
                lines are printed as they are, in Python's spelling of bytes (``b'…'``).
        """
        while True:
            text = fmt.format(*self.fields()) if fmt else self.readline()
            print(text)
            sys.stdout.flush()

    def close(self) -> None:
        """Close the pipe."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
