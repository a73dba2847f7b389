"""Members of a struct are found without an index of all types."""

from __future__ import annotations

import random

from trapline import btf as b
from trapline.btf.peek import peek_members
from trapline.btf.write import BtfBuilder


def build(*tags: str) -> bytes:
    w = BtfBuilder()
    number = w.add_int("int", 4, signed=True)
    text = w.add_array(w.append(b.Int("char", 1, 8, True)), 16)
    for tag in tags:
        w.append(
            b.Struct(
                tag,
                40,
                (b.Member("pid", number, 32), b.Member("flag", number, 64, 3), b.Member("comm", text, 192)),
            )
        )
    return w.build()


def test_members_are_found() -> None:
    data = build("other", "task_struct")
    assert peek_members(data, "task_struct", ("comm", "pid")) == {"comm": 24, "pid": 4}
    assert peek_members(data, "other", ("comm",)) == {"comm": 24}


def test_what_lacks_or_is_a_bit_field_or_ambiguous_is_not_guessed() -> None:
    data = build("task_struct")
    for tag, names in (("task_struct", ("pid", "tgid")), ("task_struct", ("flag",)), ("task", ("pid",))):
        assert peek_members(data, tag, names) == {}
    assert peek_members(build("task_struct", "task_struct"), "task_struct", ("pid",)) == {}


def test_damaged_bytes_give_nothing_or_the_truth() -> None:
    data, dice = build("a", "task_struct"), random.Random(5)
    for _ in range(500):
        broken = bytearray(data)
        del broken[dice.randrange(1, len(broken)) :]
        for _ in range(3):
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        assert set(peek_members(bytes(broken), "task_struct", ("pid",))) <= {"pid"}
    assert peek_members(b"", "a", ("pid",)) == {}
