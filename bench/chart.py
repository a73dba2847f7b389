"""A small SVG writer: panels of curves over logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 74
_COLOURS = ("#1b6ca8", "#7fb2d6", "#888888")
_PEERS = {"bpftrace": "#c8553d", "BCC": "#c8553d"}


@dataclass(frozen=True)
class Panel:
    """Curves over the same sizes; all figures are positive."""

    title: str
    x_name: str
    y_name: str
    x: Sequence[float]
    curves: Mapping[str, Sequence[float]]


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """Return a picture of the panels; a dotted line rises as linear growth does."""
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDTH, rows * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        parts += [f'<g transform="translate({column * _WIDTH} {row * _HEIGHT})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    figures = [figure for curve in panel.curves.values() for figure in curve if figure > 0]
    x_axis = _Axis(panel.x, _LEFT, _WIDTH - _RIGHT)
    y_axis = _Axis(figures, _HEIGHT - _BOTTOM, _TOP)
    title = escape(f"{panel.title}, {panel.y_name}")
    parts = [
        f'<text x="{_LEFT}" y="18" font-size="13" font-weight="bold">{title}</text>',
        f'<text x="{_LEFT}" y="{_HEIGHT - _BOTTOM + 32}">{escape(panel.x_name)}</text>',
    ]
    for value, place in x_axis.ticks():
        parts.append(_line([(place, _TOP), (place, _HEIGHT - _BOTTOM)], "#e4e4e4"))
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{_number(value)}</text>')
    for value, place in y_axis.ticks():
        parts.append(_line([(_LEFT, place), (_WIDTH - _RIGHT, place)], "#e4e4e4"))
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    parts.append(_slope(x_axis, y_axis))
    for number, (name, curve) in enumerate(panel.curves.items()):
        points = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(panel.x, curve, strict=True) if y > 0]
        colour = _PEERS.get(name) or _COLOURS[number % len(_COLOURS)]
        parts.append(_line(points, colour, 2))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        left, top = _LEFT + 110 * number, _HEIGHT - 20
        parts.append(f'<rect x="{left}" y="{top - 9}" width="12" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 17}" y="{top}">{escape(name)}</text>')
    return parts


class _Axis:
    """A logarithmic scale that spans whole decades or their halves: from `start` to `end`, in pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(2 * math.log10(min(values)) + 1e-9) / 2
        self._high = max(math.ceil(2 * math.log10(max(values)) - 1e-9) / 2, self._low + 0.5)
        self.start, self.end = start, end
        self.scale = (end - start) / (self._high - self._low)  # pixels for a decade

    def place(self, value: float) -> float:
        return self.start + (math.log10(value) - self._low) * self.scale

    def ticks(self) -> list[tuple[float, float]]:
        """Return (value, place) of 1, 10 … and, where there are few of those, of 2 and 5 times that."""
        steps = (1.0,) if self._high - self._low >= 2 else (1.0, 2.0, 5.0)
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        values = [step * 10.0**decade for decade in decades for step in steps]
        low, high = sorted((self.start, self.end))
        return [(value, place) for value in values if low - 0.5 <= (place := self.place(value)) <= high + 0.5]


def _slope(x: _Axis, y: _Axis) -> str:
    """A dotted line that rises as what grows linearly does, to the upper right corner."""
    per_pixel = y.scale / x.scale
    left = max(x.start, x.end - (y.start - y.end) / abs(per_pixel))
    return _line([(left, y.end - (x.end - left) * per_pixel), (x.end, y.end)], "#999999", 1, ' stroke-dasharray="2 4"')


def _line(points: Sequence[tuple[float, float]], colour: str, width: float = 1, more: str = "") -> str:
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{width}"{more}/>'


def _number(value: float) -> str:
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"
