"""Both programs under the same load, in turn."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import rows
from bench.measure import Comparison, attach_and_end, compare, run, run_traced

HERE = Path(__file__).parent
_LOST = re.compile(rb'^Lost (\d+) event|^\{"type": "lost_events", .*?(\d+)', re.MULTILINE)
_CHUNK = 40_000  # calls whose average counts: few enough that some chunk of a run is undisturbed


@dataclass(frozen=True)
class Flood:
    """What became of the events of a flood, by program: calls, printed, reported lost, ns per call."""

    name: str
    calls: int
    ours: tuple[int, int, float]
    peer: tuple[int, int, float]

    def line(self) -> str:
        """Return the rows that are printed."""
        texts = [f"loss, {self.calls} events, {self.name}"]
        for label, (printed, lost, ns) in (("trapline", self.ours), ("bpftrace", self.peer)):
            texts.append(f"    {label}: {printed} printed, {lost} reported lost, {ns:.0f} ns per call")
        return "\n".join(texts)


class Bench:
    """Both programs, and a directory for results."""

    def __init__(self, ours: list[str], peer: list[str], work: Path, *, pairs: int, quick: bool) -> None:
        self.ours = ours
        self.peer = peer
        self.work = work
        self.pairs = pairs
        self.quick = quick
        self.warm = {"TRAPLINE_CACHE": str(work / "cache"), "PYTHONPYCACHEPREFIX": str(work / "byte-code")}
        # "off" neither reads nor writes: as cold as a cache can be.
        self.cold = {**self.warm, "TRAPLINE_CACHE": "off"}

    def run(self, name: str) -> Iterator[Comparison]:
        """Measure the rows of one kind."""
        if name == "walls":
            yield from map(self._wall, rows.HOST_WALLS)
        elif name == "guest-walls":
            yield from map(self._wall, rows.GUEST_WALLS)
        elif name == "memory":
            yield from (self._memory(cold=False), self._memory(cold=True))
        elif name == "cost":
            yield from map(self._cost, rows.COSTS)
        elif name == "attach":
            yield from map(self._attach, rows.ATTACHES)
        else:
            raise SystemExit(f"no benchmark {name}")

    def _env(self, cold: bool) -> dict[str, str]:
        return self.cold if cold else self.warm

    def _wall(self, row: rows.Wall) -> Comparison:
        arguments = list(row.arguments)
        return compare(
            row.name,
            "s",
            lambda: run(self.ours + arguments, env=self._env(row.cold)).wall,
            lambda: run(self.peer + arguments).wall,
            pairs=self.pairs,
            goal=row.goal,
        )

    def _memory(self, *, cold: bool) -> Comparison:
        program = ["-e", 'BEGIN { printf("%d\\n", pid); exit(); }']
        return compare(
            f"peak resident memory, {'cold' if cold else 'warm'}",
            "MiB",
            lambda: run(self.ours + program, env=self._env(cold)).peak_kib / 1024,
            lambda: run(self.peer + program).peak_kib / 1024,
            pairs=self.pairs,
            goal=0.70 if cold else 0.30,
        )

    def _attach(self, row: rows.Attach) -> Comparison:
        def seconds(tool: list[str], env: dict[str, str]) -> float:
            attached, ended = attach_and_end([*tool, "-e", row.program], env=env)
            return attached + ended if row.both else attached

        return compare(
            row.name,
            "s",
            lambda: seconds(self.ours, self._env(row.cold)),
            lambda: seconds(self.peer, {}),
            pairs=self.pairs,
            goal=row.goal,
        )

    def _cost(self, name: str) -> Comparison:
        program, call = rows.COSTS[name]
        calls = 20_000 if self.quick else 25 * _CHUNK

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
            found = []
            for tool in (self.ours, self.peer):
                load = self._command("getuid", calls, calls)
                out, err = run_traced([*tool, *options, "-e", program], load, env=self.warm)
                printed = len(re.findall(pattern, out, re.MULTILINE))
                lost = sum(int(a or b) for a, b in _LOST.findall(err + b"\n" + out))
                found.append((printed, lost, float(self._result.read_text())))
            yield Flood(name, calls, found[0], found[1])

    @property
    def _result(self) -> Path:
        return self.work / "ns"

    def _command(self, call: str, calls: int, chunk: int) -> list[str]:
        return [sys.executable, str(HERE / "load.py"), call, str(calls), str(self._result), str(min(chunk, calls))]
