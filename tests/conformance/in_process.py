"""Run trapline's command line inside this process: in a guest, starting Python costs seconds."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.cache_states import in_cache_state

from trapline.cli import main
from trapline.engine.host import forget_target

# Options that make the kernel look as it is not, for the process: no other run may see that.
_RESTRICTING = ("--no-feature", "--traceable-functions", "--probe-filter", "--debuginfo")


@dataclass(frozen=True)
class Done:
    """What a run printed and returned."""

    stdout: str
    stderr: str
    code: int


@contextmanager
def _redirected(number: int, path: Path) -> Iterator[None]:
    """Let a descriptor, and the stream of ``sys`` on it, write to a file."""
    name = {1: "stdout", 2: "stderr"}[number]
    stream = getattr(sys, name)
    stream.flush()
    saved = os.dup(number)
    # O_APPEND: a traced command shares this file, and copy_file_range (cat of coreutils 9) moves a shared
    # offset without the lock that write takes: its output would overwrite ours.
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.dup2(target, number)
        os.close(target)
        # line_buffering: what Python writes must keep its place among what is written to the descriptor.
        wrapper = io.TextIOWrapper(open(number, "wb", buffering=0, closefd=False), line_buffering=True)  # noqa: SIM115
        setattr(sys, name, wrapper)
        yield
        wrapper.flush()
        wrapper.detach().close()
    finally:
        setattr(sys, name, stream)
        os.dup2(saved, number)
        os.close(saved)


@contextmanager
def changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change environment variables for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_command_line(arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run ``trapline`` with arguments; `folder` takes what it prints.

    The time limit of the test interrupts it. With ``pytest --cache-state`` it runs with the cache in that state.
    """

    def run(state: Mapping[str, str]) -> Done:
        return _run_once(arguments, folder, {**state, **(environment or {})})

    return in_cache_state(run, in_process=True)


def _run_once(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Done:
    out, err = folder / "stdout", folder / "stderr"
    restricts = any(word.partition("=")[0] in _RESTRICTING for word in arguments)
    if restricts:
        forget_target()
    wakeup = signal.set_wakeup_fd(-1)
    try:
        with changed_environment(environment), _redirected(1, out), _redirected(2, err):
            code = main(arguments)
    finally:
        signal.set_wakeup_fd(wakeup)
        if restricts:
            forget_target()
    return Done(out.read_bytes().decode("utf-8", "replace"), err.read_bytes().decode("utf-8", "replace"), code)
