"""`trapline.records.record` gives what `dataclasses.dataclass` gives, later."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from dataclasses import replace as dataclass_replace
from typing import ClassVar

import pytest

from trapline.records import annotations_of, field, record, replace


@record(frozen=True)
class Base:
    x: int
    y: str = "q"


@record(frozen=True)
class Derived(Base):
    z: int = field(default=3, kw_only=True)


class Plain(Derived):
    pass


def test_a_constructor_is_compiled_when_there_are_many_instances() -> None:
    @record
    class Used:
        a: int
        b: list[int] = field(default_factory=list)
        c: str = "c"
        d: int = field(default=4, kw_only=True)
        seen: ClassVar[list[object]] = []

        def __post_init__(self) -> None:
            self.seen.append((self.a, self.b, self.c, self.d))

    assert not hasattr(vars(Used)["__init__"], "__code__")
    names = set()
    for number in range(200):
        made = Used(number, [1], "x", d=5) if number % 2 else Used(a=number)
        rest = ([1], "x", 5) if number % 2 else ([], "c", 4)
        assert [*vars(made).items()] == [*zip("abcd", (number, *rest), strict=True)]
        names.add(vars(Used)["__init__"].__code__.co_filename)
    assert len(names) == 2 and "<string>" in names
    assert len(Used.seen) == 200
    assert Used(0).b is not Used(0).b


@pytest.mark.parametrize("warm", [0, 100])
@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, "a", 2), {}), ((1,), {"x": 2}), ((1,), {"w": 1}), ((), {"y": "q"})]
)
def test_the_same_arguments_are_refused_before_and_after(
    warm: int, values: tuple[object, ...], named: dict[str, object]
) -> None:
    @record(frozen=True)
    class Early:
        x: int
        y: str = "q"

    for number in range(warm):
        Early(number)
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        Early(*values, **named)  # type: ignore[arg-type]
    assert Early(1) == Early(x=1)


def test_comparison_and_text_leave_out_what_they_are_told_to() -> None:
    @record(frozen=True)
    class Partly:
        a: int
        b: int = field(default=0, compare=False)
        c: int = field(default=0, repr=False)

    assert Partly(1, b=2) == Partly(1, b=3)
    assert hash(Partly(1, b=2)) == hash(Partly(1, b=3))
    assert Partly(1, c=2) != Partly(1, c=3)
    assert repr(Partly(1, c=2)).endswith("Partly(a=1, b=0)")


def test_a_record_that_compares_and_changes_has_no_hash() -> None:
    @record
    class Open:
        a: int

    with pytest.raises(TypeError, match="unhashable"):
        hash(Open(1))


def test_a_record_without_comparison_is_itself_only() -> None:
    @record(eq=False)
    class Node:
        a: int

    assert Node(1) != Node(1)
    assert len({Node(1), Node(1)}) == 2


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TypeError):
        Base()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Derived(1, "a", 2)  # type: ignore[misc]


def test_own_methods_win() -> None:
    @record(frozen=True)
    class Own:
        a: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    for _ in range(2):
        assert (Own(1) == 5, hash(Own(1)), repr(Own(1))) == (True, 7, "own")
        fields(Own)  # makes the dataclass


def test_instances_compare_hash_print_and_refuse_changes() -> None:
    one, other = Derived(1, z=5), Derived(1, z=5)
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == "Derived(x=1, y='q', z=5)"
    with pytest.raises(FrozenInstanceError):
        one.x = 2  # type: ignore[misc]


def test_fields_can_be_asked_for_before_the_first_instance() -> None:
    @record(frozen=True)
    class Asked(Base):
        z: int = 0

    assert is_dataclass(Asked)
    assert [f.name for f in fields(Asked)] == ["x", "y", "z"]


def test_a_plain_subclass_is_constructed_by_the_record() -> None:
    assert Plain(2).z == 3


def test_replace_and_patterns_work() -> None:
    match replace(Base(1), x=4):
        case Base(x, y):
            assert (x, y) == (4, "q")
    assert dataclass_replace(Derived(1, z=2), x=4) == replace(Derived(1, z=2), x=4) == Derived(4, z=2)


def test_annotations_are_texts_in_the_order_of_the_constructor() -> None:
    assert annotations_of(Derived) == {"x": "int", "y": "str", "z": "int"}


def test_a_class_with_its_own_constructor_is_made_at_once() -> None:
    @record
    class Own:
        a: int

        def __init__(self) -> None:
            self.a = 4

    for _ in range(2):
        assert repr(Own()).endswith("Own(a=4)")
        fields(Own)  # makes the dataclass


def test_post_init_and_factories_run() -> None:
    @record
    class Filled:
        a: int
        b: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.b.append(self.a)

    assert Filled(3).b == [3]
    assert Filled(4).b == [4]
