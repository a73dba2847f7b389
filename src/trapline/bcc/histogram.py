"""BCC's histogram texts: log2, linear and JSON-like, column for column."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from trapline.hints import Any

LOG2_SLOTS = 65
LINEAR_SLOTS = 1025
STARS = 40


def format_stars(value: int, greatest: int, width: int) -> str:
    """Return the bar of a row: `width` stars stand for `greatest`; a started star is not drawn."""
    return "*" * min(width, width * value // greatest) if greatest else ""


def _last_used(counts: Sequence[int]) -> int:
    return max((i for i, count in enumerate(counts) if count > 0), default=-1)


def format_log2_hist(counts: Sequence[int], label: str, strip_leading_zero: bool = False) -> Iterator[str]:
    """Yield the lines of a log2 histogram; slot i (from 1) counts values in ``[2**(i-1), 2**i - 1]``.

    Slot 1 holds 0 and 1.  Columns widen when a slot above 32 is used.
    """
    last = _last_used(counts)
    greatest = max(counts, default=0)
    wide = last > 32
    width = STARS // 2 if wide else STARS
    digits = 20 if wide else 10
    if last > 0:
        indent, columns = (15, 29) if wide else (5, 19)
        yield f"{'':{indent}}{label:<{columns}} : count     distribution"
    leading = strip_leading_zero
    for slot in range(1, last + 1):
        count = counts[slot]
        if leading and not count:
            continue
        leading = False
        low = 0 if slot == 1 else 1 << (slot - 1)
        high = (1 << slot) - 1
        bar = format_stars(count, greatest, width)
        yield f"{low:>{digits}} -> {high:<{digits}} : {count:<8} |{bar:<{width}}|"


def format_linear_hist(counts: Sequence[int], label: str, strip_leading_zero: bool = False) -> Iterator[str]:
    """Yield the lines of a linear histogram; slot i counts the value i."""
    last = _last_used(counts)
    greatest = max(counts, default=0)
    if last >= 0:
        yield f"     {label:<13} : count     distribution"
    leading = strip_leading_zero
    for slot in range(last + 1):
        count = counts[slot]
        if leading and not count:
            continue
        leading = False
        yield f"        {slot:<10} : {count:<8} |{format_stars(count, greatest, STARS):<{STARS}}|"


def build_json_hist(counts: Sequence[int], label: str, section: tuple[str, Any] | None = None) -> dict[str, Any]:
    """Return a log2 histogram as the dictionary that BCC prints: its slots, the label, and the local time."""
    rows = []
    start = 0
    for slot in range(1, max(_last_used(counts), 0) + 1):
        rows.append({"interval-start": start, "interval-end": (1 << slot) - 1, "count": int(counts[slot])})
        start = 1 << slot
    result: dict[str, Any] = {"ts": time.strftime("%Y-%m-%d %H:%M:%S"), "val_type": label, "data": rows}
    if section:
        result[section[0]] = section[1]
    return result


def build_json_linear_hist(counts: Sequence[int], label: str, section: tuple[str, Any] | None = None) -> dict[str, Any]:
    """Return a linear histogram as a dictionary: (value, count) rows, the label, and the local time."""
    rows = [{"value": slot, "count": int(counts[slot])} for slot in range(_last_used(counts) + 1)]
    result: dict[str, Any] = {"ts": time.strftime("%Y-%m-%d %H:%M:%S"), "val_type": label, "data": rows}
    if section:
        result[section[0]] = section[1]
    return result
