"""Run one of BCC's tools beside a workload, each in a child of this process: in a guest, starting Python costs seconds.

The tool is read from its file as ``trapline bcc`` does it. The workload waits until the tool waits for output, so that
every probe is attached; then the tool is interrupted as with Ctrl-C, unless it ends by itself. What runs the tool is
an argument: trapline here, BCC itself in bcc_peer.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.bcc_waits import tell_first_wait
from tests.conformance.bcc_workload import COMM, OUTPUT, PATIENCE, TERMINAL, WORKLOADS
from tests.conformance.in_process import Done
from tests.harness.limits import scaled

_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Args:
        done: what the tool printed and returned.
        pid: the process of the workload.
        ready: whether the tool came to wait for output.
        seconds: how long all of it took.
    """

    done: Done
    pid: int
    ready: bool
    seconds: float


class Pipe:
    """A byte from one process to another."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def send(self) -> None:
        os.write(self.writer, b"x")

    def wait(self, seconds: float | None, other: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the other side sent; ``False`` after `seconds`, or when `other` says so."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            if select.select([self._reader], [], [], 0.1)[0]:
                return bool(os.read(self._reader, 1))
            if other():
                return False
        return False

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


def preload() -> None:
    """Import and read once, for all children, what every tool needs."""
    from trapline.bcc.importer import ALIASES
    from trapline.bcc.queries import ksym
    from trapline.engine.compile import sources_key
    from trapline.engine.machine import machine
    from trapline.frontends.bcc_c.compile import compile_c
    from trapline.source import Source

    __import__("trapline.codegen.compile")
    for name in ALIASES.values():
        __import__(name)
    sources_key()
    machine().functions()
    ksym(0)  # reads all symbols
    compile_c(Source("empty", "int nothing(void *ctx) { return 0; }"), machine().target)


def run_tool(
    path: Path,
    arguments: Sequence[str],
    workload: str,
    folder: Path,
    *,
    trace: Callable[[list[str], Pipe], int],
    ends: bool,
    terminal: bool,
    complete: Callable[[str, int], bool],
) -> Run:
    """Run a tool.

    Args:
        path: the tool.
        arguments: its arguments; ``{pid}`` is the workload's process, ``{tty}`` its terminal.
        workload: a name of `WORKLOADS`.
        folder: takes what the tool prints.
        trace: runs the tool in a process of its own, by its path and arguments, sends when the tool waits for the
            first time, and returns its exit code: `trace_with_trapline`, or BCC's.
        ends: the tool ends by itself.
        terminal: the tool wants a terminal.
        complete: whether it has printed all that there is to come, by its text and the workload's process. Until then
            it is given time: it may have to read the symbols of a large program.
    """
    begun = time.monotonic()
    go, worked, waiting = Pipe(), Pipe(), Pipe()
    outer, inner = os.openpty()
    terminal_name = os.ttyname(inner)
    out, err = folder / "stdout", folder / "stderr"
    worker = _fork(lambda: _work(workload, {TERMINAL: terminal_name, OUTPUT: str(out)}, go, worked))
    places = {"{pid}": str(worker), "{tty}": terminal_name}
    words = [str(path), *(places.get(word, word) for word in arguments)]
    tool = _fork(lambda: _start(trace, words, waiting, out, err, terminal=terminal))
    # What replaces its process cannot say that it waits, but that it traces.
    shell = path.read_bytes().startswith(b"#!/bin/bash")
    status: list[int] = []
    try:
        ready = waiting.wait(scaled(10), lambda: _has_ended(tool, status) or (shell and bool(_read(out))))
        if not status:
            go.send()
            worked.wait(scaled(PATIENCE))
        if not ends:
            _wait_until(lambda: complete(_read(out), worker) or _has_ended(tool, status), scaled(1.5))
        if not status:
            _end(tool, status, ends=ends)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(tool, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        if not status:
            status.append(os.waitpid(tool, 0)[1])
        for pipe in (go, worked, waiting):
            pipe.close()
        os.close(outer)
        os.close(inner)
    code = os.waitstatus_to_exitcode(status[0])
    done = Done(_read(out), _read(err), code if code >= 0 else 128 - code)
    return Run(done, worker, ready, time.monotonic() - begun)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def _end(tool: int, status: list[int], *, ends: bool) -> None:
    """Wait until the tool has ended; interrupt it when it does not."""
    patience = (scaled(5),) if ends else (0.3,)
    for seconds in (*patience, scaled(1), scaled(1)):
        if _wait_until(lambda: _has_ended(tool, status), seconds):
            return
        os.killpg(tool, signal.SIGINT)  # As Ctrl-C does: a shell has children.


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _has_ended(process: int, status: list[int]) -> bool:
    if not status:
        ended, value = os.waitpid(process, os.WNOHANG)
        if ended:
            status.append(value)
    return bool(status)


def _fork(body: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = body() if os.getppid() == parent else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _work(workload: str, environment: Mapping[str, str], go: Pipe, worked: Pipe) -> int:
    os.environ.update(environment)
    _LIBC.prctl(_PR_SET_NAME, COMM.encode(), 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if go.wait(scaled(30)):
        try:
            WORKLOADS[workload]()
        except Exception:
            traceback.print_exc()  # now, for it is killed when the tool has ended
        finally:
            worked.send()
            time.sleep(scaled(10))  # Its symbols and its name are asked for until the tool has ended.
    return 0


def _become_terminal(out: Path) -> None:
    """Let a child write to a file what this process writes to its terminal."""
    outer, inner = pty.openpty()
    os.environ["TERM"] = "linux"
    if _fork(lambda: _drain(outer, inner, out)):
        os.close(outer)
        for number in (0, 1):
            os.dup2(inner, number)
        os.close(inner)


def _drain(outer: int, inner: int, out: Path) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.close(inner)
    for number in (0, 1):
        os.close(number)
    with out.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while data := os.read(outer, 4096):
            file.write(data)
    return 0


def _start(
    trace: Callable[[list[str], Pipe], int], words: list[str], waiting: Pipe, out: Path, err: Path, *, terminal: bool
) -> int:
    os.setpgid(0, 0)
    for number, path in ((1, out), (2, err)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(target, number)
        os.close(target)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if terminal:
        _become_terminal(out)
    return trace(words, waiting)


def trace_with_trapline(words: list[str], waiting: Pipe) -> int:
    """Run a tool in this process as ``trapline bcc`` does."""
    warnings.simplefilter("ignore")  # pytest makes errors of them, and older tools have sloppy escapes
    os.environ["PYTHONUNBUFFERED"] = "1"
    # pytest's own streams are not those of the descriptors.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    from trapline.bcc.bpf import BPF
    from trapline.bcc.runner import main

    tell_first_wait(BPF, waiting.send)
    code = 0
    try:
        code = main(words)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1
