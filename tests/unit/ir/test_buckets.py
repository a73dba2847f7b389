from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trapline.ir import buckets


@pytest.mark.parametrize(
    ("value", "bits", "index"),
    [
        (-1, 0, 0),
        (-(2**63), 0, 0),
        (0, 0, 1),
        (1, 0, 2),
        (2, 0, 3),
        (3, 0, 3),
        (4, 0, 4),
        (2**63 - 1, 0, 64),
        (0, 2, 1),
        (3, 2, 4),
        (4, 2, 5),
        (7, 2, 8),
        (8, 2, 9),
        (9, 2, 9),
        (10, 2, 10),
        (224, 2, 28),
    ],
)
def test_hist_index(value: int, bits: int, index: int) -> None:
    assert buckets.hist_index(value, bits) == index


@given(st.integers(0, 2**63 - 1), st.integers(0, buckets.MAX_BITS))
def test_value_lies_in_its_bucket(value: int, bits: int) -> None:
    index = buckets.hist_index(value, bits)
    low, high = buckets.hist_bounds(index, bits)
    assert low is not None
    assert low <= value < high
    assert index < buckets.hist_buckets(bits)
    assert (high - low) * 2**bits <= max(value, 2**bits)


@given(st.integers(1, 1900), st.integers(0, buckets.MAX_BITS))
def test_buckets_are_contiguous(index: int, bits: int) -> None:
    assert buckets.hist_bounds(index, bits)[1] == buckets.hist_bounds(index + 1, bits)[0]
    assert buckets.hist_index(buckets.hist_low(index, bits), bits) == index


def test_negative_bucket_is_unbounded() -> None:
    assert buckets.hist_bounds(0, 3) == (None, 0)


@pytest.mark.parametrize(("value", "index"), [(-6, 0), (-5, 1), (-4, 1), (-3, 2), (14, 10), (15, 11), (1000, 11)])
def test_lhist_index(value: int, index: int) -> None:
    assert buckets.lhist_index(value, -5, 15, 2) == index


@pytest.mark.parametrize(("index", "bounds"), [(0, (None, 0)), (1, (0, 10)), (10, (90, 100)), (11, (100, None))])
def test_lhist_bounds(index: int, bounds: tuple[int | None, int | None]) -> None:
    assert buckets.lhist_bounds(index, 0, 100, 10) == bounds


@given(st.integers(-(2**40), 2**40), st.integers(-1000, 1000), st.integers(1, 100), st.integers(1, 1000))
def test_lhist_value_lies_in_its_bucket(value: int, low: int, step: int, count: int) -> None:
    high = low + step * count
    index = buckets.lhist_index(value, low, high, step)
    bottom, top = buckets.lhist_bounds(index, low, high, step)
    assert bottom is None or bottom <= value
    assert top is None or value < top
    assert 0 <= index < buckets.lhist_buckets(low, high, step)
