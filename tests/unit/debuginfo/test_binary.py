"""Functions of a file by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from trapline.abi.elf import Elf
from trapline.debuginfo.binary import Binary

TRACED = Path(__file__).resolve().parents[2] / "programs" / "user" / "traced"


@pytest.fixture
def versioned() -> Binary:
    """A program whose ``by_value`` is called ``by@value``, as a version is written."""
    content = TRACED.read_bytes()
    assert b"\0by_value\0" in content
    return Binary(Elf(content.replace(b"\0by_value\0", b"\0by@value\0")))


def test_a_version_is_not_part_of_a_name(versioned: Binary) -> None:
    found = versioned.function("by")
    assert found is not None
    original = Binary(Elf(TRACED.read_bytes())).function("by_value")
    assert original is not None
    assert (found.name, found.address, found.offset) == ("by", original.address, original.offset)
    assert [f.name for f in versioned.functions if f.address == found.address] == ["by"]


def test_a_name_that_is_not_there(versioned: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Elf) -> None:
        raise AssertionError("every name was decoded")

    monkeypatch.setattr(Elf, "functions", refuse)
    for name in ("by_value", "b", "nothing"):
        assert versioned.function(name) is None


def test_all_functions_are_found_by_their_names() -> None:
    binary = Binary(Elf(TRACED.read_bytes()))
    assert len(binary.functions) > 5
    for function in binary.functions:
        found = binary.function(function.name)
        assert found is not None
        assert found.name == function.name
