from __future__ import annotations

import pytest

from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.formats import check_format, conversions
from trapline.frontends.bpftrace.readers import value_of
from trapline.ir import values as v


@pytest.mark.parametrize(
    ("value", "text", "flexible"),
    [(0, "int8", True), (127, "int8", True), (128, "int16", True), (-129, "int16", False), (1 << 31, "int64", True),
     ((1 << 63) - 1, "int64", True), (1 << 63, "uint64", False)],
)  # fmt: skip
def test_literals_take_the_smallest_signed_type(value: int, text: str, flexible: bool) -> None:
    type_ = t.literal_type(value)
    assert (str(type_), type_.flexible) == (text, flexible)


def test_tuples_are_laid_out_like_structs() -> None:
    type_ = t.TupleT((t.IntT(1), t.INT64, t.StringT(3), t.IntT(2)))
    assert type_.offsets == (0, 8, 16, 20)
    assert type_.size == 24


def test_formats_are_checked_against_their_arguments() -> None:
    assert conversions("%d %-5s %% %rx %lld") == ["d", "s", "rx", "d"]
    assert list(check_format("%d %s", [t.INT64, t.StringT(4)], "printf")) == []
    assert [i for i, _ in check_format("%d %s %r", [t.StringT(1), t.VOID, t.INT64], "printf")] == [0, 1, 2]
    assert list(check_format("%s %s", [t.INT64, t.AggregateT("count", False)], "printf")) == []
    assert [i for i, _ in check_format("%s", [t.AggregateT("hist", False, (0,))], "printf")] == [0]
    assert [i for i, _ in check_format("%d", [], "printf")] == [-1]
    assert [i for i, _ in check_format("", [t.INT64], "printf")] == [-1]
    assert list(check_format("%s%s%s", [t.BOOL, t.WordT("ksym_t"), t.StackT(True)], "printf")) == []


def test_readers_know_every_printable_type() -> None:
    assert value_of(t.TupleT((t.IntT(1), t.StringT(4)))) == v.TupleV(((0, v.IntV(1)), (1, v.StrV(4))), 5)
    assert value_of(t.WordT("timestamp", "%H")) == v.TimestampV("%H")
    assert value_of(t.AggregateT("lhist", True, (0, 10, 1))) == v.LhistV(0, 10, 1)
    assert value_of(t.VOID) is None
