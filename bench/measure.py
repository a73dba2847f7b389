"""Run a command and measure it; alternate two commands and compare."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO


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
    with _attached(tool, env, timeout) as (process, out, err, _):
        subprocess.run(load, check=True, timeout=timeout)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout)
        return _text(out), _text(err)


def attach_and_end(
    tool: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300
) -> tuple[float, float]:
    """Start a tracer and end it with SIGINT when its probes are attached.

    Returns:
        Seconds from exec until it says that it attached, and from the signal until its end.

    Raises:
        RuntimeError: the tracer did not attach, or did not end.
    """
    with _attached(tool, env, timeout) as (process, _, _, seconds):
        start = time.perf_counter()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout)
        return seconds, time.perf_counter() - start


@contextmanager
def _attached(
    tool: Sequence[str], env: Mapping[str, str] | None, timeout: float
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
            while b"ttached" not in _text(out, 1 << 16) + _text(err, 1 << 16):
                if process.poll() is not None or time.perf_counter() - start > timeout:
                    raise RuntimeError(f"{tool[0]} did not attach: {_text(err)!r}")
                time.sleep(0.002)
            yield process, out, err, time.perf_counter() - start
        finally:
            process.kill()
            process.wait()


def _text(file: IO[bytes], size: int = -1) -> bytes:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size if size < 0 else size, 0)


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
    goal: float = 0.0

    def line(self) -> str:
        """Return the row that is printed."""
        goal = f" goal {self.goal:.2f}" if self.goal else ""
        return (
            f"{self.name:<50} trapline {self.ours:>10.3f}  bpftrace {self.peer:>10.3f} {self.unit:<4}"
            f" ratio {self.ratio:.2f} ({self.low:.2f} to {self.high:.2f}){goal}"
        )

    @classmethod
    def parse(cls, line: str) -> Comparison | None:
        """Read a row that `line` made."""
        match = _LINE.match(line)
        if match is None:
            return None
        ours, peer, ratio, low, high = (float(match[n]) for n in ("ours", "peer", "ratio", "low", "high"))
        return cls(match["name"], match["unit"], ours, peer, ratio, low, high, float(match["goal"] or 0))


_LINE = re.compile(
    r"(?P<name>.*?) +trapline +(?P<ours>\S+) +bpftrace +(?P<peer>\S+) (?P<unit>\S+) +"
    r"ratio (?P<ratio>\S+) \((?P<low>\S+) to (?P<high>\S+)\)(?: goal (?P<goal>\S+))?"
)


def compare(
    name: str,
    unit: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    pairs: int = 7,
    warm_up: bool = True,
    goal: float = 0.0,
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
        goal,
    )
