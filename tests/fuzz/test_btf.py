"""Whatever the bytes, BTF answers or raises `DecodeError`."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.btf.shapes import sample_btf, sample_object, task_bytes

from trapline.abi.elf import Elf
from trapline.btf import Btf
from trapline.btf.dump import format_type
from trapline.btf.ext import decode_ext
from trapline.btf.header import generate_header, header_for_identifiers
from trapline.errors import DecodeError

GOOD = task_bytes()
INDEX = Btf(GOOD).index_bytes()
EXT = Elf(sample_object()).section_bytes(".BTF.ext") or b""

changes = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8)


def damage(data: bytes, places: list[tuple[int, int]]) -> bytes:
    """Overwrite some bytes."""
    damaged = bytearray(data)
    for position, value in places:
        damaged[position % len(data)] = value
    return bytes(damaged)


def use(btf: Btf) -> None:
    """Ask everything that can be asked; each question may fail by itself."""
    questions = [btf.type, btf.size_of, btf.align_of, btf.type_name, btf.name_of, btf.resolve_tags, btf.proto]
    questions += [lambda i: list(btf.fields(i)), lambda i: format_type(btf, i), lambda i: generate_header(btf, [i])]
    for type_id in range(min(len(btf), 100)):
        for question in questions:
            attempt(lambda question=question, type_id=type_id: question(type_id))  # type: ignore[misc]
    for name in ("task", "int", "DEAD", ""):
        attempt(lambda name=name: (btf.find(name), btf.enum_constant(name)))  # type: ignore[misc]
    attempt(lambda: list(btf.functions()))
    attempt(lambda: header_for_identifiers(btf, {"task", "mm", "exe_file"}))
    attempt(btf.index_bytes)


def attempt(question: object) -> None:
    """Call; `DecodeError` is an answer."""
    with suppress(DecodeError):
        question()  # type: ignore[operator]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    attempt(lambda: use(Btf(data)))
    attempt(lambda: use(Btf(GOOD[:24] + data)))
    attempt(lambda: decode_ext(data, sample_btf().string))
    attempt(lambda: decode_ext(EXT[:24] + data, sample_btf().string))


@settings(deadline=None, max_examples=200)
@given(changes)
def test_damaged_bytes(places: list[tuple[int, int]]) -> None:
    attempt(lambda: use(Btf(damage(GOOD, places))))


@settings(deadline=None)
@given(changes)
def test_a_damaged_index(places: list[tuple[int, int]]) -> None:
    attempt(lambda: use(Btf(GOOD, index=damage(INDEX, [(p + 24, v) for p, v in places]))))
    attempt(lambda: decode_ext(damage(EXT, places), sample_btf().string))


@settings(deadline=None)
@given(changes)
def test_a_damaged_split(places: list[tuple[int, int]]) -> None:
    base = Btf(GOOD)
    attempt(lambda: use(Btf(damage(GOOD, places), base=base)))
