"""Histogram buckets: bucket index ⇄ bounds, for `HistV` and `LhistV`.

The code generator computes the same index in the kernel; the runtime turns indices back into bounds.
"""

from __future__ import annotations

MAX_BITS = 5
BUCKET_BYTES = 4  # of a bucket's index, which ends the keys of a histogram's map


def hist_index(value: int, bits: int = 0) -> int:
    """Return the bucket of `value` in a log2 histogram with ``2**bits`` sub-buckets per power of two.

    Bucket 0 holds negative values.  Values below ``2**bits`` have a bucket each, ``value + 1``.  For the others, with
    ``shift = floor(log2(value)) - bits``, the bucket is ``(shift << bits) + (value >> shift) + 1``: the top
    ``bits + 1`` bits of the value, counted on from those of the power of two before.

    Args:
        value: the value (s64).
        bits: 0 to 5.
    """
    if value < 0:
        return 0
    shift = max(value.bit_length() - 1 - bits, 0)
    return (shift << bits) + (value >> shift) + 1


def hist_low(index: int, bits: int = 0) -> int:
    """Return the least value of bucket `index` (at least 1) of a log2 histogram."""
    step = index - 1
    if step < 1 << bits:
        return step
    shift = (step >> bits) - 1
    return (step - (shift << bits)) << shift


def hist_bounds(index: int, bits: int = 0) -> tuple[int | None, int]:
    """Return ``(low, high)`` of a log2 histogram's bucket: it holds ``low <= value < high``.

    ``low`` is ``None`` for bucket 0, which has no lower bound (and ``high`` 0).
    """
    if index == 0:
        return None, 0
    return hist_low(index, bits), hist_low(index + 1, bits)


def hist_buckets(bits: int = 0) -> int:
    """Return the number of buckets: one more than the index of the greatest s64."""
    return hist_index((1 << 63) - 1, bits) + 1


def lhist_index(value: int, low: int, high: int, step: int) -> int:
    """Return the bucket of `value` in a linear histogram: 0 below `low`, the last one from `high` on."""
    if value < low:
        return 0
    if value >= high:
        return 1 + (high - low) // step
    return 1 + (value - low) // step


def lhist_bounds(index: int, low: int, high: int, step: int) -> tuple[int | None, int | None]:
    """Return ``(low, high)`` of a linear histogram's bucket; ``None`` where it is unbounded."""
    if index == 0:
        return None, low
    start = low + (index - 1) * step
    return start, (start + step if start + step <= high else None)


def lhist_buckets(low: int, high: int, step: int) -> int:
    """Return the number of buckets, with those for values below `low` and from `high` on."""
    return 2 + (high - low) // step
