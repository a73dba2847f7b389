"""The native printer of maps beside the Python one: the same elements give the same text."""

from __future__ import annotations

import io
import os
import struct
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER, FakeMap, map_spec

from trapline.codegen.jit import compile_position_independent
from trapline.ir import values as v
from trapline.ir.spec import MapSpec
from trapline.runtime.maps import MapReader
from trapline.runtime.native import _generated_elements, elements
from trapline.runtime.native.elements_ir import ENTRY, element_functions
from trapline.runtime.output import Sink, TextOutput
from trapline.runtime.output.json import JsonOutput
from trapline.syscall.machine_code import MachineCode

CPUS = 3
Element = tuple[bytes, bytes]


@cache
def code() -> tuple[bytes, int]:
    return compile_position_independent(element_functions(), ENTRY)


def python_text(spec: MapSpec, items: list[Element], top: int = 0) -> bytes:
    out = io.BytesIO()
    output = TextOutput(Sink(out), Sink(io.BytesIO()))
    output.map(spec, MapReader(FakeMap(spec, items), NAMER).read(top))
    output.close()
    return out.getvalue()


def native_text(spec: MapSpec, items: list[Element], top: int = 0) -> bytes | None:
    plan = elements.make_element_plan(spec, b"..", NAMER)
    if plan is None:
        return None
    packed = FakeMap(spec, items).packed()
    assert packed is not None
    printer = MachineCode(*code())
    try:
        return b"".join(elements.element_texts(printer, plan, packed, top))
    finally:
        printer.close()


def shown(spec: MapSpec, items: list[Element], output: TextOutput | JsonOutput, out: io.BytesIO, top: int = 0) -> bytes:
    MapReader(FakeMap(spec, items), NAMER).show(output, top)
    output.close()
    return out.getvalue()


INTEGERS = st.builds(v.IntV, st.sampled_from([1, 2, 4, 8]), st.booleans())
STRINGS = st.builds(v.StrV, st.integers(1, 20))


def tuples(parts: st.SearchStrategy[v.Value]) -> st.SearchStrategy[v.Value]:
    def lay_out(chosen: list[v.Value]) -> v.TupleV:
        at, placed = 0, []
        for part in chosen:
            at = (at + 7) & ~7
            placed.append((at, part))
            at += part.size
        return v.TupleV(tuple(placed), (at + 7) & ~7)

    return st.lists(parts, min_size=1, max_size=3).map(lay_out)


KEYS: st.SearchStrategy[v.Value] = st.recursive(INTEGERS | STRINGS, tuples, max_leaves=4)
WORDS = st.integers(0, (1 << 64) - 1) | st.integers(0, 300) | st.sampled_from([1 << 63, (1 << 64) - 1])


def key_bytes(draw: st.DrawFn, layout: v.Value) -> bytes:
    """A key as programs write it: nothing but zeros behind the end of a string and between the elements of a tuple."""
    if isinstance(layout, v.TupleV):
        raw = bytearray(layout.size)
        for at, part in layout.elements:
            raw[at : at + part.size] = key_bytes(draw, part)
        return bytes(raw)
    if isinstance(layout, v.StrV):
        text = draw(st.binary(max_size=layout.size) | st.text("ab", max_size=layout.size).map(str.encode))
        return text.partition(b"\0")[0].ljust(layout.size, b"\0")
    return (draw(WORDS) & (1 << 8 * layout.size) - 1).to_bytes(layout.size, "little")


@st.composite
def maps(draw: st.DrawFn) -> tuple[MapSpec, list[Element]]:
    key = draw(KEYS)
    per_cpu = draw(st.booleans())
    sizes = [8] if per_cpu else [1, 2, 4, 8]
    value = draw(
        st.sampled_from([v.CountV(), v.SumV(signed=True), v.SumV(signed=False)])
        | st.builds(v.IntV, st.sampled_from(sizes), st.booleans())
    )
    spec = map_spec("@m", key, value, type="PERCPU_HASH" if per_cpu else "HASH")
    items = {}
    for _ in range(draw(st.integers(1, 12))):
        words = [draw(WORDS) & (1 << 8 * value.size) - 1 for _ in range(CPUS if per_cpu else 1)]
        items[key_bytes(draw, key)] = b"".join(word.to_bytes(value.size, "little") for word in words)
    return spec, list(items.items())


@given(maps(), st.integers(0, 5))
def test_any_elements(made: tuple[MapSpec, list[Element]], top: int) -> None:
    spec, items = made
    assert native_text(spec, items, top) == python_text(spec, items, top)


def many(count: int) -> tuple[MapSpec, list[Element]]:
    """Counts by name and number, on several CPUs, in no order."""
    key = v.TupleV(((0, v.StrV(16)), (16, v.IntV(8))), 24)
    spec = map_spec("@calls", key, v.CountV(), type="PERCPU_HASH")
    items = []
    for index in range(count):
        name = b"task%d" % (index * 7919 % 311)
        words = (index * 31 % 17, 0, index * 13 % 1009)
        items.append((name.ljust(16, b"\0") + struct.pack("<q", 500 - index), struct.pack("<3Q", *words)))
    return spec, items


def test_more_than_one_call_can_hold() -> None:
    spec, items = many(20_000)
    text = python_text(spec, items)
    assert len(text) > 3 * (128 << 10)
    assert native_text(spec, items) == text


@pytest.mark.parametrize("top", [0, 7])
@pytest.mark.parametrize("count", [1, 999, 1000, 2500])
def test_show_writes_what_python_writes(count: int, top: int) -> None:
    spec, items = many(count)
    out = io.BytesIO()
    assert shown(spec, items, TextOutput(Sink(out), Sink(io.BytesIO())), out, top) == python_text(spec, items, top)


def test_show_leaves_many_elements_to_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, items = many(1000)
    if os.uname().machine not in _generated_elements.CODE:
        pytest.skip(f"there is no native code for {os.uname().machine}")
    monkeypatch.setattr(TextOutput, "map", lambda *_: pytest.fail("printed by Python"))
    out = io.BytesIO()
    text = shown(spec, items, TextOutput(Sink(out), Sink(io.BytesIO())), out)
    assert text == native_text(spec, items)


def test_a_machine_that_runs_no_such_code(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, items = many(1000)
    monkeypatch.setattr(elements, "open_printer", lambda: None)
    out = io.BytesIO()
    assert shown(spec, items, TextOutput(Sink(out), Sink(io.BytesIO())), out) == python_text(spec, items)


def test_json_is_left_to_python() -> None:
    spec, items = many(1000)
    out = io.BytesIO()
    assert shown(spec, items, JsonOutput(Sink(out)), out).startswith(b'{"type": "map", "data": {"@calls": {"task')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (v.StackV(16), v.CountV()),
        (v.KsymV(8), v.CountV()),
        (v.IntV(8), v.AvgV(True)),
        (v.StrV(1024), v.CountV()),
        (v.TupleV(((0, v.IntV(8)), (8, v.BoolV())), 16), v.CountV()),
    ],
)
def test_other_maps_are_left_to_python(key: v.Value, value: v.Value) -> None:
    assert elements.make_element_plan(map_spec("@", key, value), b"..", NAMER) is None
