"""An owned file descriptor."""

from __future__ import annotations

import contextlib
import os
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Iterable
from types import TracebackType

from trapline.errors import ClosedError

_FEW = 4  # descriptors that are not worth a thread
_THREADS = 32


class Fd:
    """Owns a file descriptor and closes it exactly once.

    Args:
        number: the descriptor; the object owns it from here on.
        what: what it refers to, for messages.
    """

    __slots__ = ("_number", "what")

    def __init__(self, number: int, what: str = "file descriptor") -> None:
        if number < 0:
            raise ValueError(f"not a file descriptor: {number}")
        self._number = number
        self.what = what

    def fileno(self) -> int:
        """Return the descriptor's number.

        Raises:
            ClosedError: it was closed.
        """
        if self._number < 0:
            raise ClosedError(f"{self.what} is closed")
        return self._number

    @property
    def closed(self) -> bool:
        """Whether `close` or `detach` was called."""
        return self._number < 0

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def detach(self) -> int:
        """Return the descriptor's number and stop owning it."""
        number = self.fileno()
        self._number = -1
        return number

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_number", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Fd {self._number} {self.what}>" if self._number >= 0 else f"<Fd closed {self.what}>"


def close_all(descriptors: Iterable[Fd]) -> None:
    """Close many descriptors, several at a time.

    Closing a perf event or a link waits until no CPU can be in its program any more, 40 ms since Linux 6.13: for those
    that wait at the same time it is one wait.
    """
    left = [fd for fd in descriptors if not fd.closed]
    if len(left) <= _FEW:
        for fd in left:
            fd.close()
        return
    failures: list[OSError] = []

    def close_some(ended: LockType | None = None) -> None:
        while left:
            try:
                left.pop().close()
            except IndexError:  # another thread took the last
                break
            except OSError as error:
                failures.append(error)
        if ended is not None:
            ended.release()

    running: list[LockType] = []
    # At the interpreter's end Python starts no threads any more.
    with contextlib.suppress(RuntimeError):
        for _ in range(min(len(left), _THREADS) - 1):
            ended = allocate_lock()
            ended.acquire()
            start_new_thread(close_some, (ended,))
            running.append(ended)
    close_some()
    for ended in running:
        ended.acquire()
    if failures:
        raise failures[0]
