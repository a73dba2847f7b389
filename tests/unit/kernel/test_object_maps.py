"""A program is loaded with the maps that it refers to, and no more: what many clauses cost grows linearly."""

from __future__ import annotations

import pytest

from trapline.ir.spec import MapRef, MapSpec, ObjectProgram, ObjectSpec
from trapline.kernel import object as kernel_object
from trapline.kernel.program import LoadOptions


class _Map:
    def __init__(self, number: int) -> None:
        self.number = number
        self.asked = 0

    def fileno(self) -> int:
        self.asked += 1
        return self.number


class _Program:
    @staticmethod
    def load(spec: ObjectProgram, options: LoadOptions) -> dict[str, int]:
        return dict(options.map_fds or {})


def test_only_the_maps_that_a_program_refers_to_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_object, "Program", _Program)
    refs = (MapRef(0, "a"), MapRef(4, "a", value=True), MapRef(8, "borrowed"))
    spec = ObjectProgram("p", "XDP", b"", refs)
    maps = {name: _Map(number) for number, name in enumerate("abc", 3)}
    loaded = object.__new__(kernel_object.LoadedObject)
    loaded.spec = ObjectSpec("test", "", (spec,), tuple(MapSpec(name, "HASH", 4, 4, 1) for name in "abc"))
    loaded.target = None  # type: ignore[assignment]
    loaded.maps = maps  # type: ignore[assignment]
    assert loaded.load_program(spec, map_fds={"borrowed": 9}) == {"a": 3, "borrowed": 9}  # type: ignore[comparison-overlap]
    assert [maps[name].asked for name in "abc"] == [1, 0, 0]
