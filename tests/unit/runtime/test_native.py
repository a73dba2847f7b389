"""The native reader beside the Python handlers: the same records give the same text."""

from __future__ import annotations

import ctypes
import io
import struct
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes import NAMER

from trapline.codegen.jit import compile_position_independent
from trapline.errors import DecodeError, KernelError
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.runtime.loop import EventLoop
from trapline.runtime.native import tables as t
from trapline.runtime.native.drain import NativeReader
from trapline.runtime.native.plan import make_plan
from trapline.runtime.native.reader import ENTRY, reader_functions
from trapline.runtime.output import Sink, TextOutput
from trapline.runtime.output.json import JsonOutput
from trapline.syscall.ringbuf import RingAddresses

BUSY, DISCARD = 1 << 31, 1 << 30


@cache
def code() -> tuple[bytes, int]:
    return compile_position_independent(reader_functions(), ENTRY)


class MemoryRing:
    """A ring in our own memory, with its data twice in a row, that a test fills."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self._positions = (ctypes.c_uint64 * 2)()
        self._data = ctypes.create_string_buffer(2 * size)

    @property
    def addresses(self) -> RingAddresses:
        base = ctypes.addressof(self._positions)
        return RingAddresses(base, base + 8, ctypes.addressof(self._data), self.size - 1)

    @property
    def consumer_position(self) -> int:
        return self._positions[0]

    @property
    def producer_position(self) -> int:
        return self._positions[1]

    def start_at(self, position: int) -> None:
        self._positions[0] = self._positions[1] = position

    def put(self, payload: bytes, flags: int = 0) -> None:
        head = struct.pack("<II", len(payload) | flags, 0)
        position = self._positions[1]
        for at, byte in enumerate(head + payload):
            place = (position + at) % self.size
            self._data[place] = self._data[place + self.size] = byte
        self._positions[1] = position + (len(head + payload) + 7) // 8 * 8

    def take(self, limit: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
        """As `RingBuffer.take`."""
        start, end = self._positions
        base = start % self.size
        data = self._data.raw[base : base + end - start]
        records, at = [], 0
        while at < end - start and not (limit and len(records) >= limit):
            (length,) = struct.unpack_from("<I", data, at)
            if length & BUSY:
                break
            if not length & DISCARD:
                records.append((at + 8, length & ~(BUSY | DISCARD)))
            at += ((length & ~(BUSY | DISCARD)) + 8 + 7) // 8 * 8
        self._positions[0] = start + at
        return data, records


def make_reader(events: Sequence[s.Event], output: TextOutput | JsonOutput, ring: MemoryRing) -> NativeReader | None:
    """What the engine makes, from the code as it is now."""
    assert output.framing is not None
    plan = make_plan(events, output.framing, b"..", NAMER)
    return NativeReader(code(), plan, ring) if plan.shown else None


def run(
    events: Sequence[s.Event], ring: MemoryRing, *, native: bool, json: bool = False, limit: int | None = None
) -> tuple[str, EventLoop]:
    """Handle all that is in the ring; return the text and the loop."""
    out = io.BytesIO()
    output = JsonOutput(Sink(out)) if json else TextOutput(Sink(out), Sink(io.BytesIO()))
    program = s.ObjectProgram("a", "KPROBE", b"", label="kprobe:a")
    loop = EventLoop(
        s.ObjectSpec("stdin", "", (program,), events=tuple(events)),
        ring=ring,
        maps={},
        output=output,
        namer=NAMER,
        native=(lambda: make_reader(events, output, ring)) if native else None,
    )
    with loop:
        while loop.process() and not loop.exited:
            pass
        output.close()
    return out.getvalue().decode("utf-8", "surrogateescape"), loop


def header(event: int = 0) -> bytes:
    return struct.pack("<II", event, 0)


def compare(events: Sequence[s.Event], records: Sequence[bytes], *, json: bool = False, start: int = 0) -> str:
    """Both ways show the same; return it.  The records are repeated until there is much."""
    texts = []
    for native in (False, True):
        ring = MemoryRing(1 << 19)
        ring.start_at(start)
        for _ in range(1 + 8192 // sum(len(record) + 8 for record in records)):
            for record in records:
                ring.put(record)
        text, _ = run(events, ring, native=native, json=json)
        assert ring.consumer_position == ring.producer_position
        texts.append(text)
    assert texts[0] == texts[1]
    return texts[0]


NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(-300, 300) | st.sampled_from([0, -1, 1 << 63, 1 << 31])
CONVERSIONS = st.builds(
    "".join,
    st.tuples(
        st.just("%"),
        st.sampled_from(["", "", "-", "0", "-0", "#", "+", " ", "#0"]),
        st.sampled_from(["", "", "1", "5", "12", "30"]),
        st.sampled_from(["", "", "", ".3"]),
        st.sampled_from(["", "hh", "h", "l", "ll", "j", "z"]),
        st.sampled_from("diuxXcpo"),
    ),
)


@given(
    conversions=st.lists(st.tuples(CONVERSIONS, st.sampled_from([1, 2, 4, 8]), st.booleans(), NUMBERS), max_size=5),
    literal=st.sampled_from(["", " ", "%%", "a longer text between them: "]),
    json=st.booleans(),
)
def test_numbers(conversions: list[tuple[str, int, bool, int]], literal: str, json: bool) -> None:
    at, data, fields = 8, header(), []
    for _, size, signed, number in conversions:
        fields.append(s.Field(at, v.IntV(size, signed)))
        data += (number & ((1 << 8 * size) - 1)).to_bytes(size, "little").ljust(8, b"\xee")
        at += 8
    format = literal.join(["<", *[conversion for conversion, *_ in conversions], ">\n"])
    compare([s.PrintfEvent(format, tuple(fields), len(data))], [data], json=json)


@given(
    text=st.binary(max_size=40) | st.text('ab"\\\n\x7fé', max_size=40).map(lambda text: text.encode()),
    size=st.sampled_from([1, 7, 8, 16, 20, 24]),
    form=st.sampled_from(["%s", "%10s|", "%-10s|", "%30s", "%-30s|", "%.3s", "<%s>"]),
    json=st.booleans(),
)
def test_strings(text: bytes, size: int, form: str, json: bool) -> None:
    data = header() + text[:size].ljust(size, b"\0") + bytes(-size % 8)
    compare([s.PrintfEvent(form + "\n", (s.Field(8, v.StrV(size)),), len(data))], [data], json=json)


def test_what_it_is_for() -> None:
    fields = (s.Field(8, v.IntV(4)), s.Field(12, v.IntV(4)), s.Field(16, v.StrV(16)))
    data = header() + struct.pack("<Ii16s", 4711, -3, b"python3")
    event = s.PrintfEvent("%d %d %s\n", fields, len(data))
    assert compare([event], [data]).splitlines()[0] == "4711 -3 python3"
    plain = '{"type": "printf", "data": "4711 -3 python3\\n"}'
    assert compare([event], [data], json=True).splitlines()[0] == plain


@pytest.mark.parametrize("start", [0, (1 << 19) - 8, (1 << 19) - 24, (1 << 40) - 16])
def test_records_cross_the_end_of_the_ring(start: int) -> None:
    fields = (s.Field(8, v.StrV(64)),)
    records = [header() + bytes([97 + n]) * (n * 3 % 64) + bytes(64 - n * 3 % 64) for n in range(26)]
    compare([s.PrintfEvent("%s\n", fields, 72)], records, start=start)


def test_values() -> None:
    pair = v.TupleV(((0, v.IntV(4)), (8, v.TupleV(((0, v.StrV(8)), (8, v.IntV(1, False))), 16))), 24)
    data = header() + struct.pack("<i4x8sB7x", -5, b"x" * 8, 200)
    event = s.PrintValueEvent(s.Field(8, pair), len(data))
    assert compare([event], [data]).splitlines()[0] == "(-5, (xxxxxxxx.., 200))"
    compare([event], [data], json=True)


def stack_record(frames: Sequence[int], limit: int = 6, pid: int = 0) -> bytes:
    addresses = struct.pack(f"<{len(frames)}Q", *frames)
    return header() + struct.pack("<II", pid, len(frames)) + addresses.ljust(8 * limit, b"\xee")


@given(
    stacks=st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=6), min_size=1, max_size=20),
    form=st.sampled_from(["%s", "%40s|", "%-40s|", "%.7s"]),
    json=st.booleans(),
)
def test_stacks_are_remembered(stacks: list[list[int]], form: str, json: bool) -> None:
    fields = (s.Field(8, v.StackV(True, 6)),)
    compare([s.PrintfEvent(f"x {form}\n", fields, 64)], [stack_record(frames) for frames in stacks], json=json)


@given(
    values=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), min_size=1, max_size=20),
    json=st.booleans(),
)
def test_names_are_remembered(values: list[tuple[int, int]], json: bool) -> None:
    named = v.EnumV(4, False, "e", ((0, "zero"), (1, "one")))
    fields = (s.Field(8, named), s.Field(16, v.KsymV()))
    records = [header() + struct.pack("<IIQ", small, 0xEEEEEEEE, address) for small, address in values]
    compare([s.PrintfEvent("%s %-20s %d\n", (*fields, fields[0]), 24)], records, json=json)


def test_more_values_than_can_be_remembered() -> None:
    event = s.PrintfEvent("%s\n", (s.Field(8, v.KsymV()),), 16)
    records = [header() + struct.pack("<Q", number % 9000) for number in range(12000)]
    compare([event], records)


def test_what_python_showed_once_needs_no_python() -> None:
    event = s.PrintfEvent("%s\n", (s.Field(8, v.StackV(True, 6)),), 64)
    ring = MemoryRing()
    reader = make_reader([event], TextOutput(Sink(io.BytesIO()), Sink(io.BytesIO())), ring)
    assert reader is not None
    for _ in range(3):
        ring.put(stack_record([1, 2, 3]))
    assert reader.read() == (t.PYTHON, 0, b"")
    reader.take_record()
    status, handled, text = reader.read()
    assert (status, handled) == (t.DONE, 2)
    assert text == 2 * b"\n        k1+1\n        k2+1\n        k3+1\n\n"
    ring.put(stack_record([1, 2]))
    assert reader.read()[0] == t.PYTHON


def test_records_for_python_keep_their_place() -> None:
    stack = s.PrintfEvent("stack %s\n", (s.Field(8, v.PtrV(8)),), 16)
    events = [s.PrintfEvent("number %d\n", (s.Field(8, v.IntV(8)),), 16), stack]
    number, pointer = (header(event) + struct.pack("<Q", 7) for event in (0, 1))
    for pattern in ([number] * 100 + [pointer], [number, pointer], [pointer], [pointer] * 50 + [number] * 200):
        assert compare(events, pattern)


def test_discarded_and_unfinished_records() -> None:
    event = s.PrintfEvent("%d\n", (s.Field(8, v.IntV(8)),), 16)
    ring = MemoryRing()
    for number in range(400):
        ring.put(header() + struct.pack("<Q", number), DISCARD if number % 3 == 0 else 0)
    finished = ring.producer_position
    ring.put(header() + struct.pack("<Q", 1), BUSY)
    ring.put(header() + struct.pack("<Q", 2))
    text, _ = run([event], ring, native=True)
    assert text.split() == [str(number) for number in range(400) if number % 3]
    assert ring.consumer_position == finished


def test_exit_ends_the_batch() -> None:
    events = [s.PrintfEvent("%d\n", (s.Field(8, v.IntV(8)),), 16), s.ExitEvent(8, 16)]
    ring = MemoryRing()
    for number in range(400):
        ring.put(header(number == 300) + struct.pack("<Q", number))
    text, loop = run(events, ring, native=True)
    assert text.split() == [str(number) for number in range(300)]
    assert loop.exited
    assert loop.exit_code == 300


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (header(9) + bytes(8), "event 9 of 1"),
        (header(), "has 8 bytes instead of 16"),
        (b"abcd", "has no header"),
    ],
)
def test_malformed_records(record: bytes, message: str) -> None:
    event = s.PrintfEvent("%d\n", (s.Field(8, v.IntV(8)),), 16)
    ring = MemoryRing()
    for _ in range(400):
        ring.put(header() + bytes(8))
    ring.put(record)
    for _ in range(400):
        ring.put(header() + bytes(8))
    with pytest.raises(DecodeError, match=message):
        run([event], ring, native=True)


def test_more_text_than_fits_in_one_call() -> None:
    ring = MemoryRing(1 << 20)
    event = s.PrintfEvent("%1000d\n", (s.Field(8, v.IntV(8)),), 16)
    for number in range(2000):
        ring.put(header() + struct.pack("<Q", number))
    text, _ = run([event], ring, native=True)
    assert text == "".join(f"{number:>1000}\n" for number in range(2000))


@pytest.mark.parametrize("error", [PermissionError(1, "no"), KernelError("cannot map code", errno=13)])
def test_where_code_may_not_run_the_handlers_do_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: bytes, entry: int = 0) -> object:
        raise error

    monkeypatch.setattr("trapline.runtime.native.drain.MachineCode", refuse)
    event = s.PrintfEvent("%d\n", (s.Field(8, v.IntV(8)),), 16)
    ring = MemoryRing()
    for number in range(400):
        ring.put(header() + struct.pack("<Q", number))
    text, _ = run([event], ring, native=True)
    assert text.split() == [str(number) for number in range(400)]


def test_only_what_it_can_show_is_planned() -> None:
    output = TextOutput(Sink(io.BytesIO()), Sink(io.BytesIO()))
    number = s.Field(8, v.IntV(8))
    suited = [s.PrintfEvent(f"{c}\n", (number,), 16) for c in ("%d", "%-8x", "%08lld", "%p", "%c", "%#x")]
    unsuited = [s.PrintfEvent(f"{c}\n", (number,), 16) for c in ("%+d", "%o", "%.3d", "%s", "%99999d")]
    others = [s.ExitEvent(8, 16), s.PrintfEvent("x", (), 8, "error")]
    assert output.framing is not None
    assert make_plan(suited, output.framing, b"..", NAMER).shown == len(suited)
    assert make_plan([*unsuited, *others], output.framing, b"..", NAMER).shown == 0
