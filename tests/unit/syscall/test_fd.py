"""Many descriptors are closed together, each exactly once."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from trapline.syscall import fd as module
from trapline.syscall.fd import Fd, close_all


def pipes(count: int) -> list[Fd]:
    return [Fd(number) for _ in range(count) for number in os.pipe()]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_all_are_closed(count: int) -> None:
    opened = pipes(count)
    numbers = [fd.fileno() for fd in opened]
    if opened:
        opened[0].close()
    close_all(opened)
    assert all(fd.closed for fd in opened)
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    close_all(opened)


def test_they_wait_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(8, timeout=30)
    closed = os.close

    def close(number: int) -> None:
        together.wait()  # would break if one came after the other
        closed(number)

    opened = pipes(4)
    monkeypatch.setattr(module.os, "close", close)
    close_all(opened)
    assert not together.broken


def test_where_no_thread_may_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(module, "start_new_thread", refuse)
    opened = pipes(10)
    close_all(opened)
    assert all(fd.closed for fd in opened)


def test_a_failure_does_not_keep_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pipes(10)
    bad = opened[7].fileno()
    closed = os.close

    def close(number: int) -> None:
        closed(number)
        if number == bad:
            raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(module.os, "close", close)
    with pytest.raises(OSError, match="input/output"):
        close_all(opened)
    assert all(fd.closed for fd in opened)
