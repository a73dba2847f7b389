"""`trapline.hints` is to run-time code what `typing` is."""

from __future__ import annotations

import pickle
from collections import namedtuple

import pytest

from trapline.hints import NamedTuple, cast


class Place(NamedTuple):
    """A place."""

    file: str
    line: int = 1
    column: int = 0

    @property
    def text(self) -> str:
        """As it is shown."""
        return f"{self.file}:{self.line}"


class Pair(NamedTuple):
    left: int
    right: int


Like = namedtuple("Like", "file line column", defaults=(1, 0))


@pytest.mark.parametrize(
    ("values", "named"),
    [(("a",), {}), (("a", 2), {}), (("a", 2, 3), {}), (("a",), {"column": 5}), ((), {"line": 4, "file": "b"})],
)
def test_a_named_tuple_is_made_as_pythons(values: tuple[object, ...], named: dict[str, object]) -> None:
    made, like = Place(*values, **named), Like(*values, **named)  # type: ignore[arg-type]
    assert made == like == tuple(like)
    assert (made.file, made.line, made.column) == (like.file, like.line, like.column)
    assert made._asdict() == like._asdict()
    assert made._replace(line=9) == like._replace(line=9)
    assert repr(made) == repr(like).replace("Like", "Place")
    assert hash(made) == hash(like)


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("a", 1, 2, 3), {}), (("a",), {"file": "b"}), (("a",), {"other": 1}), ((), {"line": 1})],
)
def test_what_does_not_fit_is_refused(values: tuple[object, ...], named: dict[str, object]) -> None:
    for make in (Place, Like):
        with pytest.raises(TypeError):
            make(*values, **named)  # type: ignore[arg-type]


def test_it_is_a_class_like_others() -> None:
    place = Place("a", 3)
    assert place.text == "a:3" and Place.__doc__ == "A place." and Place.__module__ == __name__
    assert isinstance(place, tuple) and Place._fields == ("file", "line", "column")
    assert pickle.loads(pickle.dumps(place)) == place
    assert Place._make(["b", 1, 2]) == ("b", 1, 2)
    with pytest.raises(AttributeError):
        place.line = 4  # type: ignore[misc]
    with pytest.raises(AttributeError):
        place.other = 4  # type: ignore[attr-defined]
    match Pair(1, 2):
        case Pair(left, right):
            assert (left, right) == (1, 2)


def test_cast_gives_back_the_value() -> None:
    assert cast("int", "x") == "x"
