"""Expected texts are what bpftrace 0.27.1 printed for the same program, except where docs/differences.md says so."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER

from trapline.ir import values as v
from trapline.ir.spec import Field
from trapline.runtime.encode import make_encoder
from trapline.runtime.format import make_printf, parse_format

I8, I16, I32, I64 = (v.IntV(size) for size in (1, 2, 4, 8))
U8, U16, U32, U64 = (v.IntV(size, False) for size in (1, 2, 4, 8))
S = v.StrV(16)


def printf(format: str, *args: tuple[v.Value, object], trailer: bytes = b"..") -> bytes:
    record = bytearray(b"\xaa" * 8)
    fields = []
    for value, item in args:
        record += b"\xaa" * (-len(record) % 8)
        fields.append(Field(len(record), value))
        record += make_encoder(value)(item)
    show = make_printf(format, tuple(fields), NAMER, trailer)
    text = show(bytes(record), 0)
    assert show(memoryview(b"123" + bytes(record)), 3) == text
    return text


@pytest.mark.parametrize(
    ("format", "args", "expected"),
    [
        ("%d", [(I64, 1 << 33)], b"0"),
        ("%5d|%-5d|%05d", [(I32, 1), (I32, 2), (I32, 3)], b"    1|2    |00003"),
        ("%x %x %X %o", [(I32, 255), (I8, -1), (I32, 255), (I32, 8)], b"ff ffffffff FF 10"),
        ("%c %s|%10s|%-10s|", [(I32, 65), (S, "abc"), (S, "abc"), (S, "abc")], b"A abc|       abc|abc       |"),
        ("%p %p", [(I64, 123), (I64, 0)], b"0x7b 0"),
        ("%lld %hhd", [(I8, -1), (I32, 300)], b"-1 44"),
        ("%+d", [(I32, 4)], b"+4"),
        ("%#x %#o", [(I32, 255), (I32, 8)], b"0xff 010"),
        ("%#x %#X %#o", [(I32, 0), (I32, 255), (I32, 0)], b"0 0XFF 0"),
        ("%u %lx %ld", [(I8, -1), (I8, -1), (I64, 1 << 33)], b"4294967295 ffffffffffffffff 8589934592"),
        ("%3c|%#5x|%-#5x|", [(I32, 66), (I32, 7), (I32, 7)], b"  B|  0x7|0x7  |"),
        (
            "%hx %hhx %jx %zx %tx",
            [(I64, 0x12345678ABCDEF)] * 5,
            b"cdef ef 12345678abcdef 12345678abcdef 12345678abcdef",
        ),
        ("%i %i", [(I16, -1), (U8, 255)], b"-1 255"),
        ("%x %u %x", [(I16, -1), (I16, -1), (I64, -1)], b"ffffffff 4294967295 ffffffff"),
        ("%lx %lu", [(I16, -1), (I32, -1)], b"ffffffffffffffff 18446744073709551615"),
        ("%d %d", [(U64, 2**64 - 4), (U32, 2**32 - 1)], b"-4 -1"),
        ("%c%c", [(I32, 0), (I32, 300)], b"\0,"),
        ("%d %s", [(v.BoolV(), True), (v.BoolV(), True)], b"1 true"),
        ("%5s|%-6s|", [(I32, 5), (v.BoolV(), True)], b"    5|true  |"),
        ("100%% %s%%\n", [(S, "a%d")], b"100% a%d%\n"),
        ("no arguments %%\n", [], b"no arguments %\n"),
        ("é %s\n", [(S, "ü")], "é ü\n".encode()),
        ("%s %s %s", [(I8, -7), (U8, 200), (U64, 2**64 - 1)], b"-7 200 18446744073709551615"),
        ("%5s|", [(S, "é")], "   é|".encode()),
        ("%+5d|%-+5d|", [(I32, 3), (I32, 3)], b"   +3|+3   |"),
    ],
)
def test_as_bpftrace(format: str, args: list[tuple[v.Value, object]], expected: bytes) -> None:
    assert printf(format, *args) == expected


@pytest.mark.parametrize(
    ("format", "args", "expected"),
    [
        ("%.2s|%10.2s|%-8.2s|", [(S, "abcdef")] * 3, b"ab|        ab|ab      |"),
        ("% d|% d", [(I32, 4), (I32, -4)], b" 4|-4"),
        ("%06d", [(I32, -5)], b"-00005"),
        ("%.5d|%8.3d|%08.3d", [(I32, 42)] * 3, b"00042|     042|     042"),
        ("%-6s|", [(v.TupleV(((0, I32), (4, I32)), 8), (1, 2))], b"(1, 2)|"),
    ],
)
def test_as_c_where_bpftrace_ignores_it(format: str, args: list[tuple[v.Value, object]], expected: bytes) -> None:
    assert printf(format, *args) == expected


def test_buffers() -> None:
    buffer = v.BufV(12)
    assert printf("[%r] [%rx] [%rh]", *[(buffer, b"a\x01b\xff")] * 3) == (
        b"[a\\x01b\\xff] [\\x61\\x01\\x62\\xff] [61 01 62 ff]"
    )
    assert printf("%r|%s", (buffer, b'q"\\\n'), (buffer, b"")) == b'q"\\\\x0a|'


def test_values_as_strings() -> None:
    record = v.RecordV((("a", 0, I32), ("b", 8, S)), 24)
    nested = v.TupleV(((0, I32), (8, S), (24, v.TupleV(((0, I32), (4, I32)), 8))), 32)
    assert printf("%s %s", (nested, (1, "a", (2, 3))), (record, {"a": 1, "b": "z"})) == (
        b"(1, a, (2, 3)) { .a = 1, .b = z }"
    )
    colour = v.EnumV(4, False, "colour", ((0, "RED"), (1, "GREEN")))
    assert printf("%s %d %s %s", (colour, 1), (colour, 1), (colour, 0), (colour, 7)) == b"GREEN 1 RED 7"
    assert printf("%s %p %llx", *[(v.PtrV(), 0xFFFF888000001000)] * 3) == (
        b"0xffff888000001000 0xffff888000001000 ffff888000001000"
    )
    assert printf("%s %s %llx", (v.KsymV(), 0x99), (v.UsernameV(), 0), (v.KsymV(), 0x99)) == b"k99 root 99"
    assert printf("%s", (v.MacV(), "05:04:03:02:01:AB")) == b"05:04:03:02:01:AB"
    assert printf("%s", (v.InetV(), "127.0.0.1")) == b"127.0.0.1"


def test_strings_pass_through_and_truncation_shows() -> None:
    assert printf("%s|", (v.StrV(4), b"\xff\xfe\x01")) == b"\xff\xfe\x01|"
    assert printf("%s|%s|", (v.StrV(4), "abcd"), (v.StrV(4), "abc"), trailer=b"zz") == b"abcdzz|abc|"


def test_bit_fields_and_wide_integers() -> None:
    bits = v.BitsV(4, 3, 2, True)
    show = make_printf("%d %u %x", tuple(Field(0, bits) for _ in range(3)), NAMER)
    assert show(struct.pack("<I", 0b11000), 0) == b"-1 4294967295 ffffffff"
    assert printf("%lld %s", (v.IntV(16), -5), (v.IntV(16), -5)) == b"-5 -5"


def test_the_same_bytes_twice() -> None:
    show = make_printf("%d %s %d", (Field(0, I32), Field(0, v.StrV(4)), Field(2, I16)), NAMER)
    assert show(b"AB\x05\0", 0) == b"344641 AB\x05 5"


def test_number_of_arguments() -> None:
    with pytest.raises(ValueError, match="needs 2 arguments, not 1"):
        make_printf("%d %d", (Field(0, I32),), NAMER)


def test_parse_keeps_what_is_no_conversion() -> None:
    texts, conversions = parse_format("50% of %-+8.3lld%q")
    assert texts == [b"50", b"f ", b"%q"]
    assert (conversions[0].flags, conversions[0].kind) == (" ", "o")
    assert conversions[-1].length == "ll"
    assert (conversions[-1].flags, conversions[-1].width, conversions[-1].precision) == ("-+", "8", "3")


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["", "hh", "h", "l", "ll", "j"]), st.sampled_from("diuxXo"))
def test_integers_like_c(number: int, length: str, kind: str) -> None:
    bits = {"hh": 8, "h": 16, "": 32}.get(length, 64)
    low = number & (1 << bits) - 1
    if kind in "di" and low >> bits - 1:
        low -= 1 << bits
    assert printf(f"%{length}{kind}", (I64, number)) == format(low, {"i": "d", "u": "d"}.get(kind, kind)).encode()


def test_speed() -> None:
    show = make_printf("%d %d %s\n", (Field(8, U32), Field(12, U32), Field(16, S)), NAMER)
    record = struct.pack("<IIII16s", 0, 0, 42, 43, b"hello")

    def once() -> float:
        start = time.perf_counter()
        for _ in range(1000):
            show(record, 0)
        return (time.perf_counter() - start) / 1000

    assert show(record, 0) == b"42 43 hello\n"
    assert min(once() for _ in range(20)) < 2e-6
