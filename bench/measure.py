"""Run a command and measure it; alternate two commands and compare."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


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
        deadline = start + timeout
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.perf_counter() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"{argv[0]}: not done after {timeout} s")
            time.sleep(0.0005)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        result = Run(wall, usage.ru_maxrss, out.read(), err.read(), process.returncode)
    if result.code != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {result.code}\n{result.stderr.decode(errors='replace')}")
    return result


def run_traced(
    tool: Sequence[str], load: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300
) -> tuple[bytes, bytes]:
    """Start a tracer, run a load when its probes are attached, and end the tracer with SIGINT.

    Returns:
        What the tracer wrote to stdout and to stderr.

    Raises:
        RuntimeError: the tracer did not attach, or did not end.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            tool, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **(env or {})}
        )
        try:
            deadline = time.monotonic() + timeout
            while b"Attached" not in os.pread(err.fileno(), 1 << 16, 0):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{tool[0]} did not attach: {os.pread(err.fileno(), 4096, 0)!r}")
                time.sleep(0.01)
            subprocess.run(load, check=True, timeout=timeout)
            process.send_signal(signal.SIGINT)
            process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return out.read(), err.read()


@dataclass(frozen=True)
class Comparison:
    """Medians of both programs and the median of the pairs' ratios with its spread (least and greatest)."""

    name: str
    unit: str
    ours: float
    peer: float
    ratio: float
    low: float
    high: float

    def line(self) -> str:
        """Return the row that is printed."""
        return (
            f"{self.name:<44} trapline {self.ours:>10.3f}  bpftrace {self.peer:>10.3f} {self.unit:<6}"
            f" ratio {self.ratio:.2f} ({self.low:.2f} to {self.high:.2f})"
        )


def compare(
    name: str, unit: str, ours: Callable[[], float], peer: Callable[[], float], *, pairs: int = 7, warm_up: bool = True
) -> Comparison:
    """Call both in turn, `pairs` times after a warm-up, and compare what they return."""
    if warm_up:
        ours()
        peer()
    measured = [(ours(), peer()) for _ in range(pairs)]
    ratios = [a / b if b > 0 else float("inf") for a, b in measured]
    return Comparison(
        name,
        unit,
        statistics.median(a for a, _ in measured),
        statistics.median(b for _, b in measured),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )
