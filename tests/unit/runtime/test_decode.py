from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER

from trapline.errors import DecodeError
from trapline.ir import values as v
from trapline.runtime.decode import make_decoder
from trapline.runtime.encode import make_encoder
from trapline.runtime.objects import Enumerator, KernelSymbol, Pointer, Record, Stack, Stats, UserSymbol

COLOUR = v.EnumV(4, False, "colour", ((0, "RED"), (1, "GREEN"), (1, "ALIAS")))
STRUCT = v.RecordV((("a", 0, v.IntV(4)), ("b", 8, v.StrV(4))), 12, "s")


def decoded(value: v.Value, data: bytes, offset: int = 0) -> Any:
    return make_decoder(value, NAMER)(memoryview(data), offset)


@pytest.mark.parametrize(
    ("value", "data", "expected"),
    [
        (v.IntV(1), b"\xff", -1),
        (v.IntV(1, False), b"\xff", 255),
        (v.IntV(2), b"\xfe\xff", -2),
        (v.IntV(4, False), b"\xff\xff\xff\xff", 0xFFFFFFFF),
        (v.IntV(8), b"\xff" * 8, -1),
        (v.IntV(8, False), b"\xff" * 8, 2**64 - 1),
        (v.IntV(16), b"\xff" * 16, -1),
        (v.IntV(16, False), b"\1" + bytes(15), 1),
        (v.BoolV(), b"\1", True),
        (v.BoolV(), b"\0", False),
        (COLOUR, b"\1\0\0\0", 1),
        (COLOUR, b"\0\0\0\0", 0),
        (v.PtrV(), struct.pack("<Q", 0xFFFF888000000000), 0xFFFF888000000000),
        (v.StrV(8), b"abc\0junk", "abc"),
        (v.StrV(4), b"abcd", "abcd"),
        (v.StrV(4), b"\0bcd", ""),
        (v.StrV(6), "é".encode() + b"\xff\0\0\0", "é\udcff"),
        (v.BufV(8), struct.pack("<I4s", 3, b"a\0bc"), b"a\0b"),
        (v.BufV(8), struct.pack("<I4s", 99, b"abcd"), b"abcd"),
        (v.InetV(), struct.pack("<I16s", 2, bytes([127, 0, 0, 1])), "127.0.0.1"),
        (v.InetV(), struct.pack("<I16s", 10, bytes(15) + b"\1"), "::1"),
        (v.InetV(), struct.pack("<I16s", 77, b""), ""),
        (v.MacV(), b"\x05\x04\x03\x02\x01\xab", "05:04:03:02:01:AB"),
        (v.UsernameV(), bytes(8), "root"),
        (v.CgroupPathV(), struct.pack("<Q", 5), "unified:/5"),
        (v.ProbeNameV(), struct.pack("<Q", 2), "kprobe:p2"),
        (v.ArrayV(v.IntV(2), 3), struct.pack("<3h", 1, -2, 3), (1, -2, 3)),
        (v.ArrayV(v.ArrayV(v.IntV(1), 2), 2), b"\1\2\3\4", ((1, 2), (3, 4))),
        (v.TupleV(((0, v.IntV(4)), (8, v.StrV(8))), 16), struct.pack("<i4x8s", -7, b"x"), (-7, "x")),
        (v.TupleV((), 0), b"", ()),
        (STRUCT, struct.pack("<i4x4s", 1, b"z"), Record({"a": 1, "b": "z"})),
        (v.CountV(), struct.pack("<Q", 7), 7),
        (v.SumV(), struct.pack("<q", -7), -7),
        (v.MinV(), struct.pack("<qQ", -7, 1), -7),
        (v.MaxV(), struct.pack("<qQ", -7, 0), 0),
        (v.AvgV(), struct.pack("<qQ", -7, 2), -3),
        (v.StatsV(), struct.pack("<qQ", -7, 2), Stats(2, -3, -7)),
        (v.BitsV(4, 3, 2, False), struct.pack("<I", 0b11000), 3),
        (v.BitsV(4, 3, 2, True), struct.pack("<I", 0b11000), -1),
        (v.BitsV(4, 3, 2, True), struct.pack("<I", 0b01000), 1),
    ],
)
def test_decode(value: v.Value, data: bytes, expected: object) -> None:
    assert decoded(value, data) == expected
    assert decoded(value, b"junk!" + data, 5) == expected


def test_enumerators_have_names() -> None:
    green, red, other = (decoded(COLOUR, struct.pack("<I", n)) for n in (1, 0, 9))
    assert isinstance(red, Enumerator)
    assert (str(green), str(red), str(other)) == ("GREEN", "RED", "9")
    assert red == 0
    assert other == 9


def test_symbols_and_pointers_name_themselves() -> None:
    pointer = decoded(v.PtrV(), struct.pack("<Q", 0x1234))
    assert isinstance(pointer, Pointer)
    assert str(pointer) == "0x1234"
    symbol = decoded(v.KsymV(), struct.pack("<Q", 0x99))
    assert isinstance(symbol, KernelSymbol)
    assert isinstance(symbol, str)
    assert (symbol.address, int(symbol), str(symbol), repr(symbol)) == (0x99, 0x99, "k99", "k99+1")
    assert symbol == "k99" and {symbol: 1}["k99"] == 1
    assert symbol == decoded(v.KsymV(), struct.pack("<Q", 0x99)) != decoded(v.KsymV(), struct.pack("<Q", 0x98))
    assert make_encoder(v.KsymV())(symbol) == struct.pack("<Q", 0x99)
    assert str(decoded(v.UsymV(), struct.pack("<QII", 0x10, 42, 0))) == "u10@42"
    assert str(decoded(v.TimestampV("%H"), struct.pack("<Q", 5))) == "%H:5:boot"


def test_stack() -> None:
    data = struct.pack("<II3Q", 0, 2, 0xA, 0xB, 0xC)
    stack = decoded(v.StackV(True, 3), data)
    assert stack.addresses == (0xA, 0xB)
    assert stack.symbols == ("ka+1", "kb+1")
    assert str(stack) == "\n        ka+1\n        kb+1\n"
    assert len(decoded(v.StackV(False, 3), struct.pack("<II3Q", 7, 99, 1, 2, 3))) == 3
    assert decoded(v.StackV(False, 1), struct.pack("<IIQ", 7, 1, 1)).symbols == ("u1@7+1",)


def test_record_is_a_read_only_mapping() -> None:
    record = Record({"a": 1, "b": "z"})
    assert (record.a, record["b"], dict(record)) == (1, "z", {"a": 1, "b": "z"})
    assert len({record, Record({"a": 1, "b": "z"})}) == 1
    with pytest.raises(AttributeError, match="read-only"):
        record.a = 2
    with pytest.raises(AttributeError, match="c"):
        _ = record.c


@pytest.mark.parametrize("value", [v.IntV(4), v.StrV(4), STRUCT, v.StackV(True, 2), v.BufV(8), v.ArrayV(v.PtrV(), 2)])
def test_short_input_is_a_decode_error(value: v.Value) -> None:
    decode = make_decoder(value, NAMER)
    with pytest.raises(DecodeError):
        decode(bytes(value.size - 1), 0)
    with pytest.raises(DecodeError):
        decode(bytes(value.size), 1)
    with pytest.raises(DecodeError):
        decode(bytes(value.size), -1)
    decode(bytes(value.size), 0)


SCALARS = st.one_of(
    st.tuples(st.builds(v.IntV, st.sampled_from([1, 2, 4, 8]), st.just(True)), st.integers(-128, 127)),
    st.tuples(st.builds(v.IntV, st.sampled_from([1, 2, 4, 8, 16]), st.just(False)), st.integers(0, 255)),
    st.tuples(st.just(v.StrV(16)), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4)),
    st.tuples(
        st.just(v.StrV(4)), st.binary(max_size=4).map(lambda b: b.split(b"\0")[0].decode("utf-8", "surrogateescape"))
    ),
    st.tuples(st.just(v.BoolV()), st.booleans()),
    st.tuples(st.just(v.PtrV()), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(v.BufV(12)), st.binary(max_size=8)),
    st.tuples(st.just(v.MacV()), st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":").upper())),
    st.tuples(st.just(v.UsymV()), st.builds(UserSymbol, st.integers(0, 99), st.integers(0, 99), st.just(NAMER))),
    st.tuples(
        st.just(v.StackV(True, 4)),
        st.lists(st.integers(0, 2**64 - 1), max_size=4).map(lambda a: Stack(tuple(a), 0, True, "bpftrace", NAMER)),
    ),
)


def _tuple_of(parts: list[tuple[v.Value, Any]]) -> tuple[v.Value, Any]:
    elements, offset = [], 0
    for value, _ in parts:
        elements.append((offset, value))
        offset += (value.size + 7) & ~7
    return v.TupleV(tuple(elements), offset), tuple(item for _, item in parts)


def _record_of(parts: list[tuple[v.Value, Any]]) -> tuple[v.Value, Any]:
    value, items = _tuple_of(parts)
    fields = tuple((f"f{i}", offset, element) for i, (offset, element) in enumerate(value.elements))
    return v.RecordV(fields, value.size), Record({f"f{i}": item for i, item in enumerate(items)})


CASES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(_tuple_of),
        st.lists(inner, min_size=1, max_size=3).map(_record_of),
        st.tuples(inner, st.integers(1, 3)).map(lambda p: (v.ArrayV(p[0][0], p[1]), (p[0][1],) * p[1])),
    ),
    max_leaves=8,
)


@given(CASES)
def test_encode_then_decode(case: tuple[v.Value, Any]) -> None:
    value, item = case
    data = make_encoder(value)(item)
    assert len(data) == value.size
    assert decoded(value, data) == item


@pytest.mark.parametrize(
    ("value", "item", "error"),
    [
        (v.IntV(1), 256, ValueError),
        (v.IntV(1, False), -1, ValueError),
        (v.IntV(4), "x", TypeError),
        (v.StrV(2), "abc", ValueError),
        (v.StrV(2), 5, TypeError),
        (v.TupleV(((0, v.IntV(4)),), 4), (1, 2), TypeError),
        (v.TupleV(((0, v.IntV(4)),), 4), 1, TypeError),
        (v.ArrayV(v.IntV(1), 2), (1,), ValueError),
        (STRUCT, {"a": 1}, TypeError),
        (v.BufV(6), b"abc", ValueError),
        (COLOUR, "BLUE", ValueError),
        (v.UsymV(), 5, TypeError),
        (v.StackV(True), (), TypeError),
    ],
)
def test_encode_refuses(value: v.Value, item: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_encoder(value)(item)


def test_encode_enumerator_by_name() -> None:
    assert make_encoder(COLOUR)("GREEN") == b"\1\0\0\0"


def test_aggregates_cannot_be_encoded() -> None:
    with pytest.raises(TypeError, match="AvgV"):
        make_encoder(v.AvgV())
