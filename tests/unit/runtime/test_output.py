"""Byte for byte what bpftrace 0.27.1 wrote: maps.txt and maps.ndjson are its stdout for fixtures/maps.bt."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.runtime.fakes import NAMER, FakeMap, map_spec, u64

from trapline.errors import KernelError
from trapline.ir import values as v
from trapline.ir.buckets import hist_index, lhist_index
from trapline.ir.spec import FaultSite
from trapline.runtime.display import histogram_text, json_string, make_json, make_text
from trapline.runtime.maps import MapReader
from trapline.runtime.objects import Bucket, Histogram
from trapline.runtime.output import Location, Output, Sink, TextOutput
from trapline.runtime.output.json import JsonOutput

FIXTURES = Path(__file__).parent / "fixtures"
I64 = v.IntV(8)
STR = v.StrV(16)


def key(*numbers: int) -> bytes:
    return u64(*numbers)


def text(string: str) -> bytes:
    return string.encode().ljust(16, b"\0")


def hist(numbers: list[int], bits: int = 0, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
    return _buckets([hist_index(n, bits) for n in numbers], prefix)


def lhist(numbers: list[int], low: int, high: int, step: int, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
    return _buckets([lhist_index(n, low, high, step) for n in numbers], prefix)


def _buckets(indices: list[int], prefix: bytes) -> list[tuple[bytes, bytes]]:
    return [(prefix + struct.pack("<I", i), u64(0, indices.count(i))) for i in dict.fromkeys(indices)]


def tuple_of(*elements: v.Value) -> v.TupleV:
    places, offset = [], 0
    for element in elements:
        places.append((offset, element))
        offset += (element.size + 7) & ~7
    return v.TupleV(tuple(places), offset)


def program_maps() -> Iterator[FakeMap]:
    """The maps of fixtures/maps.bt as the kernel would hold them, on two CPUs."""

    def scalar(name: str, value: v.Value, *items: tuple[bytes, bytes]) -> FakeMap:
        return FakeMap(map_spec(name, None, value, type=kind(value), scalar=True), items)

    def keyed(name: str, layout: v.Value, value: v.Value, *items: tuple[bytes, bytes]) -> FakeMap:
        return FakeMap(map_spec(name, layout, value, type=kind(value)), items)

    def kind(value: v.Value) -> str:
        return "PERCPU_HASH" if isinstance(value, v.AGGREGATES) else "HASH"

    none = key(0)
    yield keyed("@a", I64, v.AvgV(), (key(1), u64(5, 1, 0, 0)), (key(2), u64(0, 0, 3, 1)))
    yield scalar("@a1", v.AvgV(), (none, u64(7, 1)))
    yield keyed("@arr", I64, v.PtrV(), (key(1), u64(7)))
    yield keyed("@b", v.BoolV(), I64, (b"\1", u64(1)))
    yield scalar("@bb", v.BufV(8), (none, struct.pack("<I4s", 3, b"\0ab")))
    yield scalar("@big", I64, (none, u64(1 << 62)))
    yield scalar("@big1", I64, (none, u64((1 << 62) + 1)))
    yield scalar("@c", v.CountV(), (none, u64(1, 0)))
    numbers = [-1, 0, 1, 2, 2, 3, 1000, 1024, 100000, 3000000, 10737418240]
    yield keyed("@h", I64, v.HistV(), *hist(numbers, prefix=key(1)), *hist([1], prefix=key(2)))
    yield scalar("@h2", v.HistV(2), *hist([0, 3, 4, 9, 40, 41, 1300], 2))
    yield keyed("@i", I64, I64, (key(1), u64(5)), (key(2), u64(-3)), (key(0), u64(2)))
    yield scalar("@l", v.LhistV(0, 4096, 1024), *lhist([-5, 5, 5000, 2000], 0, 4096, 1024))
    yield scalar("@l1", v.LhistV(0, 10, 1), *lhist([5, 6], 0, 10, 1))
    yield keyed("@lk", STR, v.LhistV(0, 10, 2), *lhist([3], 0, 10, 2, text("x_y")))
    yield scalar("@ln", v.LhistV(0, 10, 2), *lhist([-3], 0, 10, 2))
    yield scalar("@lo", v.LhistV(0, 10, 2), *lhist([50], 0, 10, 2))
    yield scalar("@m", v.MinV(), (none, u64(0, 0, -5, 1)))
    yield keyed("@mx", I64, v.MaxV(), *[(key(n), u64(value, 1)) for n, value in ((1, 5), (2, 6), (0, 1))])
    yield keyed("@n", tuple_of(STR, tuple_of(I64, I64)), STR, (text("x") + key(1, 2), text("q")))
    yield scalar("@r", v.RecordV((("a", 0, I64), ("b", 8, STR)), 24), (none, u64(1) + text("z")))
    yield keyed("@s", I64, v.StatsV(), (key(3), u64(5, 1, 8, 1)))
    yield scalar("@s1", v.StatsV(), (none, u64(-5, 1)))
    yield scalar("@st", tuple_of(I64, STR), (none, u64(1) + text("x y")))
    yield keyed("@str", STR, STR, (text("b"), text("x")), (text("a"), text('y\n"\\\t\x01')))
    yield scalar("@sum", v.SumV(), (none, u64(-4, 1)))
    yield keyed(
        "@t",
        tuple_of(I64, STR),
        I64,
        *[(u64(n) + text(s), u64(x)) for n, s, x in ((2, "b", 3), (1, "z", 2), (1, "a", 1))],
    )
    yield keyed("@e", STR, I64)


def write_maps(output: Output) -> None:
    output.end()
    for raw in program_maps():
        items = MapReader(raw, NAMER).read()
        if items:
            output.map(raw.spec, items)
    output.close()


def test_text_of_maps() -> None:
    out, err = io.BytesIO(), io.BytesIO()
    write_maps(TextOutput(Sink(out), Sink(err)))
    assert out.getvalue() == (FIXTURES / "maps.txt").read_bytes()
    assert err.getvalue() == b""


def test_json_of_maps() -> None:
    out = io.BytesIO()
    write_maps(JsonOutput(Sink(out)))
    assert out.getvalue() == (FIXTURES / "maps.ndjson").read_bytes()
    for line in out.getvalue().splitlines():
        json.loads(line)


@pytest.fixture
def streams() -> tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]:
    out, err = io.BytesIO(), io.BytesIO()
    return out, err, TextOutput(Sink(out), Sink(err)), JsonOutput(Sink(out))


def test_text_notices(streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]) -> None:
    out, err, output, _ = streams
    output.attached_probes(1)
    output.attached_probes(2)
    output.lost_events(5)
    output.lost_total({"kprobe:a": 3, "kprobe:b": 2})
    output.missed_hits("kprobe:a", 7, "recursion")
    assert err.getvalue() == (
        b"Attached 1 probe\nAttached 2 probes\nLost 5 events\nWARNING: Total lost event count: 5\n"
        b"WARNING: Lost events of kprobe:a: 3\nWARNING: Lost events of kprobe:b: 2\n"
        b"WARNING: Missed hits of kprobe:a: 7 (recursion)\n"
    )
    assert out.getvalue() == b""


PLACE = Location("s.bt:2:62-69", "s.bt", 2, 62, "@x[3]=9;\n~~~~~~~")
FULL = FaultSite("map_full", "map_update_elem", (62, 69))
FULL_TEXT = (
    b"s.bt:2:62-69: WARNING: Map full; can't update element. Try increasing max_map_keys config or manually setting "
    b"the max entries in a map declaration e.g. `let @a = hash(5000)`\n"
    b"Additional Info - helper: map_update_elem, retcode: -7\n@x[3]=9;\n~~~~~~~\n"
)
ZERO_TEXT = (
    b"s.bt:2:62-69: WARNING: Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as "
    b"the result.\n@x[3]=9;\n~~~~~~~\n"
)


def test_text_faults(streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]) -> None:
    _, err, output, _ = streams
    output.fault(FULL, 1, -7, PLACE)
    output.fault(FaultSite("div_zero", "", None), 1, 0, PLACE)
    assert err.getvalue() == FULL_TEXT + ZERO_TEXT
    err.truncate(0)
    err.seek(0)
    output.fault(FULL, 3, -7, PLACE)
    assert b"retcode: -7, count: 3\n" in err.getvalue()
    output.fault(FaultSite("helper", "probe_read_user_str", None), 1, -14, None)
    assert err.getvalue().endswith(
        b"WARNING: Bad address\nAdditional Info - helper: probe_read_user_str, retcode: -14\n"
    )
    silent = TextOutput(Sink(io.BytesIO()), Sink(quiet := io.BytesIO()), quiet=True, warnings=False)
    silent.fault(FULL, 1, -7, PLACE)
    silent.attached_probes(3)
    assert quiet.getvalue() == b""


@pytest.mark.parametrize(
    ("site", "result", "words"),
    [
        (FaultSite("missing_key", "map_lookup_elem", None), 0, b"Can't lookup map element because it does not exist."),
        (FaultSite("helper", "map_delete_elem", None), -2, b"Can't delete map element because it does not exist."),
        (FaultSite("read", "probe_read_kernel", None), -14, b"Bad address"),
    ],
)
def test_fault_words(
    site: FaultSite, result: int, words: bytes, streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]
) -> None:
    _, err, output, _ = streams
    output.fault(site, 1, result, None)
    assert err.getvalue().startswith(b"WARNING: " + words + b"\n")


def test_json_notices(streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]) -> None:
    out, _, _, output = streams
    output.attached_probes(2)
    output.lost_events(5)
    output.fault(FULL, 1, -7, PLACE)
    output.fault(FaultSite("div_zero", "", None), 1, 0, PLACE)
    output.message(b"w\n", error=False, location=PLACE)
    output.message(b"bad 5", error=True, location=PLACE)
    output.lost_total({"kprobe:a": 3})
    output.missed_hits("kprobe:a", 7, "recursion")
    output.warning("careful")
    output.close()
    place = b'"filename": "s.bt", "line": 2, "col": 62}\n'
    assert out.getvalue() == (
        b'{"type": "attached_probes", "count": 2, "data": {"probes": 2}}\n'
        b'{"type": "lost_events", "count": 5, "data": {"events": 5}}\n'
        b'{"type": "helper_error", "msg": "Argument list too long", "helper": "map_update_elem", "retcode": -7, '
        + place
        + b'{"type": "runtime_error", "msg": "Divide or modulo by 0 detected. This can lead to unexpected results. 1 '
        b'is being used as the result.", '
        + place
        + b'{"type": "warnf", "msg": "w\\n", '
        + place
        + b'{"type": "errorf", "msg": "bad 5", '
        + place
        + b'{"type": "lost_events_total", "count": 3, "data": {"events": {"kprobe:a": 3}}}\n'
        b'{"type": "missed_hits", "count": 7, "data": {"probe": "kprobe:a", "cause": "recursion"}}\n'
        b'{"type": "warning", "msg": "careful"}\n'
    )


def test_json_keeps_text_that_bpftrace_breaks(streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]) -> None:
    out, _, _, output = streams
    output.printf("é €\n".encode())
    output.printf(b"\xff\xc3\x01")
    output.map(map_spec("@k", tuple_of(I64, STR), I64), [((1, "x y"), 2)])
    output.close()
    lines = out.getvalue().decode().splitlines()
    assert lines[0] == '{"type": "printf", "data": "é €\\n"}'
    assert json.loads(lines[1])["data"].encode("utf-8", "surrogateescape") == b"\xff\xc3\x01"
    assert json.loads(lines[2])["data"] == {"@k": {"1,x y": 2}}


def test_zeroed_histogram(streams: tuple[io.BytesIO, io.BytesIO, TextOutput, JsonOutput]) -> None:
    out, _, as_text, as_json = streams
    scalar = FakeMap(map_spec("@h", None, v.HistV(), type="PERCPU_HASH", scalar=True), hist([5]))
    keyed = FakeMap(map_spec("@k", I64, v.HistV(), type="PERCPU_HASH"), hist([5], prefix=key(1)))
    for output in (as_text, as_json):
        for raw in (scalar, keyed):
            raw.zero()
            output.map(raw.spec, MapReader(raw, NAMER).read())
        output.close()
    assert out.getvalue() == (
        b'@h:\n\n@k[1]:\n\n{"type": "hist", "data": {"@h": []}}\n{"type": "hist", "data": {"@k": {"1": []}}}\n'
    )


def test_json_of_a_stack_is_a_string() -> None:
    assert json_string("\n        a+1\n") == '"\\n        a+1\\n"'


def test_bar_width_is_computed_in_float() -> None:
    # 52 * (1 / 52.0f) is 0.99999994 or 1 in float arithmetic; what C gives is what counts.
    def bar(count: int, greatest: int) -> int:
        histogram = Histogram((Bucket(0, 1, count), Bucket(1, 2, greatest)))
        return histogram_text(v.HistV(), histogram).splitlines()[0].count(b"@")

    assert [bar(n, 52) for n in range(53)] == [int(_f32(_f32(n / 52) * 52)) for n in range(53)]
    assert bar(0, 5) == 0
    assert bar(2**63, 2**63) == 52


def _f32(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def test_histogram_label_units() -> None:
    def label(low: int, high: int, bits: int = 0) -> str:
        line = histogram_text(v.HistV(bits), Histogram((Bucket(low, high, 1),))).decode()
        return line[:16].rstrip()

    assert label(1 << 10, 1 << 11) == "[1K, 2K)"
    assert label(1 << 62, 1 << 63) == "[4E, 8E)"
    assert label(1 << 50, 1 << 51) == "[1P, 2P)"
    assert label(1024, 1280, 2) == "[1024, 1280)"
    assert label(4096, 5120, 2) == "[4K, 5K)"


def test_empty_record_and_tuple() -> None:
    assert make_text(v.RecordV((), 0))({}) == b"{}"
    assert make_text(v.TupleV((), 0))(()) == b"()"
    assert make_json(v.TupleV((), 0))(()) == "[]"


# -- the sink


class Recorder:
    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def flush(self) -> None:
        pass


def test_sink_modes() -> None:
    for mode, after_write, after_flush in (("none", [b"a"], [b"a"]), ("line", [], [b"a"]), ("full", [], [])):
        recorder = Recorder()
        sink = Sink(recorder, mode)
        sink.write(b"a")
        assert recorder.writes == after_write
        sink.flush()
        assert recorder.writes == after_flush
        sink.drain()
        assert recorder.writes == [b"a"]
    with pytest.raises(ValueError, match="buffering mode"):
        Sink(Recorder(), "some")


def test_sink_passes_on_after_64_kib() -> None:
    recorder = Recorder()
    sink = Sink(recorder, "full")
    for _ in range(70):
        sink.write(b"x" * 1024)
    assert [len(data) for data in recorder.writes] == [65 * 1024]


def test_sink_survives_a_reader_that_went_away() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    sink = Sink(write_end, "none")
    sink.write(b"a")
    assert sink.broken
    sink.write(b"b")
    os.close(write_end)


def test_sink_reports_a_full_disk() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(KernelError, match="cannot write output: No space left") as caught:
        Sink(fd, "none").write(b"a")
    assert caught.value.errno == 28
    os.close(fd)


def test_sink_writes_everything_to_a_non_blocking_pipe() -> None:
    import threading

    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    data = os.urandom(1 << 18)
    received = bytearray()

    def reader() -> None:
        while len(received) < len(data):
            received.extend(os.read(read_end, 1 << 16))

    thread = threading.Thread(target=reader, daemon=True)
    thread.start()
    Sink(write_end, "none").write(data)
    thread.join(10)
    assert bytes(received) == data
    os.close(read_end)
    os.close(write_end)
