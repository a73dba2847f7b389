from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import chart
from bench.groups import GROUPS
from bench.report import write_report
from bench.results import Comparison, Flood, GroupResult, Growth, Limit, read_results, write_results

FACTS = dict.fromkeys(("date", "commit", "kernel", "machine", "python", "bpftrace"), "x")
COMPARISON = Comparison.of("cost per event, empty", "ns", [(1.0, 2.0), (3.0, 2.0), (1.0, 1.0)], 1.0)
GROWTH = Growth("start", "lines", "s", (10, 100, 1_000), {"trapline": (0.1, 0.2, 1.2), "bpftrace": (0.1, 0.1, 0.1)})
RESULTS = {
    "cost": GroupResult([COMPARISON, Comparison.of("hello", "s", [(1, 9)], 0.3, "BCC")], "", 12.5, FACTS),
    "loss": GroupResult([Flood("printf", 10, (10, 0, 1.5), (5, 4, 1.0))], "it was cut off\nhere", 1.0, FACTS),
    "limits": GroupResult([Limit("Python's own start", 10.0, "ms", "start")], "", 1.0, FACTS),
    "growth": GroupResult([GROWTH], "", 1.0, FACTS),
}


def test_a_comparison_has_the_medians_and_the_spread() -> None:
    assert Comparison("cost per event, empty", "ns", 1.0, 2.0, 1.0, 0.5, 1.5, 1.0, "bpftrace") == COMPARISON
    assert COMPARISON.met


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_results(path) == {}
    write_results(path, RESULTS)
    assert read_results(path) == RESULTS


def test_growth_is_told_as_a_power() -> None:
    def exponent(*figures: float) -> float:
        return Growth("g", "n", "s", (10, 100, 1_000), {"c": figures}).exponent("c")

    assert exponent(1, 10, 100) == pytest.approx(1)
    assert exponent(5, 5.9, 14.9) == pytest.approx(1)
    assert exponent(0.01, 1, 100) > 1.9
    assert exponent(5, 5, 5) == 0
    assert exponent(5.4, 5, 14) == exponent(5, 5, 14)  # a disturbed run of the smallest size
    assert math.isnan(Growth("g", "n", "s", (1, 2), {"c": (1, 2)}).exponent("c"))


def test_the_report_has_every_row(tmp_path: Path) -> None:
    write_report(tmp_path, RESULTS)
    text = (tmp_path / "RESULTS.md").read_text()
    for part in (
        "## Beside bpftrace",
        "## Beside BCC",
        "**loss ended early**: it was cut off\n",
        "| printf | bpftrace |",
    ):
        assert part in text
    assert "| trapline | 0.1 | 0.2 | 1.2 | " in text and "## What is left" in text
    picture = ElementTree.parse(tmp_path / "growth.svg").getroot()
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 6


def test_what_grows_linearly_is_parallel_to_the_dotted_line() -> None:
    panel = chart.Panel("a", "n", "s", (1, 10, 100), {"c": (2, 20, 200)})
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in ElementTree.fromstring(chart.draw([panel])).iter("{http://www.w3.org/2000/svg}polyline")
        if line.get("stroke-dasharray") or line.get("stroke-width") == "2"
    ]
    slopes = [(a[-1][1] - a[0][1]) / (a[-1][0] - a[0][0]) for a in lines]
    assert len(slopes) == 2 and slopes[0] == pytest.approx(slopes[1], rel=0.01) and slopes[0] < 0


def test_every_group_has_a_source() -> None:
    from importlib import import_module
    from operator import attrgetter

    for name, group in GROUPS.items():
        module, _, path = group.source.partition(":")
        assert group.name == name and callable(attrgetter(path)(import_module(module)))
