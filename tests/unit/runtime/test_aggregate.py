from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER, FakeMap, map_spec, u64

from trapline.ir import values as v
from trapline.ir.buckets import hist_index
from trapline.ir.spec import MapSpec
from trapline.runtime.aggregate import make_merge, make_reader, top_and_divide
from trapline.runtime.maps import MapReader, MapView
from trapline.runtime.merge import quotient
from trapline.runtime.objects import Bucket, Histogram, Stats

I32, I64, U64 = v.IntV(4), v.IntV(8), v.IntV(8, False)
PAIR = v.TupleV(((0, I32), (8, v.StrV(8))), 16)


@pytest.mark.parametrize(
    ("value", "parts", "expected"),
    [
        (v.CountV(), u64(3, 4), 7),
        (v.SumV(), u64(-3, 1), -2),
        (v.SumV(signed=False), u64(2**64 - 1, 0), 2**64 - 1),
        (v.SumV(), u64(2**63 - 1, 1), -(2**63)),
        (v.MinV(), u64(0, 0, -5, 1, 3, 1), -5),
        (v.MinV(signed=False), u64(0, 0, -5, 1, 3, 1), 3),
        (v.MaxV(), u64(-5, 1, 0, 0), -5),
        (v.MaxV(signed=False), u64(-5, 1, 7, 1), 2**64 - 5),
        (v.MinV(), u64(0, 0, 0, 0), 0),
        (v.AvgV(), u64(10, 3, 1, 1), 2),
        (v.AvgV(), u64(-7, 1, 0, 1), -3),
        (v.AvgV(signed=False), u64(-1, 1, 0, 0), 2**64 - 1),
        (v.AvgV(), u64(0, 0, 0, 0), 0),
        (v.StatsV(), u64(5, 1, 8, 1), Stats(2, 6, 13)),
        (v.StatsV(), u64(-5, 1), Stats(1, -5, -5)),
        (v.StatsV(), u64(0, 0), Stats(0, 0, 0)),
        (I64, u64(-1, 3), 2),
    ],
)
def test_merge(value: v.Value, parts: bytes, expected: object) -> None:
    assert make_merge(value, NAMER)(parts) == expected
    assert make_merge(value, NAMER)(memoryview(parts)) == expected


def test_merge_of_plain_maps_takes_the_value() -> None:
    assert make_merge(I64, NAMER, per_cpu=False)(u64(-1)) == -1
    assert make_merge(v.StrV(8), NAMER, per_cpu=False)(b"abc\0\0\0\0\0") == "abc"


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8))
def test_average_is_cs(numbers: list[int]) -> None:
    total = (sum(numbers) + 2**63) % 2**64 - 2**63
    merged = make_merge(v.StatsV(), NAMER)(u64(*[word for n in numbers for word in (n, 1)]))
    assert merged == Stats(len(numbers), int(total / len(numbers)) if abs(total) < 2**52 else merged.average, total)
    assert abs(merged.average * len(numbers)) <= abs(total) < (abs(merged.average) + 1) * len(numbers)


def test_quotient_rounds_towards_zero() -> None:
    assert [quotient(n, 2) for n in (-3, 3, -2, 0)] == [-1, 1, -1, 0]


def read(key: v.Value | None, value: v.Value, *items: tuple[bytes, bytes], type: str = "HASH") -> list[tuple]:
    return make_reader(map_spec("@", key, value, type=type, scalar=key is None), NAMER)(items)


def key32(*numbers: int) -> list[bytes]:
    return [struct.pack("<i", n) for n in numbers]


def test_order_by_value() -> None:
    keys = key32(1, 2, 0, -4)
    assert read(I32, I64, *zip(keys, [u64(5), u64(-3), u64(2), u64(2)], strict=True)) == [
        (2, -3),
        (-4, 2),
        (0, 2),
        (1, 5),
    ]
    counts = read(I32, v.CountV(), (keys[0], u64(1, 1)), (keys[1], u64(0, 1)), type="PERCPU_HASH")
    assert counts == [(2, 1), (1, 2)]
    least = read(I32, v.MinV(), (keys[0], u64(3, 1)), (keys[1], u64(-5, 1)), type="PERCPU_HASH")
    assert least == [(2, -5), (1, 3)]
    stats = read(I32, v.StatsV(), (keys[0], u64(9, 1)), (keys[1], u64(-5, 1)), type="PERCPU_HASH")
    assert [key for key, _ in stats] == [2, 1]


def test_order_by_key() -> None:
    keys = [struct.pack("<i4x8s", n, s) for n, s in [(2, b"b"), (1, b"z"), (-1, b"q"), (1, b"a\0zz")]]
    assert [key for key, _ in read(PAIR, v.StrV(8), *[(key, b"x" * 8) for key in keys])] == [
        (-1, "q"),
        (1, "a"),
        (1, "z"),
        (2, "b"),
    ]
    strings = [s.ljust(8, b"\0") for s in (b"b", b"a", b"ab")]
    assert [key for key, _ in read(v.StrV(8), v.PtrV(), *[(key, u64(1)) for key in strings])] == ["a", "ab", "b"]
    records = v.RecordV((("n", 0, v.IntV(2)),), 2)
    found = read(records, v.StrV(8), *[(struct.pack("<h", n), b"x" * 8) for n in (1, -1)])
    assert [key.n for key, _ in found] == [-1, 1]


def hist_items(key: bytes, numbers: list[int], bits: int = 0) -> list[tuple[bytes, bytes]]:
    items: dict[bytes, int] = {}
    for n in numbers:
        bucket = key + struct.pack("<I", hist_index(n, bits))
        items[bucket] = items.get(bucket, 0) + 1
    return [(bucket, u64(0, count)) for bucket, count in items.items()]


def test_histograms_by_total_then_key() -> None:
    one, two, three = key32(1, 2, 3)
    items = hist_items(one, [-1, 0, 5, 5]) + hist_items(three, [3]) + hist_items(two, [2])
    found = read(I32, v.HistV(), *items, type="PERCPU_HASH")
    assert [(key, histogram.total) for key, histogram in found] == [(2, 1), (3, 1), (1, 4)]
    assert found[2][1] == Histogram(
        (Bucket(None, 0, 1), Bucket(0, 1, 1), Bucket(1, 2, 0), Bucket(2, 4, 0), Bucket(4, 8, 2))
    )
    scalar = read(None, v.HistV(), *hist_items(b"", [7]), type="PERCPU_HASH")
    assert scalar == [(None, Histogram((Bucket(4, 8, 1),)))]


def test_zeroed_histogram_is_empty() -> None:
    assert read(I32, v.HistV(), (key32(1)[0] + struct.pack("<I", 3), u64(0, 0)), type="PERCPU_HASH") == [
        (1, Histogram(()))
    ]


def test_linear_histogram() -> None:
    items = [(struct.pack("<I", i), u64(*counts)) for i, counts in ((0, (1, 0)), (2, (1, 1)), (3, (4, 0)))]
    assert read(None, v.LhistV(0, 20, 10), *items, type="PERCPU_HASH") == [
        (None, Histogram((Bucket(None, 0, 1), Bucket(0, 10, 0), Bucket(10, 20, 2), Bucket(20, None, 4))))
    ]


def test_top_and_divide() -> None:
    items = [(1, -3), (2, 5), (3, 20)]
    assert top_and_divide(items, I64, 2, 0) == [(2, 5), (3, 20)]
    assert top_and_divide(items, I64, 9, 2) == [(1, -1), (2, 2), (3, 10)]
    assert top_and_divide([(1, Stats(2, 7, 14))], v.StatsV(), 0, 2) == [(1, Stats(2, 3, 14))]
    histogram = Histogram((Bucket(0, 1, 5),))
    assert top_and_divide([(1, histogram)], v.HistV(), 0, 2) == [(1, Histogram((Bucket(0, 1, 2),)))]
    assert top_and_divide([(1, histogram)], v.LhistV(0, 9, 3), 0, 2) == [(1, histogram)]
    assert top_and_divide([("a", "x")], v.StrV(8), 0, 2) == [("a", "x")]


def test_printed_scalars_that_were_never_set_are_zero() -> None:
    def shown(key: v.Value | None, value: v.Value) -> list[tuple]:
        return MapReader(FakeMap(map_spec("@", key, value, scalar=key is None)), NAMER).read_shown()

    assert shown(None, I64) == [(None, 0)]
    assert shown(None, v.StrV(5)) == [(None, "")]
    assert shown(None, v.AvgV()) == [(None, 0)]
    assert shown(None, v.StatsV()) == [(None, Stats(0, 0, 0))]
    assert shown(None, v.HistV()) == shown(I64, I64) == []


def test_internal_maps_have_no_reader() -> None:
    with pytest.raises(ValueError, match="no layout"):
        make_reader(MapSpec(".ring", "RINGBUF", 0, 0, 4096), NAMER)


# -- the mapping


def test_view_of_a_plain_map() -> None:
    view = MapView(FakeMap(map_spec("@x", PAIR, I64)), NAMER)
    view[(1, "a")] = 5
    view[(2, "b")] = -6
    assert dict(view) == {(2, "b"): -6, (1, "a"): 5}
    assert (len(view), view[(1, "a")], (3, "c") in view) == (2, 5, False)
    with pytest.raises(KeyError):
        _ = view[(9, "x")]
    del view[(1, "a")]
    with pytest.raises(KeyError):
        del view[(1, "a")]
    view.zero()
    assert dict(view) == {(2, "b"): 0}
    view.clear()
    assert not view


def test_view_of_aggregates() -> None:
    keys = key32(1, 2)
    counts = FakeMap(map_spec("@c", I32, v.CountV(), type="PERCPU_HASH"), [(keys[0], u64(1, 2)), (keys[1], u64(0, 1))])
    view = MapView(counts, NAMER)
    assert (view[1], dict(view), view.items_sorted(top=1)) == (3, {2: 1, 1: 3}, [(1, 3)])
    with pytest.raises(TypeError, match="@c"):
        view[1] = 4
    scalar = MapView(
        FakeMap(map_spec("@s", None, v.AvgV(), scalar=True, type="PERCPU_HASH"), [(u64(0), u64(6, 2))]), NAMER
    )
    assert (scalar.value, scalar[None], list(scalar)) == (3, 3, [None])
    with pytest.raises(KeyError):
        _ = scalar[1]
    assert MapView(FakeMap(map_spec("@s", None, I64, scalar=True)), NAMER).value is None


def test_view_of_histograms() -> None:
    raw = FakeMap(map_spec("@h", I32, v.HistV(), type="PERCPU_HASH"), hist_items(key32(1)[0], [5, 6]))
    view = MapView(raw, NAMER)
    assert view[1] == Histogram((Bucket(4, 8, 2),))
    with pytest.raises(KeyError):
        _ = view[2]
    with pytest.raises(TypeError):
        del view[1]
    with pytest.raises(TypeError):
        view[1] = 5


@given(
    elements=st.dictionaries(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2)),
    value=st.sampled_from([I64, U64, v.CountV(), v.SumV(), v.SumV(signed=False)]),
    key=st.sampled_from([I32, v.IntV(4, False)]),
)
def test_maps_of_numbers_are_read_as_others(elements: dict[int, list[int]], value: v.Value, key: v.IntV) -> None:
    """The key of the other map is a tuple of that number: it is read element by element."""
    raw = [(struct.pack("<I", number), struct.pack("<2Q", *parts)) for number, parts in elements.items()]
    one = make_reader(map_spec("@", key, value, type="PERCPU_HASH"), NAMER)
    other = make_reader(map_spec("@", v.TupleV(((0, key),), 4), value, type="PERCPU_HASH"), NAMER)
    assert one(raw) == [(number, item) for (number,), item in other(raw)]
