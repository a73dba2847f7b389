"""Waiting for several descriptors at once."""

from __future__ import annotations

import contextlib
import select


class Poller:
    """epoll(7) with a name for each descriptor.

    Readiness is level-triggered.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._tags: dict[int, object] = {}

    def add(self, fd: int, tag: object = None) -> None:
        """Watch `fd` for input; `wait` reports `tag` (the descriptor itself when ``None``)."""
        self._epoll.register(fd, select.EPOLLIN)
        self._tags[fd] = fd if tag is None else tag

    def remove(self, fd: int) -> None:
        """Stop watching `fd`; removing what is not watched is allowed."""
        if self._tags.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # closed already: the kernel forgot it
                self._epoll.unregister(fd)

    def wait(self, timeout: float | None) -> list[object]:
        """Return the tags of the descriptors that are ready, waiting at most `timeout` seconds (``None``: for ever)."""
        events = self._epoll.poll(-1 if timeout is None else timeout)
        return [self._tags[fd] for fd, _ in events if fd in self._tags]

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()
        self._tags.clear()

    def __enter__(self) -> Poller:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
