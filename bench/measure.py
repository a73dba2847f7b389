"""Run a command and measure it; alternate two commands and compare."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.results import Comparison


@dataclass(frozen=True)
class Run:
    """One run: wall time in seconds, peak resident memory of the process itself in KiB, output, exit code."""

    wall: float
    peak_kib: int
    stdout: bytes
    stderr: bytes
    code: int


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120) -> Run:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; a benchmark of a failing command means nothing.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env and {**os.environ, **env}
        )
        if not _has_ended(process, timeout):
            process.kill()
            process.wait()
            raise RuntimeError(f"{argv[0]}: not done after {timeout} s")
        wall = time.perf_counter() - start
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        result = Run(wall, usage.ru_maxrss, out.read(), err.read(), process.returncode)
    if result.code != 0:
        said = result.stderr.decode(errors="replace")
        raise RuntimeError(f"{' '.join(argv)[:300]}: exit {result.code}\n{said[-2000:]}")
    return result


def _has_ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for the end of a process, without taking CPU time from it; its status is left to be waited for."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout * 1000))
    finally:
        os.close(descriptor)


_SMALL = """
import os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status) & 127)
"""


def run_peak(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> float:
    """Return the peak resident memory in MiB of a command, started by a process that is smaller than any tracer."""
    with tempfile.NamedTemporaryFile("r") as file:
        run([sys.executable, "-I", "-S", "-c", _SMALL, file.name, *argv], env=env)
        return int(file.read()) / 1024


def run_traced(
    tool: Sequence[str], load: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300
) -> tuple[bytes, bytes]:
    """Start a tracer, run a load when its probes are attached, and end the tracer with SIGINT.

    Returns:
        What the tracer wrote to stdout and to stderr.

    Raises:
        RuntimeError: the tracer did not attach, or did not end.
    """
    with _attached(tool, env, timeout) as (process, out, err, _):
        subprocess.run(load, check=True, timeout=timeout)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout)
        return _text(out), _text(err)


@dataclass(frozen=True)
class Attaching:
    """A tracer that was started, attached and ended: seconds from exec until it says that it attached, seconds from
    SIGINT until its end, peak resident memory in MiB until it was attached."""

    attached: float
    ended: float
    peak_mib: float


def attach_and_end(
    tool: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300, sign: bytes = b"ttached"
) -> Attaching:
    """Start a tracer and end it with SIGINT when its probes are attached.

    Args:
        tool: the command line.
        env: in addition to our own.
        timeout: seconds, for attaching and for ending.
        sign: what it writes when its probes are attached.

    Raises:
        RuntimeError: the tracer did not attach, or did not end.
    """
    with _attached(tool, env, timeout, sign) as (process, _, _, seconds):
        # Of the program that runs there now; what wait4(2) tells is never less than what its starter had.
        peak = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        start = time.perf_counter()
        while True:
            os.killpg(process.pid, signal.SIGINT)
            ended = _has_ended(process, 10)  # if not, again: a script may catch one where it expects none
            passed = time.perf_counter() - start
            if ended:
                process.wait()
                return Attaching(seconds, passed, int(peak[1]) / 1024 if peak else 0.0)
            if passed > timeout:
                state = Path(f"/proc/{process.pid}/status").read_text()
                raise RuntimeError(f"{' '.join(tool)[:300]} did not end after SIGINT\n{state}")


@contextmanager
def _attached(
    tool: Sequence[str], env: Mapping[str, str] | None, timeout: float, sign: bytes = b"ttached"
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes], float]]:
    """Start a tracer; yields it when it is attached, its stdout and stderr, and the seconds that it took."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            tool,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        try:
            while sign not in _text(out, 1 << 16) + _text(err, 1 << 16):
                if process.poll() is not None or time.perf_counter() - start > timeout:
                    raise RuntimeError(f"{' '.join(tool)[:200]} did not attach: {_text(err)[-1000:]!r}")
                # On one CPU looking costs the tracer time, so it is done at every half percent of what has passed.
                time.sleep(max(0.001, (time.perf_counter() - start) / 200))
            yield process, out, err, time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def _text(file: IO[bytes], size: int = -1) -> bytes:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size if size < 0 else size, 0)


def compare(
    name: str,
    unit: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    pairs: int = 7,
    warm_up: bool = True,
    goal: float = 0.0,
    beside: str = "bpftrace",
) -> Comparison:
    """Call both in turn, `pairs` times after a warm-up, and compare what they return."""
    if warm_up:
        ours()
        peer()
    measured = [(ours(), peer()) for _ in range(pairs)]
    return Comparison.of(name, unit, measured, goal, beside)
