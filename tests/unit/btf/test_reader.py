from __future__ import annotations

from struct import pack_into

import pytest
from tests.unit.btf.shapes import ID, sample_btf, task_bytes, task_types, tasks

from trapline import btf as b
from trapline.btf.write import BtfBuilder
from trapline.errors import DecodeError


@pytest.mark.parametrize("name", task_types())
def test_every_type_is_read_as_written(name: str) -> None:
    assert tasks().type(ID[name]) == task_types()[name]


def test_kinds_that_only_data_sections_and_tags_use() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4, signed=True)
    variable = w.add(b.Var("counter", number, 1))
    written = [
        b.DataSec(".data", 8, (b.SecVar(variable, 4, 4),)),
        b.DeclTag("tagged", number, 3),
        b.Float("double", 8),
        b.Restrict(number),
        b.Volatile(number),
        b.Fwd("either", union=True),
        b.Enum("unsigned", 1, False, (b.Enumerator("TOP", 0xFFFFFFFF),)),
        b.Enum64("signed", 8, True, (b.Enumerator("LOW", -(1 << 63)),)),
        b.TypeTag("address_space(1)", number, attribute=True),
        b.Int("flag", 1, 8, is_bool=True),
    ]
    ids = [w.append(new) for new in written]
    found = b.Btf(w.build())
    assert [found.type(i) for i in ids] == written


def test_types_of_clang() -> None:
    btf = sample_btf()
    sample = btf.struct("sample")
    assert sample is not None
    assert btf.size_of(sample) == 92
    assert [(f.name, f.bit_offset, f.bitfield_size) for f in btf.fields(sample)][:4] == [
        ("start", 0, 0),
        ("first", 64, 3),
        ("second", 67, 7),
        ("in", 96, 0),
    ]
    assert btf.enum_constant("BLUE") == (-1, btf.find("color"))
    assert btf.enum_constant("LARGE") == (1 << 32, btf.find("wide", b.Enum64))
    assert dict(btf.functions()).keys() == {"entry", "add"}


@pytest.fixture(params=["scan", "index"])
def btf(request: pytest.FixtureRequest) -> b.Btf:
    data = task_bytes()
    return b.Btf(data, index=b.Btf(data).index_bytes() if request.param == "index" else None)


def test_names_are_found(btf: b.Btf) -> None:
    for name in ("int", "unsigned int", "u32", "pid_t", "file", "task", "state", "wake_task", "opaque"):
        (found,) = btf.find_all(name)
        assert btf.name_of(found) == name
    assert btf.struct("task") == ID["task"]
    assert btf.func("wake_task") == ID["task_func"]


def test_names_that_are_no_type_are_not_found(btf: b.Btf) -> None:
    # A member, the tail of a name, the whole string section's first byte, nothing of the sort.
    assert [btf.find(name) for name in ("f_flags", "ask", "", "no such", "ünknown")] == [None] * 5


def test_after_many_searches_the_same_is_found() -> None:
    data = task_bytes()
    few, many = b.Btf(data), b.Btf(data)
    for number in range(200):
        assert many.find(f"no such name {number}") is None
    names = {few.name_of(number) for number in range(1, len(few))} - {""}
    assert names and {name: many.find_all(name) for name in names} == {name: few.find_all(name) for name in names}


def test_kinds_choose_among_equal_names() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4)
    tag = w.add(b.Struct("twice", 0, ()))
    alias = w.add(b.Typedef("twice", number))
    again = w.append(b.Struct("twice", 0, ()))
    data = w.build()
    for index in (None, b.Btf(data).index_bytes()):
        found = b.Btf(data, index=index)
        assert found.find("twice") == tag
        assert found.find("twice", b.Typedef) == alias
        assert found.find_all("twice", b.Struct, b.Union) == (tag, again)
        assert found.find("twice", b.Func) is None


def test_the_index_knows_strings_that_share_tails() -> None:
    w = BtfBuilder()
    w.add_int("unsigned", 4)
    other = w.append(b.Int("signed", 4, 32))
    data = bytearray(w.build())
    offset = data.index(b"unsigned\0") + 2 - data.index(b"\0unsigned")
    pack_into("<I", data, 24 + 16, offset)  # "signed" within "unsigned"
    assert b.Btf(bytes(data)).name_of(other) == "signed"
    assert b.Btf(bytes(data), index=b.Btf(bytes(data)).index_bytes()).find("signed") == other


def test_enum_constants_are_found(btf: b.Btf) -> None:
    assert btf.enum_constant("DEAD") == (-1, ID["state"])
    assert btf.enum_constant("BIG_FLAG") == (1 << 40, ID["flags"])
    assert btf.enum_constant("EAD") is None
    assert btf.enum_constant("task") is None


def test_an_index_of_other_bytes_is_refused() -> None:
    data = task_bytes()
    index = b.Btf(data).index_bytes()
    w = BtfBuilder()
    w.add_int("int", 4)
    with pytest.raises(DecodeError, match="another BTF"):
        b.Btf(w.build(), index=index)
    with pytest.raises(DecodeError, match="cut off"):
        b.Btf(data, index=index[:-4])
    with pytest.raises(DecodeError, match="magic"):
        b.Btf(data, index=b"x" * 64)
    with pytest.raises(DecodeError, match="shorter"):
        b.Btf(data, index=b"")


def test_split_btf_continues_the_base() -> None:
    base = tasks()
    w = BtfBuilder(base)
    module = w.add_struct("private", 24, [("owner", ID["task*"], 0), ("file", ID["file"], 8)])
    w.add(b.Enum("task", 4, False, (b.Enumerator("MODULE_ONLY", 3),)))
    data = w.build()
    for index in (None, b.Btf(data, base=base).index_bytes()):
        split = b.Btf(data, base=base, name="module", index=index)
        assert module == len(base)
        assert split.struct("private") == module
        assert split.find_all("task") == (ID["task"], module + 1)
        assert split.type(ID["task"]) == base.type(ID["task"])
        assert split.name_of(ID["task"]) == "task"
        assert split.enum_constant("MODULE_ONLY") == (3, module + 1)
        assert split.enum_constant("DEAD") == (-1, ID["state"])
        assert split.size_of(module) == 24
        steps = split.member_path(module, "owner->mm->pgd")
        assert steps is not None
        assert [s.dereference for s in steps] == [False, True, True]
        assert list(split.ids(b.Struct)) == [module]


def test_split_types_may_use_names_of_the_base() -> None:
    base = tasks()
    w = BtfBuilder(base)
    w.add_int("module_int", 4)
    data = bytearray(w.build())
    base_bytes = task_bytes()
    strings = base_bytes.index(b"\0int\0")
    pack_into("<I", data, 24, base_bytes.index(b"\0mm\0") + 1 - strings)
    for index in (None, b.Btf(bytes(data), base=base).index_bytes()):
        split = b.Btf(bytes(data), base=base, index=index)
        assert split.find("mm", b.Int) == len(base)


def test_typedefs_and_qualifiers_are_followed() -> None:
    btf = tasks()
    assert btf.resolve(ID["pid_t"]) == ID["int"]
    assert btf.resolve(ID["qualified"]) == ID["task*"]
    assert btf.resolve_tags(ID["char_user"]) == (ID["char"], ("user",))
    assert btf.resolved(ID["u32"]) == task_types()["word"]


def test_a_mapped_file_is_as_good_as_bytes(tmp_path: object) -> None:
    data = task_bytes()
    assert b.Btf(memoryview(data)).struct("task") == ID["task"]
    assert b.Btf(bytearray(data)).struct("task") == ID["task"]


def test_loops_end() -> None:
    w = BtfBuilder()
    w.append(b.Typedef("a", 2))
    w.append(b.Typedef("b", 1))
    w.append(b.Array(3, 3, 1))
    w.append(b.Struct("own", 8, (b.Member("", 4, 0),)))
    w.append(b.FuncProto((b.Param("x", 5),), 5))
    btf = b.Btf(w.build())
    for ask in (
        lambda: btf.resolve(1),
        lambda: btf.size_of(1),
        lambda: btf.size_of(3),
        lambda: btf.align_of(3),
        lambda: btf.type_name(3),
        lambda: list(btf.fields(4)),
        lambda: btf.align_of(4),
        lambda: btf.type_name(5),
    ):
        with pytest.raises(DecodeError):
            ask()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:10], "shorter than its header"),
        (lambda d: b"\xff\xff" + d[2:], "not BTF"),
        (lambda d: b"\xeb\x9f" + d[2:], "big-endian"),
        (lambda d: d[:2] + b"\x07" + d[3:], "version 7"),
        (lambda d: d[:-1], "string section is misplaced"),
        (lambda d: d[:-1] + b"x", "does not end with NUL"),
        (lambda d: d[:12] + b"\xff\xff\xff\x0f" + d[16:], "type section is misplaced"),
        (lambda d: d[:20] + b"\0\0\0\0" + d[24:], "string section is empty"),
        (lambda d: d[:28] + b"\0\0\0\x1e" + d[32:], "unknown kind 30"),
        (lambda d: d[:28] + b"\xff\xff\0\x04" + d[32:], "runs over the end"),
    ],
)
def test_malformed_bytes_are_refused(change: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        b.Btf(change(task_bytes()))  # type: ignore[operator]


def test_ids_and_strings_out_of_range_are_refused() -> None:
    btf = tasks()
    for ask in (btf.type, btf.name_of, btf.kind, btf.resolve, btf.type_name):
        with pytest.raises(DecodeError):
            ask(10_000)
    with pytest.raises(DecodeError):
        btf.type(-1)
    with pytest.raises(DecodeError):
        btf.string(1_000_000)
    with pytest.raises(DecodeError, match="a Struct where a Func is expected"):
        btf.expect(ID["task"], b.Func)


def test_prototypes() -> None:
    btf = tasks()
    assert [p.name for p in btf.params(ID["task_func"])] == ["task", "how"]
    assert btf.proto(ID["callback"]).variadic
    assert btf.proto(ID["task_proto"]) == btf.proto(ID["task_func"])
    with pytest.raises(DecodeError):
        btf.proto(ID["task"])
