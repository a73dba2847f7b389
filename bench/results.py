"""What was measured: rows of four kinds, kept by group in a JSON file, so that one group can be measured anew."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Comparison:
    """Medians of both programs and the median of the pairs' ratios with its spread (least and greatest)."""

    kind: ClassVar[str] = "comparison"

    name: str
    unit: str
    ours: float
    peer: float
    ratio: float
    low: float
    high: float
    goal: float = 0.0
    beside: str = "bpftrace"

    @classmethod
    def of(
        cls, name: str, unit: str, pairs: Sequence[tuple[float, float]], goal: float = 0.0, beside: str = "bpftrace"
    ) -> Comparison:
        """Compare what both programs gave, in pairs: (ours, the peer's)."""
        ratios = [a / b if b > 0 else float("inf") for a, b in pairs]
        ours, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
        return cls(name, unit, ours, peer, statistics.median(ratios), min(ratios), max(ratios), goal, beside)

    @property
    def met(self) -> bool:
        """Whether the goal was reached."""
        return self.ratio <= self.goal

    def line(self) -> str:
        """Return the row that is printed."""
        goal = f" goal {self.goal:.2f}" if self.goal else ""
        return (
            f"{self.name:<50} trapline {self.ours:>10.3f}  {self.beside:<8} {self.peer:>10.3f} {self.unit:<4}"
            f" ratio {self.ratio:.2f} ({self.low:.2f} to {self.high:.2f}){goal}"
        )


@dataclass(frozen=True)
class Flood:
    """What became of the events of a flood, by program: calls, printed, reported lost, ns per call."""

    kind: ClassVar[str] = "flood"

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


@dataclass(frozen=True)
class Limit:
    """A figure that no tracer in Python gets below, or a part of a cost; `name` is what prose refers to."""

    kind: ClassVar[str] = "limit"

    name: str
    figure: float
    unit: str
    bounds: str = ""

    def line(self) -> str:
        """Return the row that is printed."""
        return f"limit: {self.name:<60} {self.figure:>9.3g} {self.unit}"


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size: a curve for each program, with a figure for each of `sizes`."""

    kind: ClassVar[str] = "growth"

    name: str
    size: str  # what grows: "lines", "keys"
    unit: str
    sizes: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]

    def exponent(self, curve: str) -> float:
        """Return k when what comes on top of the least cost grows as size ** k does, from the last but one.

        1 is linear, less is better; it takes three sizes.
        """
        x, y = self.sizes, self.curves[curve]
        if len(x) < 3:
            return math.nan
        fixed = min(y)  # mostly the smallest size's, whose runs may be disturbed as all others
        before, last = y[-2] - fixed, y[-1] - fixed
        if last <= 0:
            return 0.0  # it does not grow
        # What is lost in the fixed cost's noise counts as that: a hundredth of it.
        before = max(before, 0.01 * fixed)
        return math.log(last / before) / math.log((x[-1] - x[0]) / (x[-2] - x[0]))

    def line(self) -> str:
        """Return the rows that are printed."""
        texts = [f"growth: {self.name}, {self.unit} for {', '.join(f'{x:,.0f}' for x in self.sizes)} {self.size}"]
        for curve, figures in self.curves.items():
            shown = "  ".join(f"{y:.4g}" for y in figures)
            texts.append(f"    {curve:<20} {shown}  (size ** {self.exponent(curve):.2f})")
        return "\n".join(texts)


Row = Comparison | Flood | Limit | Growth
_KINDS: dict[str, type[Any]] = {cls.kind: cls for cls in (Comparison, Flood, Limit, Growth)}


def encode_row(row: Row) -> dict[str, Any]:
    """Return a row as JSON can hold it."""
    return {"kind": row.kind, **dataclasses.asdict(row)}


def decode_row(data: dict[str, Any]) -> Row:
    """Return the row that `encode_row` was given."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    kind = _KINDS[fields.pop("kind")]
    if "curves" in fields:
        fields["curves"] = {name: tuple(figures) for name, figures in fields["curves"].items()}
    row: Row = kind(**fields)
    return row


@dataclass
class GroupResult:
    """The rows of one run of a group, and under which circumstances they were measured."""

    rows: list[Row] = field(default_factory=list)
    failure: str = ""  # why it ended before its end
    seconds: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)  # date, commit, versions

    def of_kind(self, kind: type[Any]) -> list[Any]:
        """Return the rows of a kind."""
        return [row for row in self.rows if isinstance(row, kind)]


def write_results(path: Path, results: dict[str, GroupResult]) -> None:
    """Keep all groups' results."""
    data = {
        name: {
            "facts": result.facts,
            "seconds": round(result.seconds, 1),
            **({"failure": result.failure} if result.failure else {}),
            "rows": [encode_row(row) for row in result.rows],
        }
        for name, result in results.items()
    }
    path.write_text(json.dumps(data, indent=1) + "\n")


def read_results(path: Path) -> dict[str, GroupResult]:
    """Read what `write_results` wrote; nothing when there is no such file."""
    if not path.exists():
        return {}
    return {
        name: GroupResult(
            [decode_row(row) for row in data["rows"]], data.get("failure", ""), data["seconds"], data["facts"]
        )
        for name, data in json.loads(path.read_text()).items()
    }


def read_rows(lines: Iterable[str]) -> list[Row]:
    """Read rows that were written one a line."""
    return [decode_row(json.loads(line)) for line in lines]
