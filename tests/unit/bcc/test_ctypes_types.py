import ctypes as ct

import pytest

from trapline.bcc.ctypes_types import (
    build_ctype,
    build_event_ctype,
    decode_value,
    encode_value,
    format_value,
    parse_value,
)
from trapline.bcc.failures import BccError
from trapline.frontends.bcc_c.result import ArrayC, FieldC, IntC, PointerC, RecordC

U8 = IntC("unsigned char", 1, False)
CHAR = IntC("char", 1, True)
INT = IntC("int", 4, True)
U32 = IntC("unsigned int", 4, False)
U64 = IntC("unsigned long long", 8, False)
U128 = IntC("unsigned __int128", 16, False)


def struct(name, size, *fields, align=8, packed=False):
    return RecordC(name, "struct", size, align, tuple(fields), packed)


KEY = struct("key_t", 16, FieldC("pid", U32, 0), FieldC("slot", U64, 8))
EVENT = struct("data_t", 24, FieldC("pid", U32, 0), FieldC("comm", ArrayC(CHAR, 16), 4), align=4)


def test_scalars():
    assert build_ctype(U32) is ct.c_uint
    assert build_ctype(U64) is ct.c_ulonglong
    assert ct.sizeof(build_ctype(U128)) == 16
    assert build_ctype(PointerC("struct sock *")) is ct.c_uint64
    assert build_ctype(IntC("unsigned int", 4, False, enum="state")) is ct.c_uint32


def test_padding_is_a_named_member():
    cls = build_ctype(KEY)
    assert [field[0] for field in cls._fields_] == ["pid", "__pad_1", "slot"]
    assert ct.sizeof(cls) == 16
    key = cls.from_buffer_copy((7).to_bytes(8, "little") + (9).to_bytes(8, "little"))
    assert (key.pid, key.slot) == (7, 9)


def test_tail_padding():
    cls = build_ctype(struct("t", 16, FieldC("a", U64, 0), FieldC("b", U32, 8)))
    assert [field[0] for field in cls._fields_] == ["a", "b", "__pad_end"]


def test_event_has_no_padding_where_natural_layout_fits():
    record = struct("e", 16, FieldC("pid", U32, 0), FieldC("ts", U64, 8))
    cls = build_event_ctype(record)
    assert [field[0] for field in cls._fields_] == ["pid", "ts"]
    assert ct.sizeof(cls) == 16


def test_event_of_packed_struct_keeps_offsets():
    record = struct("e", 12, FieldC("pid", U32, 0), FieldC("ts", U64, 4), align=1, packed=True)
    cls = build_event_ctype(record)
    assert ct.sizeof(cls) == 12
    assert cls.ts.offset == 4


def test_char_array_reads_as_text():
    cls = build_event_ctype(EVENT)
    event = cls.from_buffer_copy((1).to_bytes(4, "little") + b"bash\0".ljust(20, b"\0"))
    assert event.comm == b"bash"


def test_anonymous_union_members_are_reachable():
    union = RecordC("", "union", 8, 8, (FieldC("a", U64, 0), FieldC("b", U32, 0)))
    cls = build_ctype(struct("s", 8, FieldC("", union, 0)))
    value = cls.from_buffer_copy((5).to_bytes(8, "little"))
    assert value.a == value.b == 5
    assert cls._fields_[0][0] == "__anon0"


def test_bit_fields():
    cls = build_ctype(struct("s", 4, FieldC("a", U32, 0, bits=3), FieldC("b", U32, 0, bits=5, shift=3), align=4))
    value = cls.from_buffer_copy((0b11101).to_bytes(4, "little"))
    assert (value.a, value.b) == (0b101, 0b11)


def test_encode_accepts_other_ctypes_and_numbers():
    assert encode_value(ct.c_uint, ct.c_ulonglong(5), 4) == b"\5\0\0\0"
    assert encode_value(ct.c_ulonglong, ct.c_int(5), 8) == b"\5" + bytes(7)
    assert encode_value(ct.c_uint, 5, 4) == b"\5\0\0\0"
    assert encode_value(build_ctype(KEY), b"\1" * 16, 16) == b"\1" * 16
    with pytest.raises(TypeError):
        encode_value(ct.c_uint, "five", 4)


def test_decode_copies():
    data = b"\1\0\0\0"
    assert decode_value(ct.c_uint, data).value == 1


def test_text_forms_round_trip():
    record = struct("r", 32, FieldC("a", U32, 0), FieldC("b", ArrayC(U64, 2), 8), FieldC("c", ArrayC(CHAR, 8), 24))
    cls = build_ctype(record)
    value = cls(a=1, b=(2, 3), c=b"x y")
    text = format_value(value)
    assert text == b'{ 0x1 [ 0x2 0x3 ] "x y" }'
    assert bytes(parse_value(cls, text)) == bytes(value)
    assert format_value(ct.c_int(-1)) == b"0xffffffff"
    assert parse_value(ct.c_uint, b"0x10").value == 16


@pytest.mark.parametrize("text", [b"", b"{ 0x1 }", b"zzz", b"0x1 0x2"])
def test_bad_text_is_refused(text):
    with pytest.raises(BccError):
        parse_value(build_ctype(KEY) if text != b"0x1 0x2" else ct.c_uint, text)


def test_bit_fields_come_back_from_text():
    class Bits(ct.Structure):
        _fields_ = [("low", ct.c_ulonglong, 36), ("high", ct.c_ulonglong, 28)]

    text = format_value(Bits(4, 1))
    assert text == b"{ 0x4 0x1 }"
    back = parse_value(Bits, text)
    assert (back.low, back.high) == (4, 1)
