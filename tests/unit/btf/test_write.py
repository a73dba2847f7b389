from __future__ import annotations

import pytest
from tests.unit.btf.shapes import sample_btf, sample_object

from trapline import btf as b
from trapline.abi.elf import Elf
from trapline.btf.ext import (
    FUNC_INFO_SIZE,
    LINE_INFO_SIZE,
    FuncInfo,
    LineInfo,
    decode_ext,
    encode_func_info,
    encode_line_info,
)
from trapline.btf.write import BtfBuilder
from trapline.errors import DecodeError


def test_equal_types_are_written_once() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4, signed=True)
    assert w.add_int("int", 4, signed=True) == number
    assert w.add_int("int", 4) != number
    assert w.add_ptr(number) != w.add(b.Const(number))
    assert w.append(b.Ptr(number)) == w.next_id - 1
    assert w.add(b.Void()) == 0


def test_strings_are_written_once_and_never_with_nul() -> None:
    w = BtfBuilder()
    assert w.string("") == 0
    assert w.string("a line of source") == w.string("a line of source")
    assert b.Btf(w.build()).string(w.string("a line of source")) == "a line of source"
    with pytest.raises(ValueError, match="NUL"):
        w.string("a\0b")


def test_functions_get_prototypes() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4, signed=True)
    func = w.add_func("callback", [("index", number), ("context", w.add_ptr())], number)
    assert b.Btf(w.build()).type_name(func) == "int callback(int, void *)"


def test_what_btf_cannot_say_is_refused() -> None:
    w = BtfBuilder()
    with pytest.raises(ValueError, match="void"):
        w.append(b.Void())
    with pytest.raises(ValueError, match="too many"):
        w.add(b.Enum("e", 4, False, tuple(b.Enumerator(f"e{i}", i) for i in range(70_000))))
    with pytest.raises(ValueError, match="bitfield far"):
        w.add(b.Struct("s", 1 << 22, (b.Member("far", 1, 1 << 24, 3),)))


def test_everything_that_clang_wrote_survives() -> None:
    source = sample_btf()
    w = BtfBuilder()
    for type_id in source.ids():
        assert w.append(source.type(type_id)) == type_id
    copy = b.Btf(w.build())
    assert [copy.type(i) for i in copy.ids()] == [source.type(i) for i in source.ids()]


def test_func_and_line_info_of_clang() -> None:
    elf, btf = Elf(sample_object()), sample_btf()
    section = elf.section_bytes(".BTF.ext")
    assert section is not None
    info = decode_ext(section, btf.string)
    assert {name: [btf.name_of(f.type_id) for f in found] for name, found in info.functions.items()} == {
        ".text": ["add"],
        "prog": ["entry"],
    }
    assert info.functions["prog"] == (FuncInfo(0, btf.func("entry") or 0),)
    sources = [btf.string(line.text).strip() for line in info.lines["prog"]]
    assert "return add(context->first, (int)context->color);" in sources
    assert {btf.string(line.file_name).rpartition("/")[2] for line in info.lines["prog"]} == {"sample.c"}
    assert all(line.line > 0 and line.insn < 6 for line in info.lines["prog"])


def test_records_for_the_kernel() -> None:
    assert encode_func_info([FuncInfo(8, 3), FuncInfo(0, 2)]) == bytes.fromhex("00000000 02000000 08000000 03000000")
    assert encode_line_info([LineInfo(1, 2, 3, 4, 5)]) == bytes.fromhex("01000000 02000000 03000000 05100000")
    assert len(encode_line_info([LineInfo(0, 0, 0, 1 << 30, 1 << 30)])) == LINE_INFO_SIZE
    assert len(encode_func_info([FuncInfo(0, 1)])) == FUNC_INFO_SIZE


@pytest.mark.parametrize("size", [0, 10, 40, 60])
def test_a_cut_off_section_is_refused(size: int) -> None:
    section = Elf(sample_object()).section_bytes(".BTF.ext")
    assert section is not None
    with pytest.raises(DecodeError):
        decode_ext(section[:size], sample_btf().string)
