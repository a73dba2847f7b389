"""The event loop on a ring in memory; fixtures/events.* is what bpftrace 0.27.1 wrote for the same program."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.runtime.fakes import NAMER, FakeMap, FakeRing, map_spec, u64

from trapline.errors import DecodeError, InternalError
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.runtime.handlers import Locate
from trapline.runtime.loop import EventLoop
from trapline.runtime.output import Location, Sink, TextOutput
from trapline.runtime.output.json import JsonOutput
from trapline.runtime.typed import TypedEvent

FIXTURES = Path(__file__).parent / "fixtures"
I64, STR = v.IntV(8), v.StrV(16)


def object_spec(*events: s.Event, **more: object) -> s.ObjectSpec:
    programs = tuple(s.ObjectProgram(name, "KPROBE", b"", label=f"kprobe:{name}") for name in ("a", "b"))
    return s.ObjectSpec("stdin", "", programs, events=events, **more)  # type: ignore[arg-type]


class Run:
    """A loop with everything around it."""

    def __init__(
        self,
        spec: s.ObjectSpec,
        *maps: FakeMap,
        json: bool = False,
        locate: Locate | None = None,
        on_event: Callable[[TypedEvent], object] | None = None,
        on_raw: dict[str, Callable[[bytes], object]] | None = None,
        ring_fd: int = -1,
    ) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        sink = Sink(self.out)
        self.ring = FakeRing()
        self.loop = EventLoop(
            spec,
            ring=self.ring,
            ring_fd=ring_fd,
            maps={raw.spec.name: raw for raw in maps},
            output=JsonOutput(sink) if json else TextOutput(sink, Sink(self.err)),
            namer=NAMER,
            locate=locate,
            on_event=on_event,
            on_raw=on_raw,
        )

    def send(self, event: int, payload: bytes = b"", probe: int = 0) -> None:
        self.ring.put(struct.pack("<II", event, probe) + payload)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.close()


def locate(span: tuple[int, int], origins: object = ()) -> Location:
    return Location(f"events.bt:2:{span[0]}-{span[1]}", "events.bt", 2, span[0])


def text(string: str) -> bytes:
    return string.encode().ljust(16, b"\0")


RECORD = v.RecordV((("a", 0, I64), ("b", 8, v.TupleV(((0, STR), (16, v.BoolV())), 24))), 32)
EVENTS = object_spec(
    s.PrintfEvent("bad %d", (s.Field(8, I64),), 16, "error", (3, 22)),
    s.PrintfEvent("w\n", (), 8, "warn", (24, 36)),
    s.PrintValueEvent(s.Field(8, I64), 16),
    s.PrintValueEvent(s.Field(8, v.TupleV(((0, I64), (8, STR)), 24)), 32),
    s.PrintValueEvent(s.Field(8, STR), 24),
    s.PrintValueEvent(s.Field(8, RECORD), 40),
    s.PrintMapEvent("@y"),
    s.PrintMapElementEvent("@x", s.Field(8, I64), s.Field(16, I64), 24),
    s.PrintMapEvent("@x", 1, 2),
    s.TimeEvent("now\n"),
    s.PrintfEvent("echo hi; echo %s", (s.Field(8, STR),), 24, "system"),
    s.PrintfEvent("/proc/sys/kernel/%s", (s.Field(8, STR),), 24, "cat"),
    s.PrintfEvent("no newline", (), 8),
    s.ClearMapEvent("@x"),
    s.ClearMapEvent("@y", zero=True),
    s.ExitEvent(8, 16),
    s.PrintfEvent("end\n", (), 8),
)


def run_events_program(json: bool) -> Run:
    x = FakeMap(map_spec("@x", I64, I64), [(u64(2), u64(8)), (u64(1), u64(7))])
    y = FakeMap(map_spec("@y", None, I64, scalar=True), [(u64(0), u64(5))])
    with Run(EVENTS, x, y, json=json, locate=locate) as run:
        run.loop._output.attached_probes(2)
        payloads = [
            u64(5), b"", u64(7), u64(1) + text("x"), text("abc"), u64(1) + text("z") + b"\1" + bytes(7), b"",
            u64(1, 7), b"", b"", text("ho"), text("ostype"), b"", b"", b"", u64(7), b"",
        ]  # fmt: skip
        for event, payload in enumerate(payloads[:16]):
            run.send(event, payload)
        run.send(12)  # behind exit(): dropped
        run.loop.run()
        assert run.loop.exited
        run.send(12)  # before the probes were detached: dropped too
        run.loop.settle()
        run.send(16)  # the END probe
        run.loop.drain()
        run.loop.finish()
        assert run.loop.exit_code == 7
    return run


def test_text_of_all_events() -> None:
    run = run_events_program(json=False)
    assert run.out.getvalue() == (FIXTURES / "events.txt").read_bytes()
    assert run.err.getvalue() == (FIXTURES / "events.err").read_bytes()


def test_json_of_all_events() -> None:
    assert run_events_program(json=True).out.getvalue() == (FIXTURES / "events.ndjson").read_bytes()


def test_join() -> None:
    with Run(object_spec(s.JoinEvent(" ", 8, 8, 3, 16))) as run:
        run.send(0, struct.pack("<II8s8s", 2, 0, b"ls", b"-l\0junk"))
        run.send(0, struct.pack("<II8s8s8s", 99, 0, b"a", b"b", b"c"))
        run.send(0, struct.pack("<II8s", 3, 0, b"cut"))
        run.send(0, struct.pack("<II", 0, 0))
        run.loop.process()
        run.loop.finish()
    assert run.out.getvalue() == b"ls -l\na b c\ncut\n\n\n\n"


def test_time_is_now() -> None:
    with Run(object_spec(s.TimeEvent("%Y\n"))) as run:
        run.send(0)
        run.loop.process()
        run.loop.finish()
    assert run.out.getvalue() == time.strftime("%Y\n").encode() + b"\n\n"


def test_cat_of_a_missing_file_is_an_error() -> None:
    with Run(object_spec(s.PrintfEvent("/nonexistent/x", (), 8, "cat"))) as run:
        run.send(0)
        run.loop.process()
    assert b"ERROR: failed to open file '/nonexistent/x' (No such file or directory)\n" in run.err.getvalue()


def test_system_that_fails() -> None:
    commands = ("exit 3", "echo out; exit 4", "kill -9 $$")
    with Run(object_spec(*[s.PrintfEvent(command, (), 8, "system") for command in commands])) as run:
        for event in range(3):
            run.send(event)
        run.loop.process()
        run.loop.finish()
    assert run.out.getvalue() == b"out\n\n\n\n"
    assert run.err.getvalue() == (
        b"ERROR: command exited with code 3\nERROR: command exited with code 4\nERROR: command was ended by signal 9\n"
    )


def test_cat_is_limited(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    event = s.PrintfEvent(str(tmp_path / "f"), (), 8, "cat")
    with Run(object_spec(event, config=(("max_cat_bytes", 10),))) as run:
        run.send(0)
        run.loop.process()
        run.loop.finish()
    assert run.out.getvalue() == b"x" * 10 + b"\n\n"


def test_raw_events_go_to_their_callback() -> None:
    seen: list[bytes] = []
    with Run(object_spec(s.RawEvent("events", 8), s.RawEvent("other", 8)), on_raw={"events": seen.append}) as run:
        run.send(0, b"payload")
        run.send(1, b"nobody")
        run.loop.process()
    assert seen == [b"payload"]


def test_maps_are_printed_in_the_order_of_names() -> None:
    maps = [
        FakeMap(map_spec(name, None, I64, scalar=True), [(u64(0), u64(number))])
        for name, number in (("@z", 1), ("@", 2), ("@a", 3))
    ]
    maps.append(FakeMap(map_spec("@empty", I64, I64)))
    maps.append(FakeMap(s.MapSpec("hidden", "HASH", 8, 8, 1, key=I64, value=I64), [(u64(0), u64(1))]))
    with Run(object_spec(), *maps) as run:
        run.loop.finish()
    assert run.out.getvalue() == b"\n\n@: 2\n@a: 3\n@z: 1\n"
    with Run(object_spec(config=(("print_maps_on_exit", False),)), *maps) as run:
        run.loop.finish()
    assert run.out.getvalue() == b"\n\n"


# -- malformed records


@pytest.mark.parametrize(
    "record", [b"", b"\0\0\0", struct.pack("<II", 7, 0), struct.pack("<II", 0, 0), struct.pack("<IIi", 0, 0, 1)]
)
def test_malformed_records_are_decode_errors(record: bytes) -> None:
    with Run(object_spec(s.PrintfEvent("%d", (s.Field(8, I64),), 16))) as run:
        run.ring.put(record)
        with pytest.raises(DecodeError):
            run.loop.process()


def test_events_of_unknown_maps_are_our_bug() -> None:
    with pytest.raises(InternalError, match="@nope"), Run(object_spec(s.PrintMapEvent("@nope"))):
        pass


# -- losses and failures


def lost_map(*counts: tuple[int, ...]) -> FakeMap:
    spec = s.MapSpec(s.LOST, "PERCPU_ARRAY", 4, 8, len(counts))
    return FakeMap(spec, [(struct.pack("<I", i), u64(*parts)) for i, parts in enumerate(counts)])


def test_losses_are_exact_and_named() -> None:
    lost = lost_map((2, 3), (0, 0))
    with Run(object_spec(), lost) as run:
        run.loop._check(0.0)
        lost.update(struct.pack("<I", 1), u64(0, 4))
        run.loop.finish()
    assert run.err.getvalue() == (
        b"Lost 5 events\nLost 4 events\nWARNING: Total lost event count: 9\n"
        b"WARNING: Lost events of kprobe:a: 5\nWARNING: Lost events of kprobe:b: 4\n"
    )


def test_nothing_lost_nothing_said() -> None:
    with Run(object_spec(), lost_map((0, 0), (0, 0))) as run:
        run.loop.finish()
    assert run.err.getvalue() == b""


def test_faults_are_reported_once_with_their_count() -> None:
    faults = (
        s.FaultSite("map_full", "map_update_elem", (5, 9)),
        s.FaultSite("read", "probe_read_kernel", None, warn=False),
        s.FaultSite("div_zero", "", (7, 8)),
    )
    data = FakeMap(
        s.MapSpec(s.FAULTS, "PERCPU_ARRAY", 4, 16, 3),
        [
            (struct.pack("<I", 0), u64(0, 0, 2, -7)),
            (struct.pack("<I", 1), u64(5, -14, 0, 0)),
            (struct.pack("<I", 2), u64(0, 0, 0, 0)),
        ],
    )
    with Run(object_spec(faults=faults), data, locate=locate) as run:
        run.loop._check(0.0)
        run.loop._check(0.0)
        data.update(struct.pack("<I", 2), u64(1, 0, 0, 0))
        run.loop.finish()
    lines = run.err.getvalue().decode().splitlines()
    assert lines[0].startswith("events.bt:2:5-9: WARNING: Map full; can't update element.")
    assert lines[1] == "Additional Info - helper: map_update_elem, retcode: -7, count: 2"
    assert lines[2].startswith("events.bt:2:7-8: WARNING: Divide or modulo by 0 detected.")
    assert len(lines) == 3


# -- ends of a run


def test_stop_from_another_thread() -> None:
    with Run(object_spec()) as run:
        timer = threading.Timer(0.02, run.loop.stop)
        timer.start()
        run.loop.run()
        assert run.loop.ended
        assert not run.loop.exited
        timer.join()


def test_a_watched_descriptor_ends_the_run_after_its_records() -> None:
    read_end, write_end = os.pipe()
    with Run(object_spec(s.PrintfEvent("x\n", (), 8))) as run:
        run.loop.watch(read_end)
        os.write(write_end, b"x")
        run.send(0)
        run.loop.run()
        run.loop.settle()
        run.loop.finish()
    assert run.out.getvalue() == b"x\n\n\n"
    os.close(read_end)
    os.close(write_end)


def test_ring_wakes_the_loop() -> None:
    read_end, write_end = os.pipe()
    with Run(object_spec(s.ExitEvent(8, 16)), ring_fd=read_end) as run:

        def produce() -> None:
            run.send(0, u64(3))
            os.write(write_end, b"x")

        timer = threading.Timer(0.02, produce)
        timer.start()
        run.loop.run()
        timer.join()
        assert run.loop.exit_code == 3
    os.close(read_end)
    os.close(write_end)


def test_step_times_out() -> None:
    with Run(object_spec()) as run:
        assert run.loop.step(0.0)
        run.loop.stop()
        assert not run.loop.step(None)


def test_a_reader_that_went_away_ends_the_run() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    loop_output = TextOutput(Sink(write_end, "none"), Sink(io.BytesIO()))
    ring = FakeRing()
    spec = object_spec(s.PrintfEvent("x\n", (), 8))
    with EventLoop(spec, ring=ring, maps={}, output=loop_output, namer=NAMER) as loop:
        ring.put(struct.pack("<II", 0, 0))
        loop.run()
        assert loop.ended
    os.close(write_end)


def test_drain_gives_up_on_a_record_that_is_never_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trapline.runtime.loop._BUSY", 0.01)
    with Run(object_spec(s.PrintfEvent("x\n", (), 8))) as run:
        run.send(0)
        run.ring.busy = True
        run.loop.settle()
        assert b"still being written" in run.err.getvalue()
        run.ring.busy = False
        run.loop.finish()
    assert run.out.getvalue() == b"x\n\n\n"


def test_a_program_without_ring_only_prints_its_maps() -> None:
    out = io.BytesIO()
    counts = FakeMap(map_spec("@", None, v.CountV(), type="PERCPU_HASH", scalar=True), [(u64(0), u64(2, 3))])
    output = TextOutput(Sink(out), Sink(io.BytesIO()))
    with EventLoop(object_spec(), ring=None, maps={"@": counts}, output=output, namer=NAMER) as loop:
        loop.stop()
        loop.run()
        loop.settle()
        loop.finish()
    assert out.getvalue() == b"\n\n@: 5\n"


# -- typed events


TYPED = struct.Struct("<IIQIIIIQ")


def test_typed_events() -> None:
    seen: list[TypedEvent] = []
    spec = object_spec(
        s.PrintfEvent("%d %s %d\n", (s.Field(40, I64, "pid"), s.Field(48, STR, "args.filename"), s.Field(64, I64)), 72),
        s.PrintValueEvent(s.Field(40, STR, "comm"), 56),
        s.ExitEvent(40, 48),
        typed_events=True,
    )
    with Run(spec, on_event=seen.append) as run:
        run.ring.put(TYPED.pack(0, 1, 123456, 42, 43, 3, 0, 99) + u64(7) + text("/etc/passwd") + u64(-1))
        run.ring.put(TYPED.pack(1, 0, 123457, 42, 43, 3, 0, 0) + text("cat"))
        run.ring.put(TYPED.pack(2, 0, 123457, 42, 43, 3, 0, 0) + u64(0))
        run.loop.run()
        run.loop.finish()
    first, second = seen
    assert (first.nsecs, first.pid, first.tid, first.cpu, first.cookie) == (123456, 42, 43, 3, 99)
    assert first.probe == "kprobe:b"
    assert first["args.filename"] == "/etc/passwd"
    assert first["pid"] == 7
    assert first.fields == {"pid": 7, "args.filename": "/etc/passwd", "arg2": -1}
    assert (first.arg2, first[2], tuple(first), len(first)) == (-1, -1, (7, "/etc/passwd", -1), 3)
    assert first.text == "7 /etc/passwd -1\n"
    assert (second.comm, second.text, second.probe) == ("cat", "cat\n", "kprobe:a")
    assert repr(second) == "<kprobe:a nsecs=123457 cpu=3 pid=42 tid=43 comm='cat'>"
    with pytest.raises(AttributeError, match="no nothing: it has comm"):
        _ = second.nothing
    assert run.out.getvalue() == b"\n\n"


def test_typed_records_print_as_text_without_a_taker() -> None:
    spec = object_spec(s.PrintfEvent("%d\n", (s.Field(40, I64),), 48), typed_events=True)
    with Run(spec) as run:
        run.ring.put(TYPED.pack(0, 1, 123456, 42, 43, 3, 0, 99) + u64(7))
        run.loop.process()
        run.loop.finish()
    assert run.out.getvalue() == b"7\n\n\n"


def test_repeated_names_are_numbered() -> None:
    seen: list[TypedEvent] = []
    fields = tuple(s.Field(40 + 8 * i, I64, "x") for i in range(3))
    with Run(object_spec(s.PrintfEvent("%d%d%d", fields, 64), typed_events=True), on_event=seen.append) as run:
        run.ring.put(TYPED.pack(0, 0, 0, 0, 0, 0, 0, 0) + u64(1, 2, 3))
        run.loop.process()
    assert seen[0].fields == {"x": 1, "x_2": 2, "x_3": 3}


class FakeFlag:
    """Notes what it is told, and writes a record the first time."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.told: list[bool] = []
        self.act = act

    def set(self, sleeping: bool) -> None:
        self.told.append(sleeping)
        if self.told == [True]:
            self.act()


def test_the_program_is_told_when_the_reader_sleeps() -> None:
    spec = object_spec(s.PrintfEvent("x\n", (), 8))
    out, ring = io.BytesIO(), FakeRing()
    # The record comes between the first look at the ring and the flag: nobody wakes us for it.
    flag = FakeFlag(lambda: ring.put(bytes(8)))
    output = TextOutput(Sink(out), Sink(io.BytesIO()))
    loop = EventLoop(spec, ring=ring, wake_flag=flag, maps={}, output=output, namer=NAMER)
    with loop:
        assert loop.step(5)
        assert flag.told == [True, False]
        assert loop.step(0)
        output.flush()
        assert out.getvalue() == b"x\n"
        loop.wake()
        assert loop.step(5)
        assert flag.told == [True, False, True, False]
