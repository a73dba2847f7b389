from __future__ import annotations

import pytest

from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.promotion import fits, holds, promote, storable
from trapline.ir.types import Space

UINT8, INT16, UINT16 = t.IntT(1, False), t.IntT(2), t.IntT(2, False)
COLOUR = t.EnumT("colour", 4, False, ((0, "red"),))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (t.literal_type(1), t.UINT64, "uint64"),
        (t.literal_type(300), UINT8, "uint16"),
        (t.literal_type(1), t.literal_type(300), "int16"),
        (t.literal_type(-1), t.UINT64, "int64"),
        (t.literal_type(-1), UINT8, "int16"),
        (t.UINT32, t.INT64, "int64"),
        (t.UINT32, t.INT32, "int64"),
        (t.INT8, UINT16, "int32"),
        (UINT8, t.UINT32, "uint32"),
        (COLOUR, t.literal_type(1), "uint32"),
        (COLOUR, COLOUR, "enum colour"),
        (t.StringT(3), t.StringT(16), "string[16]"),
        (t.UNKNOWN, t.BOOL, "bool"),
        (t.TupleT((t.literal_type(1), t.StringT(2))), t.TupleT((t.UINT64, t.StringT(5))), "(uint64,string[5])"),
        (t.AggregateT("sum", False), t.AggregateT("sum", True), "sum_t"),
    ],
)
def test_promoted_types_hold_both(a: t.Type, b: t.Type, expected: str) -> None:
    assert str(promote(a, b)) == expected
    assert str(promote(b, a)) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [(t.INT64, t.StringT(4)), (t.AggregateT("count"), t.INT64), (t.AggregateT("count"), t.AggregateT("sum")),
     (t.StackT(True), t.StackT(False)), (t.TupleT((t.INT64,)), t.TupleT((t.INT64, t.INT64))), (t.BOOL, t.INT8),
     (t.PtrT(t.VOID), t.PtrT(t.INT8)), (t.PtrT(t.INT8), t.literal_type(0)),
     (t.NamedTupleT(("a",), (t.INT8,)), t.NamedTupleT(("b",), (t.INT8,)))],
)  # fmt: skip
def test_some_types_have_nothing_in_common(a: t.Type, b: t.Type) -> None:
    assert promote(a, b) is None


def test_records_are_promoted_by_name() -> None:
    one = t.NamedTupleT(("a", "b"), (t.literal_type(1), t.StringT(2)))
    two = t.NamedTupleT(("b", "a"), (t.StringT(9), t.literal_type(300)))
    assert str(promote(one, two)) == "record { .a = int16, .b = string[9] }"
    assert str(promote(two, one)) == "record { .b = string[9], .a = int16 }"


def test_pointers_to_different_spaces_become_unknown() -> None:
    merged = promote(t.PtrT(t.INT8, Space.USER), t.PtrT(t.INT8, Space.KERNEL))
    assert isinstance(merged, t.PtrT)
    assert merged.space is Space.UNKNOWN


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [(t.INT8, INT16, True), (INT16, t.INT8, False), (UINT8, INT16, True), (UINT8, t.INT8, False),
     (t.INT8, t.UINT64, False), (t.literal_type(5), t.UINT64, True), (COLOUR, t.INT32, False), (COLOUR, t.INT64, True),
     (t.BOOL, t.INT8, True)],
)  # fmt: skip
def test_what_fits_without_loss(given: t.Type, wanted: t.Type, expected: bool) -> None:
    assert fits(given, wanted) is expected


def test_which_literals_a_type_has() -> None:
    assert holds(t.INT8, -128) and holds(t.INT8, 127) and not holds(t.INT8, 128)
    assert holds(UINT8, 255) and not holds(UINT8, 256) and not holds(UINT8, -1)


def test_declared_places_take_integers_that_may_lose_bits_but_no_longer_strings() -> None:
    assert storable(t.UINT64, t.INT8)
    assert storable(t.TupleT((t.UINT64, t.StringT(2))), t.TupleT((t.INT8, t.StringT(4))))
    assert not storable(t.StringT(9), t.StringT(4))
    assert not storable(t.INT8, t.BOOL)
