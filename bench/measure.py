"""Run a command and measure it; alternate two commands and compare."""

from __future__ import annotations

import os
import statistics
import subprocess
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
    import tempfile

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
