"""Both programs under the same load, in turn."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import rows
from bench.measure import attach_and_end, compare, run, run_peak, run_traced
from bench.results import Comparison, Flood

HERE = Path(__file__).parent
_LOST = re.compile(rb'^Lost (\d+) event|^\{"type": "lost_events", .*?(\d+)', re.MULTILINE)
_SLOWER, _SLOWEST = 1.2, 1_000_000  # how much longer the next interval is that is tried; in nanoseconds, the last one
_CHUNK = 2_000  # calls whose average counts: few enough that some chunk is undisturbed, and no ring gets full


class Bench:
    """Both programs, and a directory for results."""

    def __init__(self, ours: list[str], peer: list[str], work: Path, *, pairs: int, quick: bool) -> None:
        self.ours = ours
        self.peer = peer
        self.work = work
        self.pairs = pairs
        self.quick = quick
        # A guest's files are the host's, slow to open; both read byte code from memory, as if it were their own.
        self.byte_code = {"PYTHONPYCACHEPREFIX": str(work / "byte-code")}
        self.warm = {"TRAPLINE_CACHE": str(work / "cache"), **self.byte_code}
        # "off" neither reads nor writes: as cold as a cache can be.
        self.cold = {**self.warm, "TRAPLINE_CACHE": "off"}

    def walls(self) -> Iterator[Comparison]:
        """Measure commands that end by themselves, on any kernel."""
        return map(self._wall, rows.HOST_WALLS)

    def guest_walls(self) -> Iterator[Comparison]:
        """Measure commands that end by themselves, where there are kprobes."""
        return map(self._wall, rows.GUEST_WALLS)

    def memory(self) -> Iterator[Comparison]:
        """Measure the peak resident memory of a one-liner."""
        return map(self._memory, (False, True))

    def cost(self) -> Iterator[Comparison]:
        """Measure what an event costs the traced program."""
        return map(self._cost, rows.COSTS)

    def attach(self) -> Iterator[Comparison]:
        """Measure attaching and ending."""
        return map(self._attach, rows.ATTACHES)

    def environment(self, *, cold: bool) -> dict[str, str]:
        """Return the variables with which ours finds its cache full, or has none."""
        return self.cold if cold else self.warm

    def _wall(self, row: rows.Wall) -> Comparison:
        arguments = list(row.arguments)
        return compare(
            row.name,
            "s",
            lambda: run(self.ours + arguments, env=self.environment(cold=row.cold)).wall,
            lambda: run(self.peer + arguments).wall,
            pairs=self.pairs,
            goal=row.goal,
        )

    def _memory(self, cold: bool) -> Comparison:
        program = ["-e", 'BEGIN { printf("%d\\n", pid); exit(); }']
        return compare(
            f"peak resident memory, {'cold' if cold else 'warm'}",
            "MiB",
            lambda: run_peak(self.ours + program, env=self.environment(cold=cold)),
            lambda: run_peak(self.peer + program),
            pairs=self.pairs,
            goal=0.70 if cold else 0.30,
        )

    def _attach(self, row: rows.Attach) -> Comparison:
        def seconds(tool: list[str], env: dict[str, str]) -> float:
            run = attach_and_end([*tool, "-e", row.program], env=env)
            return run.attached + run.ended if row.both else run.attached

        return compare(
            row.name,
            "s",
            lambda: seconds(self.ours, self.environment(cold=row.cold)),
            lambda: seconds(self.peer, {}),
            pairs=self.pairs,
            goal=row.goal,
        )

    def _cost(self, name: str) -> Comparison:
        program, call = rows.COSTS[name]
        calls = 20_000 if self.quick else 300 * _CHUNK

        def added(tool: list[str]) -> float:
            run(self._command(call, calls, _CHUNK))
            base = float(self._result.read_text())
            run_traced([*tool, "-e", program], self._command(call, calls, _CHUNK), env=self.warm)
            return float(self._result.read_text()) - base

        return compare(
            f"cost per event, {name}",
            "ns",
            lambda: added(self.ours),
            lambda: added(self.peer),
            pairs=self.pairs,
            goal=1.0,
        )

    def floods(self) -> Iterator[Flood]:
        """What becomes of the events of a thread that does nothing but the traced call."""
        for name, (program, options, pattern) in rows.FLOODS.items():
            calls = 20_000 if self.quick else 5_000_000 if name == "printf" else 1_000_000
            ours, peer = (
                self._flood([*tool, *options, "-e", program], pattern, calls) for tool in (self.ours, self.peer)
            )
            yield Flood(name, calls, ours, peer)

    def rates(self) -> Iterator[Comparison]:
        """How fast events may follow each other before a tracer starts to lose some."""
        calls = 20_000 if self.quick else 500_000
        for name, (program, options, pattern) in rows.FLOODS.items():
            commands = [[*tool, *options, "-e", program] for tool in (self.ours, self.peer)]
            yield compare(
                f"fastest load without loss, {name}",
                "ns",
                lambda commands=commands, pattern=pattern: self._least_interval(commands[0], pattern, calls),  # type: ignore[misc]
                lambda commands=commands, pattern=pattern: self._least_interval(commands[1], pattern, calls),  # type: ignore[misc]
                pairs=self.pairs,
                warm_up=False,
                goal=rows.RATES_GOAL,
            )

    def _least_interval(self, command: list[str], pattern: bytes, calls: int) -> float:
        """Return the nanoseconds per call of the fastest load of which 999 events in 1,000 are printed."""
        interval = 0
        while interval < _SLOWEST:
            printed, _, ns = self._flood(command, pattern, calls, interval)
            if printed >= calls * 0.999:
                return ns
            interval = int(ns * _SLOWER)
        raise RuntimeError(f"{command[0]} loses events even when {_SLOWEST} ns are between them")

    def _flood(self, command: list[str], pattern: bytes, calls: int, interval: int = 0) -> tuple[int, int, float]:
        """Trace a flood; return how many events were printed and reported lost, and the nanoseconds per call."""
        load = self._command("getuid", calls, calls)
        out, err = run_traced(command, [*load, str(interval)], env=self.warm)
        printed = len(re.findall(pattern, out, re.MULTILINE))
        lost = sum(int(a or b) for a, b in _LOST.findall(err + b"\n" + out))
        return printed, lost, float(self._result.read_text())

    @property
    def _result(self) -> Path:
        return self.work / "ns"

    def _command(self, call: str, calls: int, chunk: int) -> list[str]:
        return [sys.executable, str(HERE / "load.py"), call, str(calls), str(self._result), str(min(chunk, calls))]
