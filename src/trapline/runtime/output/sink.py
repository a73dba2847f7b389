"""Bytes → a file descriptor or stream, with bpftrace's three buffering modes."""

from __future__ import annotations

import os
import select

from trapline.errors import KernelError
from trapline.hints import Protocol

MODES = ("none", "line", "full")
_LIMIT = 1 << 16


class Stream(Protocol):
    """What a sink needs of a binary file."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""

    def flush(self) -> object:
        """Pass it on."""


class Sink:
    """Collects output.

    Args:
        target: a file descriptor (stays the caller's) or a binary file.
        mode: ``none`` passes everything on at once; ``line`` when the event loop has nothing more to do, at the latest
            after 64 KiB; ``full`` only after 64 KiB, and at the end.
    """

    def __init__(self, target: int | Stream, mode: str = "line") -> None:
        if mode not in MODES:
            raise ValueError(f"no buffering mode {mode!r}: it is none, line or full")
        self._target = target
        self._mode = mode
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = 0 if mode == "none" else _LIMIT
        self.broken = False

    def write(self, data: bytes) -> None:
        """Take `data`.

        Raises:
            KernelError: it could not be written (but a reader that went away only sets `broken`).
        """
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            self.drain()

    def flush(self) -> None:
        """Pass on what was taken, except in mode ``full``."""
        if self._mode != "full":
            self.drain()

    def drain(self) -> None:
        """Pass on everything."""
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self.broken:
            return
        try:
            if isinstance(self._target, int):
                _write_all(self._target, data)
            else:
                self._target.write(data)
                self._target.flush()
        except BrokenPipeError:
            self.broken = True
        except OSError as e:
            self.broken = True
            raise KernelError(f"cannot write output: {e.strerror}", errno=e.errno or 0) from None


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
