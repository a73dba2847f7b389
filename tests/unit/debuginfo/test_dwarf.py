"""DWARF of checked-in programs: types, lines and inlined functions; pyelftools is the judge of the tree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.programs.user.build import digest

from trapline.abi.elf import Elf
from trapline.btf.dump import format_type
from trapline.debuginfo import dwarf_constants as c
from trapline.debuginfo.binary import Binary
from trapline.debuginfo.dwarf import Dwarf
from trapline.errors import DecodeError

PROGRAMS = Path(__file__).resolve().parents[2] / "programs" / "user"
NAMES = ("traced", "traced-fixed", "traced-cc")


def binary(name: str) -> Binary:
    return Binary(Elf((PROGRAMS / name).read_bytes()))


def test_the_programs_were_made_from_these_sources() -> None:
    assert (PROGRAMS / "digest").read_text().strip() == digest(), "run python tests/programs/user/build.py"


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_what_pyelftools_says(name: str) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    dwarf = Dwarf(Elf((PROGRAMS / name).read_bytes()))
    with open(PROGRAMS / name, "rb") as file:
        judged = elffile.ELFFile(file).get_dwarf_info()
        compared = Counter[str]()
        for unit in judged.iter_CUs():
            ours = {entry.offset: entry for _, entry in dwarf.unit(unit.cu_offset).walk()}
            theirs = [die for die in unit.iter_DIEs() if not die.is_null()]
            assert sorted(ours) == sorted(die.offset for die in theirs)
            for die in theirs:
                entry = ours[die.offset]
                assert entry.children == die.has_children
                if "DW_AT_name" in die.attributes:
                    assert entry.name == die.attributes["DW_AT_name"].value.decode()
                    compared["name"] += 1
                for attribute, number in (("DW_AT_type", c.AT_TYPE), ("DW_AT_abstract_origin", c.AT_ABSTRACT_ORIGIN)):
                    if attribute in die.attributes:
                        assert entry.reference(number) == die.get_DIE_from_attribute(attribute).offset
                        compared["reference"] += 1
                if "DW_AT_low_pc" in die.attributes:
                    assert entry.number(c.AT_LOW_PC) == die.attributes["DW_AT_low_pc"].value
                    compared["address"] += 1
        assert min(compared[key] for key in ("name", "reference", "address")) > 5


@pytest.mark.parametrize("name", ["traced", "traced-fixed"])
def test_types_of_arguments(name: str) -> None:
    file = binary(name)
    function = file.function("walk")
    assert function is not None
    found = file.function_types(function.address)
    assert found is not None
    btf, func = found
    declared = [btf.type_name(param.type, param.name) for param in btf.params(func)]
    assert declared == [
        "struct node *n",
        "enum color c",
        "word_t w",
        "int *arr",
        "void *v",
        "_Bool f",
        "short seventh",
        "unsigned char eighth",
    ]
    node = btf.struct("node")
    assert node is not None
    text = " ".join(format_type(btf, node).split())
    assert text == (
        "struct node { struct node *next; struct point p; enum color c; unsigned int a: 3; unsigned int b: 5;"
        " int arr[4]; union { int i; unsigned char bytes[4]; } u; };"
    )


def test_types_of_cplusplus() -> None:
    file = binary("traced-cc")
    function = file.function("_Z12by_referenceRKN2ns5ShapeERi")
    assert function is not None
    found = file.function_types(function.address)
    assert found is not None
    btf, func = found
    assert [btf.type_name(p.type, p.name) for p in btf.params(func)] == ["const struct Shape *s", "int *out"]
    shape = btf.struct("Shape")
    assert shape is not None
    # What is inherited is found like the fields of an anonymous member.
    assert [(f.name, f.offset) for f in (btf.field(shape, "kind"), btf.field(shape, "size")) if f] == [
        ("kind", 0),
        ("size", 4),
    ]


@pytest.mark.parametrize("name", ["traced", "traced-fixed"])
def test_lines_and_inlined_functions(name: str) -> None:
    file = binary(name)
    source = (PROGRAMS / "traced.c").read_text().splitlines()
    leaf, caller = file.function("leaf"), file.function("caller")
    assert leaf is not None and caller is not None and file.places is not None
    (place,) = file.places.find(leaf.address)
    assert place.path == "/src/traced.c" and "leaf(int n) {" in source[place.line - 1]
    chains = [file.places.find(address) for address in range(caller.address, caller.address + caller.size)]
    inside = next(chain for chain in chains if len(chain) == 2)
    assert [place.function for place in inside] == ["inlined", ""]
    assert "int inlined(int n) { return leaf" in source[inside[0].line - 1]
    assert "inlined(n * 2)" in source[inside[1].line - 1]


def test_damage_is_a_decode_error() -> None:
    data = bytearray((PROGRAMS / "traced").read_bytes())
    elf = Elf(bytes(data))
    section = elf.section(".debug_info")
    assert section is not None
    for at in range(section.offset, section.offset + section.size, 7):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        file = Binary(Elf(bytes(damaged)))
        for name in ("walk", "caller"):
            function = file.function(name)
            assert function is not None
            file.function_types(function.address)  # nothing, or something: no other error
            assert file.places is not None
            file.places.find(function.address)
    with pytest.raises(DecodeError):
        Dwarf(Elf(bytes(data))).entry(len(data))
