"""An owned file descriptor."""

from __future__ import annotations

import os
from types import TracebackType

from trapline.errors import ClosedError


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
