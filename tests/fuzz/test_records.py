"""Whatever bytes come from a ring or a map: only `TraplineError` may escape."""

from __future__ import annotations

import io
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER, FakeMap, FakeRing, map_spec

from trapline.errors import DecodeError, TraplineError
from trapline.ir import serial
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.runtime.aggregate import make_reader
from trapline.runtime.decode import make_decoder
from trapline.runtime.display import make_json, make_key_json, make_key_text, make_text
from trapline.runtime.loop import EventLoop
from trapline.runtime.output import Sink, TextOutput
from trapline.runtime.output.json import JsonOutput

LEAVES = st.one_of(
    st.builds(v.IntV, st.sampled_from([1, 2, 4, 8, 16]), st.booleans()),
    st.just(v.BoolV()),
    st.builds(v.EnumV, st.sampled_from([1, 2, 4, 8]), st.booleans(), st.just("e"), st.just(((0, "A"), (1, "B")))),
    st.just(v.PtrV()),
    st.builds(v.StrV, st.integers(0, 20)),
    st.builds(v.BufV, st.integers(4, 20)),
    st.just(v.KsymV()),
    st.just(v.UsymV()),
    st.builds(v.StackV, st.booleans(), st.integers(1, 4), st.sampled_from(["bpftrace", "perf", "raw"])),
    st.just(v.InetV()),
    st.just(v.MacV()),
    st.just(v.UsernameV()),
    st.just(v.TimestampV("%H:%M:%S.%f")),
    st.just(v.CgroupPathV()),
    st.just(v.ProbeNameV()),
    st.builds(v.BitsV, st.just(8), st.integers(0, 40), st.integers(1, 24), st.booleans()),
)


def _tuples(parts: list[v.Value]) -> v.TupleV:
    places, offset = [], 0
    for part in parts:
        places.append((offset, part))
        offset += part.size
    return v.TupleV(tuple(places), offset)


def _records(parts: list[v.Value]) -> v.RecordV:
    layout = _tuples(parts)
    return v.RecordV(tuple((f"f{i}", place, part) for i, (place, part) in enumerate(layout.elements)), layout.size)


LAYOUTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(v.ArrayV, inner, st.integers(0, 3)),
        st.lists(inner, max_size=3).map(_tuples),
        st.lists(inner, max_size=3).map(_records),
    ),
    max_leaves=6,
)


@given(LAYOUTS, st.binary(max_size=200), st.integers(-3, 50))
def test_any_bytes_of_any_layout(layout: v.Value, data: bytes, offset: int) -> None:
    try:
        item = make_decoder(layout, NAMER)(data, offset)
    except DecodeError:
        assert offset < 0 or offset + layout.size > len(data)
        return
    make_text(layout)(item)
    make_key_text(layout)(item)
    make_json(layout)(item).encode()
    make_key_json(layout)(item).encode()
    repr(item)


AGGREGATES = st.one_of(
    st.just(v.CountV()),
    st.builds(v.SumV, st.booleans()),
    st.builds(v.MinV, st.booleans()),
    st.builds(v.MaxV, st.booleans()),
    st.builds(v.AvgV, st.booleans()),
    st.builds(v.StatsV, st.booleans()),
    st.builds(v.IntV, st.sampled_from([1, 4, 8]), st.booleans()),
    st.just(v.StrV(8)),
)


@given(LAYOUTS.filter(lambda layout: layout.size), AGGREGATES, st.data())
def test_any_map(key: v.Value, value: v.Value, data: st.DataObject) -> None:
    per_cpu = not isinstance(value, v.IntV | v.StrV)
    raw = map_spec("@m", key, value, type="PERCPU_HASH" if per_cpu else "HASH")
    size = value.size * (2 if per_cpu else 1)
    pairs = st.tuples(st.binary(min_size=key.size, max_size=key.size), st.binary(min_size=size, max_size=size))
    items = make_reader(raw, NAMER)(data.draw(st.lists(pairs, max_size=4)))
    out = io.BytesIO()
    for output in (TextOutput(Sink(out), Sink(out)), JsonOutput(Sink(out))):
        output.map(raw, items)
        output.close()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 2**64 - 1), st.integers(0, 2**63)), max_size=6))
def test_any_histogram(buckets: list[tuple[int, int, int]]) -> None:
    for value in (v.HistV(), v.HistV(3), v.LhistV(-5, 50, 7)):
        raw = map_spec("@h", None, value, type="PERCPU_HASH", scalar=True)
        items = make_reader(raw, NAMER)([(struct.pack("<Q", i), struct.pack("<QQ", a, b)) for i, a, b in buckets])
        out = io.BytesIO()
        for output in (TextOutput(Sink(out), Sink(out)), JsonOutput(Sink(out))):
            output.map(raw, items)
            output.close()


EVENTS: tuple[s.Event, ...] = (
    s.PrintfEvent("%d %s %c %x\n", tuple(s.Field(8 + 8 * i, v.IntV(8)) for i in range(4)), 40),
    s.PrintfEvent("%s %r\n", (s.Field(8, v.StrV(8)), s.Field(16, v.BufV(12))), 28),
    s.PrintValueEvent(s.Field(8, v.StackV(True, 2)), 32),
    s.PrintMapEvent("@m"),
    s.PrintMapElementEvent("@m", s.Field(8, v.IntV(8)), s.Field(16, v.IntV(8)), 24),
    s.ClearMapEvent("@m"),
    s.TimeEvent("%H\n"),
    s.JoinEvent(" ", 8, 4, 3, 16),
    s.ExitEvent(8, 16),
    s.RawEvent("x"),
)


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda event, rest: struct.pack("<II", event, 0) + rest, st.integers(0, 12), st.binary(max_size=60)
            ),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_any_record(records: list[bytes], typed: bool) -> None:
    program = s.ObjectProgram("p", "KPROBE", b"", label="kprobe:p")
    spec = s.ObjectSpec("stdin", "", (program,), events=EVENTS, typed_events=typed)
    raw = FakeMap(map_spec("@m", v.IntV(8), v.IntV(8)))
    seen: list[Any] = []
    for output in (TextOutput(Sink(io.BytesIO()), Sink(io.BytesIO())), JsonOutput(Sink(io.BytesIO()))):
        ring = FakeRing()
        for record in records:
            ring.put(record)
        with EventLoop(
            spec, ring=ring, maps={"@m": raw}, output=output, namer=NAMER, on_raw={"x": seen.append}
        ) as loop:
            try:
                while loop.process():
                    pass
                loop.finish()
            except TraplineError:
                continue


SAMPLE = serial.encode_object(s.ObjectSpec("stdin", "x", (s.ObjectProgram("p", "KPROBE", b"\0" * 16),), events=EVENTS))


@given(st.binary(max_size=200))
def test_any_bytes_as_object(data: bytes) -> None:
    try:
        serial.decode_object(data)
    except DecodeError:
        pass
    else:
        raise AssertionError("random bytes were accepted")


@given(
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["IntV", "ArrayV", "TupleV"])
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=20,
    )
)
def test_any_json_as_layout(plain: Any) -> None:
    import binascii
    import json

    text = json.dumps(["ArrayV", plain, 3]).encode()
    size = struct.pack("<I", len(text))
    data = b"TLOS" + struct.pack("<II", 1, binascii.crc32(size + text)) + size + text
    try:
        layout = serial.decode(data, v.ArrayV)
    except DecodeError:
        return
    assert serial.decode(serial.encode(layout), v.ArrayV) == layout


@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    data = bytearray(SAMPLE)
    data[place] ^= change
    try:
        serial.decode_object(bytes(data))
    except DecodeError:
        return
    raise AssertionError("a changed byte was accepted")
