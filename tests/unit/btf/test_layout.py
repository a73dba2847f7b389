from __future__ import annotations

import pytest
from tests.unit.btf.shapes import ID, sample_btf, tasks

from trapline import btf as b
from trapline.btf.layout import is_composite, is_packed
from trapline.btf.write import BtfBuilder


@pytest.mark.parametrize(
    ("name", "size", "align"),
    [
        ("int", 4, 4),
        ("char", 1, 1),
        ("pid_t", 4, 4),
        ("task*", 8, 8),
        ("comm", 16, 1),
        ("state", 4, 4),
        ("flags", 8, 8),
        ("task", 112, 8),
        ("anonymous", 8, 8),
        ("opaque", 0, 1),
        ("task_func", 0, 1),
        ("qualified", 8, 8),
    ],
)
def test_sizes_and_alignments(name: str, size: int, align: int) -> None:
    btf = tasks()
    assert (btf.size_of(ID[name]), btf.align_of(ID[name])) == (size, align)


def test_anonymous_members_belong_to_the_struct_around_them() -> None:
    names = [(f.name, f.offset) for f in tasks().fields(ID["task"])]
    assert names[:6] == [("pid", 0), ("low", 4), ("high", 5), ("ppid", 8), ("cookie", 8), ("mm", 16)]


def test_a_field_is_found_by_name() -> None:
    btf = tasks()
    assert btf.field(ID["task"], "cookie") == b.Field("cookie", ID["long"], 64)
    assert btf.field(ID["task"], "high") == b.Field("high", ID["word"], 40, 5)
    assert btf.field(ID["task"], "none") is None
    assert btf.field(ID["int"], "none") is None


def test_member_path_follows_pointers() -> None:
    btf = tasks()
    steps = btf.member_path(ID["task*"], "parent->mm.exe_file->f_pos")
    assert steps == (
        b.Step("parent", ID["task*"], 192, 0, True),
        b.Step("mm", ID["mm*"], 128, 0, True),
        b.Step("exe_file", ID["file*"], 64, 0, True),
        b.Step("f_pos", ID["long"], 64, 0, True),
    )
    assert btf.member_path(ID["task"], "mm.nothing") is None
    assert btf.member_path(ID["task"], "pid.nothing") is None


def test_packed_structs_are_recognised() -> None:
    btf = sample_btf()
    sample = btf.struct("sample")
    inner = btf.struct("inner")
    assert sample is not None and inner is not None
    packed, plain = btf.type(sample), btf.type(inner)
    assert isinstance(packed, b.Struct) and isinstance(plain, b.Struct)
    assert is_packed(btf, packed)
    assert btf.align_of(sample) == 1
    assert not is_packed(btf, plain)
    assert btf.align_of(inner) == 4


def test_a_bitfield_across_its_unit_means_packed() -> None:
    w = BtfBuilder()
    word = w.add_int("unsigned int", 4)
    straddling = b.Struct("s", 8, (b.Member("a", word, 0, 30), b.Member("b", word, 30, 4)))
    fitting = b.Struct("f", 8, (b.Member("a", word, 0, 30), b.Member("b", word, 32, 4)))
    ids = w.add(straddling), w.add(fitting)
    btf = b.Btf(w.build())
    assert [btf.align_of(i) for i in ids] == [1, 4]


def test_composites_behind_typedefs() -> None:
    btf = tasks()
    assert is_composite(btf, ID["task"])
    assert not is_composite(btf, ID["task*"])
