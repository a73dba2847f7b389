"""The parts of an aggregate, one for each CPU, merged into its value."""

from __future__ import annotations

import struct
from collections.abc import Callable

from trapline.hints import Any
from trapline.ir import values as v
from trapline.runtime.objects import Stats

# One or more parts, each padded to a multiple of 8 bytes, to the aggregate's value.
Merge = Callable[[bytes | bytearray | memoryview], Any]

MASK = (1 << 64) - 1


def signed64(number: int) -> int:
    """Return the s64 with the same bits as `number` modulo 2**64."""
    number &= MASK
    return number - (1 << 64) if number >> 63 else number


def quotient(number: int, divisor: int) -> int:
    """Divide as C does: rounded towards zero."""
    return number // divisor if number >= 0 else -(-number // divisor)


def make_sum(signed: bool) -> Merge:
    """Compile the sum of 64-bit parts, modulo 2**64."""
    if signed:
        return lambda parts: signed64(sum(_words(parts)))
    return lambda parts: sum(_words(parts)) & MASK


def make_aggregate(value: v.Value) -> Merge | None:
    """Compile the merge of an aggregate's parts.

    Returns:
        The sum, least, greatest, average or `Stats` over all parts (of a histogram: one bucket's count); ``None`` when
        the layout is no aggregate.
    """
    if isinstance(value, v.CountV | v.HistV | v.LhistV):
        return make_sum(False)
    if isinstance(value, v.SumV):
        return make_sum(value.signed)
    if isinstance(value, v.MinV | v.MaxV):
        pick = min if isinstance(value, v.MinV) else max
        code = "q" if value.signed else "Q"

        def extreme(parts: bytes | bytearray | memoryview) -> int:
            words = _words(parts, code)
            return pick((words[i] for i in range(0, len(words), 2) if words[i + 1]), default=0)

        return extreme
    if isinstance(value, v.AvgV | v.StatsV):
        signed, full = value.signed, isinstance(value, v.StatsV)

        def average(parts: bytes | bytearray | memoryview) -> int | Stats:
            words = _words(parts)
            total = signed64(sum(words[0::2])) if signed else sum(words[0::2]) & MASK
            count = sum(words[1::2]) & MASK
            mean = quotient(total, count) if count else 0
            return Stats(count, mean, total) if full else mean

        return average
    return None


def _words(parts: bytes | bytearray | memoryview, code: str = "Q") -> tuple[int, ...]:
    return struct.unpack_from(f"<{len(parts) // 8}{code}", parts)
