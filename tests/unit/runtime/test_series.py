"""Time series: buckets of several CPUs into points, and their charts."""

from __future__ import annotations

import struct

import pytest
from tests.unit.runtime.fakes import FakeNamer

from trapline.ir import values as v
from trapline.ir.spec import MapSpec
from trapline.runtime.aggregate import make_reader
from trapline.runtime.display import make_json, make_text
from trapline.runtime.objects import Series

SECOND = 1_000_000_000
# 2020-01-01 00:00:00 UTC
START = 1_577_836_800 * SECOND


def read(layout: v.SeriesV, buckets: dict[int, list[tuple[int, int, int]]]) -> Series:
    spec = MapSpec("@", "PERCPU_HASH", 4, 24, 9, key=v.IntV(8), value=layout, scalar=True)
    items = [
        (struct.pack("<I", index), b"".join(struct.pack("<qQQ", *part) for part in parts))
        for index, parts in buckets.items()
    ]
    ((_, series),) = make_reader(spec, FakeNamer())(items)
    assert isinstance(series, Series)
    return series


@pytest.mark.parametrize(
    ("aggregate", "number"), [("", 7), ("sum", 4), ("avg", 1), ("min", -3), ("max", 7)], ids=lambda p: str(p)
)
def test_the_cpus_that_were_in_the_newest_interval_count(aggregate: str, number: int) -> None:
    # The third CPU was here an interval ago; the second one wrote last.
    parts = [(-3, 1, 11), (7, 2, 11), (100, 9, 6)]
    assert read(v.SeriesV(SECOND, 5, aggregate), {1: parts}).points == ((11 * SECOND, number),)


def test_old_buckets_are_left_out() -> None:
    found = read(v.SeriesV(SECOND, 3), {0: [(1, 1, 9)], 1: [(2, 1, 4)], 2: [(3, 1, 8)]})
    assert found.points == ((8 * SECOND, 3), (9 * SECOND, 1))


def test_what_was_zeroed_has_no_data() -> None:
    found = read(v.SeriesV(SECOND, 3), {0: [(0, 0, 0)]})
    assert found.points == ()
    assert make_text(v.SeriesV(SECOND, 3))(found) == b"<no data>"
    assert make_json(v.SeriesV(SECOND, 3))(found) == "[]"


def test_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    layout = v.SeriesV(SECOND // 5, 9)
    step = layout.interval
    series = Series(step, ((START, -400000), (START + step, 0), (START + 3 * step, 900000)))
    text = make_text(layout)(series).decode()
    assert text.splitlines() == [
        "             -400000                                        900000",
        "hh:mm:ss.ms  |___________________________________________________|",
        "00:00:00.000 *               .                                   | -400000",
        "00:00:00.200 |               *                                   | 0",
        "00:00:00.400 |               .                                   | -",
        "00:00:00.600 |               .                                   * 900000",
        "             v___________________________________________________v",
        "             -400000                                        900000",
    ]


@pytest.mark.parametrize(
    ("interval", "head", "clock"),
    [
        (2 * SECOND, "hh:mm:ss |", "00:00:00 *"),
        (1_500_000, "hh:mm:ss.μs    |", "00:00:00.000000 *"),
        (1500, "hh:mm:ss.ns        |", "00:00:00.000000000 *"),
    ],
)
def test_precision_follows_the_interval(interval: int, head: str, clock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    lines = (
        make_text(v.SeriesV(interval, 9))(Series(interval, ((START, 1), (START + interval, 2)))).decode().splitlines()
    )
    assert lines[1].startswith(head) and lines[2].startswith(clock)


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    text = make_json(v.SeriesV(SECOND, 9))(Series(SECOND, ((START, 5),)))
    assert text == '[{"interval_start":"2020-01-01 00:00:00.000000000","value":5}]'
