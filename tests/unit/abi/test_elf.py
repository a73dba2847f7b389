from __future__ import annotations

import sys
from pathlib import Path
from struct import pack_into

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from trapline.abi import elf as e
from trapline.errors import DecodeError

SAMPLE = Path(__file__).parents[1] / "btf" / "data" / "sample.o"


@pytest.fixture(scope="module")
def sample() -> e.Elf:
    return e.Elf(SAMPLE.read_bytes())


def test_sections_agree_with_pyelftools(sample: e.Elf) -> None:
    with SAMPLE.open("rb") as file:
        expected = [(s.name, s["sh_offset"], s["sh_size"], s["sh_link"]) for s in ELFFile(file).iter_sections()]
    assert [(s.name, s.offset, s.size, s.link) for s in sample.sections] == expected
    assert (sample.machine, sample.type) == (e.EM_BPF, e.ET_REL)


def test_symbols_agree_with_pyelftools(sample: e.Elf) -> None:
    with SAMPLE.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        expected = [(s.name, s["st_value"], s["st_size"]) for s in table.iter_symbols()]
    assert [(s.name, s.value, s.size) for s in sample.symbols()] == expected


def test_relocations_name_their_symbols(sample: e.Elf) -> None:
    prog = sample.section("prog")
    text = sample.section(".text")
    assert prog is not None and text is not None
    table = sample.relocation_symbols(text)
    assert table is not None and table.name == ".symtab"
    (load,) = sample.relocations(text)
    assert (load.offset, load.type, load.addend) == (16, 1, None)
    assert sample.symbol_at(table, load.symbol).name == "value"
    (call,) = sample.relocations(prog)
    assert sample.symbol_at(table, call.symbol).type == e.STT_SECTION
    rel = sample.section(".relprog")
    assert rel is not None and list(sample.relocations(rel)) == [call]
    assert sample.relocation_symbols(prog) == table
    licence = sample.section("license")
    assert licence is not None and list(sample.relocations(licence)) == []
    assert sample.relocation_symbols(licence) is None


def test_contents(sample: e.Elf) -> None:
    assert sample.section_bytes("license") == b"GPL\0"
    assert sample.section_bytes(".bss") == b""
    assert sample.section_bytes(".none") is None


def test_symbols_are_found_by_name(sample: e.Elf) -> None:
    found = sample.symbol("entry")
    assert found is not None
    assert (found.type, found.binding, found.value, found.size) == (e.STT_FUNC, e.STB_GLOBAL, 0, 48)
    assert sample.sections[found.section].name == "prog"
    assert sample.symbol("ntry") is None
    assert sample.symbol("") is None
    assert sample.symbols_named("no such symbol") == ()


def test_an_object_has_no_segments(sample: e.Elf) -> None:
    assert sample.segments == ()
    assert sample.file_offset(0) is None
    assert sample.build_id() is None


@pytest.fixture(scope="module")
def python() -> tuple[e.Elf, Path]:
    path = Path(sys.executable).resolve()
    return e.Elf(path.read_bytes()), path


def test_a_real_program_agrees_with_pyelftools(python: tuple[e.Elf, Path]) -> None:
    elf, path = python
    with path.open("rb") as file:
        other = ELFFile(file)
        segments = [(s["p_vaddr"], s["p_offset"]) for s in other.iter_segments() if s["p_type"] == "PT_LOAD"]
        names = {s.name: s for s in other.iter_sections()}
        build_id = names.get(".note.gnu.build-id")
        expected_id = build_id.data()[16:].hex() if build_id else None
        symbols = {s.name: s["st_value"] for s in names[".dynsym"].iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
    assert [(s.address, s.offset) for s in elf.segments if s.type == e.PT_LOAD] == segments
    assert elf.build_id() == expected_id
    for name in ("Py_Initialize", "Py_BytesMain", "main"):
        if name in symbols:
            found = elf.symbol(name)
            assert found is not None and found.value == symbols[name]
            offset = elf.file_offset(found.value)
            assert offset is not None and elf.address_of(offset) == found.value


def test_addresses_outside_the_segments(python: tuple[e.Elf, Path]) -> None:
    elf, _ = python
    assert elf.file_offset(1 << 60) is None
    assert elf.address_of(1 << 60) is None


def test_notes_are_padded_to_four() -> None:
    data = bytearray(64 + 56 + 64)
    data[:16] = b"\x7fELF\x02\x01\x01" + bytes(9)
    pack_into("<HHIQQQIHHHHHH", data, 16, e.ET_EXEC, e.EM_X86_64, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    pack_into("<IIQQQQQQ", data, 64, e.PT_NOTE, 4, 120, 120, 120, 64, 64, 4)
    pack_into("<III4s5s", data, 120, 4, 5, 3, b"GNU\0", b"\1\2\3\4\5")
    pack_into("<III8s", data, 120 + 24, 8, 0, 3, b"stapsdt\0")
    elf = e.Elf(bytes(data))
    assert list(elf.notes())[:2] == [e.Note("GNU", 3, b"\1\2\3\4\5"), e.Note("stapsdt", 3, b"")]
    assert elf.build_id() == "0102030405"
    pack_into("<I", data, 124, 1000)
    with pytest.raises(DecodeError, match="note runs over"):
        list(e.Elf(bytes(data)).notes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:40], "too few"),
        (lambda d: b"\x7fELG" + d[4:], "not an ELF"),
        (lambda d: d[:4] + b"\1" + d[5:], "32-bit"),
        (lambda d: d[:5] + b"\2" + d[6:], "big-endian"),
        (lambda d: d[:0x1500], "section header"),
        (lambda d: d[:58] + b"\x10\0" + d[60:], "section headers of 16 bytes"),
    ],
)
def test_malformed_files_are_refused(change: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        e.Elf(change(SAMPLE.read_bytes())).sections  # type: ignore[operator]  # noqa: B018


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7263), st.integers(0, 255)), min_size=1, max_size=12))
def test_damage_raises_nothing_but_decode_errors(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE.read_bytes())
    for position, value in changes:
        # Most of the damage goes where the structure is: the header, the section headers, the symbols.
        data[position if position % 3 else position % 64] = value
    try:
        elf = e.Elf(bytes(data))
        for section in elf.sections:
            list(elf.relocations(section))
            elf.relocation_symbols(section)
        for table in elf.symbol_tables():
            list(elf.symbols(table))
        elf.symbol("entry")
        elf.build_id()
        elf.file_offset(0)
    except DecodeError:
        pass
