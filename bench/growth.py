"""How cost grows with the length of the script, the size of a record, of a map, and the number of functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from bench import rows
from bench.bench import Bench
from bench.measure import attach_and_end, run, run_peak
from bench.results import Growth

_RUNS = 3

Measure = Callable[[float], float]


def growth(bench: Bench) -> Iterator[Growth]:
    """Measure what needs no kprobes."""
    yield _memory(bench)
    yield _start(bench)
    yield _drain(bench)


def attach_growth(bench: Bench) -> Iterator[Growth]:
    """Measure attaching to more and more functions."""
    patterns = rows.ATTACH_PATTERNS[: 2 if bench.quick else None]
    listed = [len(run([*bench.ours, "-l", f"kprobe:{p}"], env=bench.warm).stdout.splitlines()) for p in patterns]
    by_number = dict(zip(listed, patterns, strict=True))

    def seconds(tool: Sequence[str], number: float, env: dict[str, str]) -> float:
        done = attach_and_end([*tool, "-e", rows.attach_of(by_number[int(number)])], env=env)
        return done.attached + done.ended

    yield _measure(
        bench,
        Growth("attach and detach", "functions", "s", tuple(listed), {}),
        {
            "trapline": lambda number: seconds(bench.ours, number, bench.warm),
            "bpftrace": lambda number: seconds(bench.peer, number, {}),
        },
    )


def _start(bench: Bench) -> Growth:
    def wall(tool: Sequence[str], lines: float, env: dict[str, str] | None) -> float:
        return run([*tool, "-e", rows.long_script(int(lines))], env=env).wall

    return _measure(
        bench,
        Growth("start to exit", "lines", "s", rows.START_LINES, {}),
        {
            "trapline, cold": lambda lines: wall(bench.ours, lines, bench.cold),
            "trapline, warm": lambda lines: wall(bench.ours, lines, bench.warm),
            "bpftrace": lambda lines: wall(bench.peer, lines, None),
        },
    )


def _drain(bench: Bench) -> Growth:
    """Per record, what a run takes longer than one with a single record."""

    def ns(tool: Sequence[str], size: float, env: dict[str, str] | None) -> float:
        walls, most = [], rows.drain_events(int(size))
        for events in (1, most):
            done = run([*tool, "-e", rows.flood_of(int(size), events)], env=env)
            if (printed := done.stdout.count(b"x" * int(size) + b"\n")) != events:
                raise RuntimeError(f"{tool[0]} printed {printed} of {events} records of {size:.0f} bytes")
            walls.append(done.wall)
        return max(0.0, walls[1] - walls[0]) / most * 1e9

    return _measure(
        bench,
        Growth("print a record", "bytes in a record", "ns", rows.DRAIN_SIZES, {}),
        {
            "trapline": lambda size: ns(bench.ours, size, bench.warm),
            "bpftrace": lambda size: ns(bench.peer, size, None),
        },
    )


def _memory(bench: Bench) -> Growth:
    def mib(tool: Sequence[str], keys: float, env: dict[str, str] | None) -> float:
        return run_peak([*tool, "-e", rows.map_of(int(keys))], env=env)

    return _measure(
        bench,
        Growth("peak resident memory", "keys of a printed map", "MiB", rows.MAP_KEYS, {}),
        {
            "trapline": lambda keys: mib(bench.ours, keys, bench.warm),
            "bpftrace": lambda keys: mib(bench.peer, keys, None),
        },
        runs=1,
    )


def _measure(bench: Bench, empty: Growth, curves: dict[str, Measure], runs: int = _RUNS) -> Growth:
    """Measure each size with all programs in turn, after a run that nobody counts; keep the medians."""
    sizes = empty.sizes[:2] if bench.quick else empty.sizes
    found: dict[str, list[float]] = {name: [] for name in curves}
    for size in sizes:
        taken: dict[str, list[float]] = {name: [] for name in curves}
        for number in range(1 if bench.quick else runs + 1):
            for name, measure in curves.items():
                figure = measure(size)
                if number or bench.quick:
                    taken[name].append(figure)
        for name, figures in taken.items():
            found[name].append(statistics.median(figures))
    return Growth(empty.name, empty.size, empty.unit, sizes, {name: tuple(figures) for name, figures in found.items()})
