"""`trapline.records.record` gives what `dataclasses.dataclass` gives, later."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace

import pytest

from trapline.records import record


@record(frozen=True)
class Base:
    x: int
    y: str = "q"


@record(frozen=True)
class Derived(Base):
    z: int = field(default=3, kw_only=True)


class Plain(Derived):
    pass


def test_nothing_is_made_before_it_is_used() -> None:
    @record
    class Unused:
        a: int

    assert "__eq__" not in vars(Unused)
    Unused(1)
    assert "__eq__" in vars(Unused)


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


def test_a_class_with_its_own_constructor_is_made_at_once() -> None:
    @record
    class Own:
        a: int

        def __init__(self) -> None:
            self.a = 4

    assert repr(Own()).endswith("Own(a=4)")


def test_post_init_and_factories_run() -> None:
    @record
    class Filled:
        a: int
        b: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.b.append(self.a)

    assert Filled(3).b == [3]
    assert Filled(4).b == [4]
