"""The held command: runs when released, never when the tracer goes away."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from trapline.engine.child import Child
from trapline.errors import TraplineError


def wait(child: Child) -> int | None:
    poller = select.poll()
    poller.register(child.pidfd, select.POLLIN)
    assert poller.poll(10_000)
    return child.poll()


def test_it_does_not_run_before_it_is_released(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = Child(f"touch {mark}")
    try:
        assert child.poll() is None
        assert not mark.exists()
        child.release()
        assert wait(child) == 0
        assert mark.exists()
    finally:
        child.close()


def test_closing_it_unreleased_never_runs_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = Child(f"touch {mark}")
    child.close()
    assert not mark.exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_closing_it_ends_it() -> None:
    child = Child("sleep 1000")
    child.release()
    child.close()
    assert child.poll() is not None


def test_its_exit_code_is_kept() -> None:
    child = Child("false")
    child.release()
    assert wait(child) == 1
    child.close()


@pytest.mark.parametrize("command", ["", "   ", "/no/such/program", "no-such-program-anywhere"])
def test_a_command_that_cannot_run_is_an_error(command: str) -> None:
    with pytest.raises(TraplineError):
        Child(command)
