"""Time series: the buckets of all CPUs merged into points, and how points are shown.

@:
             36                                                196
hh:mm:ss.ms  |___________________________________________________|
20:22:43.400 *                                                   | 36
20:22:43.600 |        *                                          | 64
             v___________________________________________________v
             36                                                196
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable

from trapline.hints import Any
from trapline.ir import values as v
from trapline.ir.buckets import BUCKET_BYTES
from trapline.ir.spec import MapSpec
from trapline.runtime.decode import Buffer, Decoder
from trapline.runtime.merge import quotient, signed64
from trapline.runtime.objects import Series

_PART = struct.Struct("<QQQ")
_WIDTH = 51  # of the plane between its two borders
_NANO = 1_000_000_000
_MASK = (1 << 64) - 1
# Divisor of the interval, digits of a second's fraction, and how their unit is called.
_PRECISIONS = ((_NANO, 0, ""), (1_000_000, 3, ".ms"), (1000, 6, ".μs"), (1, 9, ".ns"))


def make_series_reader(
    spec: MapSpec, value: v.SeriesV, key: Decoder, order: Callable[[Buffer], Any]
) -> Callable[[Iterable[tuple[Buffer, Buffer]]], list[tuple[Any, Series]]]:
    """Compile what decodes a map of time series.

    Args:
        spec: the map.
        value: its layout.
        key: decodes a key.
        order: the sort key of a raw key.
    """
    size = spec.key_size - BUCKET_BYTES

    def read(items: Iterable[tuple[Buffer, Buffer]]) -> list[tuple[Any, Series]]:
        groups: dict[bytes, list[tuple[int, int]]] = {}
        for raw, parts in items:
            points = groups.setdefault(bytes(raw[:size]), [])
            point = _merge(value, list(_PART.iter_unpack(parts)))
            if point is not None:
                points.append(point)
        return [(key(raw, 0), _series(value, groups[raw])) for raw in sorted(groups, key=order)]

    return read


def _merge(value: v.SeriesV, parts: list[tuple[int, int, int]]) -> tuple[int, int] | None:
    """Return (epoch, number) of a bucket: what the CPUs that were in its newest interval have."""
    newest = max(epoch for _, _, epoch in parts)
    if not newest:
        return None
    words = [(number, extra) for number, extra, epoch in parts if epoch == newest]
    numbers = [signed64(number) if value.signed else number for number, _ in words]
    if value.aggregate in ("sum", "avg"):
        total = signed64(sum(numbers)) if value.signed else sum(numbers) & _MASK
        return newest, total if value.aggregate == "sum" else quotient(total, sum(extra for _, extra in words))
    if value.aggregate:
        return newest, min(numbers) if value.aggregate == "min" else max(numbers)
    return newest, max(zip([extra for _, extra in words], numbers, strict=True))[1]


def _series(value: v.SeriesV, points: list[tuple[int, int]]) -> Series:
    points.sort()
    kept = [(epoch, number) for epoch, number in points if epoch > points[-1][0] - value.count]
    return Series(value.interval, tuple([(epoch * value.interval, number) for epoch, number in kept]))


# -- text


def series_text(value: v.SeriesV, series: Series) -> bytes:
    """Return the chart of a series: a line for each interval from the first point to the last."""
    if not series.points:
        return b"<no data>"
    digits, unit = _precision(series)
    margin = " " * (9 + digits + bool(digits))
    low = min(number for _, number in series.points)
    high = max(number for _, number in series.points)
    if low == high:
        low, high = low - 1, high + 1
    labels = f"{margin}{low}{high:>{_WIDTH + 2 - len(str(low))}}\n"
    head = f"hh:mm:ss{unit}"
    # As in bpftrace, the unit's bytes are counted: behind μs is a space less.
    lines = [labels, head + " " * (len(margin) - len(head.encode())) + f"|{'_' * _WIDTH}|\n"]
    known = dict(series.points)
    for start in range(series.points[0][0], series.points[-1][0] + 1, series.interval):
        number = known.get(start)
        lines.append(f"{_clock(start, digits)} {_plane(number, low, high)} {'-' if number is None else number}\n")
    lines += [f"{margin}v{'_' * _WIDTH}v\n", labels]
    return "".join(lines).encode()


def _precision(series: Series) -> tuple[int, str]:
    if len(series.points) > 1:
        for divisor, digits, unit in _PRECISIONS:
            if series.interval % divisor == 0:
                return digits, unit
    return _PRECISIONS[-1][1:]


def _clock(nanoseconds: int, digits: int) -> str:
    seconds, rest = divmod(nanoseconds, _NANO)
    text = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{text}.{rest:09}"[: 9 + digits] if digits else text


def _plane(number: int | None, low: int, high: int) -> str:
    cells = ["|", *" " * _WIDTH, "|"]
    if low < 0 < high:
        cells[_column(0, low, high)] = "."
    if number is not None:
        cells[_column(number, low, high)] = "*"
    return "".join(cells)


def _column(number: int, low: int, high: int) -> int:
    return (number - low) * (_WIDTH + 1) // (high - low)


# -- JSON


def series_json(value: v.SeriesV, series: Series) -> str:
    """Return a list of the points."""
    from trapline.runtime.display import json_number

    points = []
    for start, number in series.points:
        seconds, rest = divmod(start, _NANO)
        text = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest:09}"
        points.append(f'{{"interval_start":"{text}","value":{json_number(number)}}}')
    return "[" + ",".join(points) + "]"
