"""The groups of benchmarks: where each runs, and what yields its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any


@dataclass(frozen=True)
class Group:
    """Rows that are measured together, by a function of a module or a method of `Bench`.

    Modules are imported when their group runs: a command's peak memory is never less than that of the process that
    started it.
    """

    name: str
    source: str
    guest: bool = False  # needs kprobes, or kernel headers

    def run(self, bench: Any) -> Iterator[Any]:
        """Yield the rows as they are measured."""
        module, _, path = self.source.partition(":")
        rows: Iterator[Any] = attrgetter(path)(import_module(module))(bench)
        return rows


GROUPS = {
    group.name: group
    for group in (
        Group("walls", "bench.bench:Bench.walls"),
        Group("memory", "bench.bench:Bench.memory"),
        Group("growth", "bench.growth:growth"),
        Group("cost", "bench.bench:Bench.cost"),
        Group("loss", "bench.bench:Bench.floods"),
        Group("rates", "bench.bench:Bench.rates"),
        Group("bcc-events", "bench.beside_bcc:events"),
        Group("limits", "bench.limits:limits"),
        Group("guest-walls", "bench.bench:Bench.guest_walls", guest=True),
        Group("attach", "bench.bench:Bench.attach", guest=True),
        Group("attach-growth", "bench.growth:attach_growth", guest=True),
        Group("bcc", "bench.beside_bcc:scripts", guest=True),
    )
}
