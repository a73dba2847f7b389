"""The Python API on real probes: sessions, typed events, maps, listings, errors, and what is left of them."""

from __future__ import annotations

import os
import runpy
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.harness.limits import scaled

import trapline

pytestmark = pytest.mark.limit(60)

ME = os.getpid()
EXAMPLES = Path(__file__).parents[2] / "examples"


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.needs("kprobes")
def test_events_have_the_values_that_were_printed_and_where_they_come_from(tmp_path: Path) -> None:
    text = f'kprobe:do_sys_openat2 /pid == {ME}/ {{ printf("%s opens %s %d", comm, str(args.filename), args.dfd) }}'
    with trapline.Session(text, cache=False) as session:
        assert session.attach() == 1
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        (tmp_path / "näme").touch()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        event = next(event for event in session.events(timeout=scaled(2)) if event[1].endswith("näme"))
    comm = Path("/proc/self/comm").read_text().strip()
    assert event.values == (comm, str(tmp_path / "näme"), -100) and len(event) == 3
    assert event.comm == comm and event["args.dfd"] == -100 and list(event) == list(event.values)
    assert event.text == f"{comm} opens {tmp_path / 'näme'} -100"
    assert (event.pid, event.tid, event.probe) == (ME, threading.get_native_id(), "kprobe:do_sys_openat2")
    assert before <= event.nsecs <= after and event.cpu in os.sched_getaffinity(0)
    with pytest.raises(AttributeError, match="no nothing"):
        _ = event.nothing


@pytest.mark.needs("tracefs")
def test_maps_are_mappings() -> None:
    text = f"""
        tracepoint:syscalls:sys_enter_getppid /pid == {ME}/ {{
            @n = count(); @by[comm, tid] = count(); @h = hist(pid); @seen[tid] = 5
        }}
    """
    with trapline.Session(text, cache=False) as session:
        session.attach()
        maps = session.maps
        assert set(maps) == {"@n", "@by", "@h", "@seen"} and "@" not in maps
        assert len(maps["@by"]) == 0
        for _ in range(3):
            os.getppid()
        key = Path("/proc/self/comm").read_text().strip(), threading.get_native_id()
        assert maps["@n"].value == 3 and dict(maps["@by"]) == {key: 3} and maps["@by"][key] == 3
        assert key in maps["@by"] and ("nobody", 1) not in maps["@by"]
        with pytest.raises(KeyError):
            _ = maps["@by"]["nobody", 1]
        maps["@seen"][77] = 8
        assert dict(maps["@seen"].items()) == {threading.get_native_id(): 5, 77: 8}
        maps["@seen"].clear()
        assert not maps["@seen"]


@pytest.mark.needs("tracefs")
def test_a_map_that_keeps_short_keys_apart_is_one_mapping(tmp_path: Path) -> None:
    short, long = str(tmp_path)[:30] + "/none", str(tmp_path)[:30] + "/" + "none" * 40
    text = f"""
        tracepoint:syscalls:sys_enter_openat /pid == {ME} && args.flags == {os.O_WRONLY | os.O_CLOEXEC}/ {{
            @n[str(args.filename)] = count(); @s[str(args.filename), 7] = pid
        }}
    """
    with trapline.Session(text, cache=False) as session:
        session.attach()
        maps = session.maps
        assert set(maps) == {"@n", "@s"}
        for path in (short, long, long):
            with pytest.raises(FileNotFoundError):
                os.open(path, os.O_WRONLY)
        assert dict(maps["@n"]) == {short: 1, long: 2} and maps["@n"][short] == 1 and maps["@n"][long] == 2
        assert dict(maps["@s"]) == {(short, 7): ME, (long, 7): ME}
        maps["@s"][short, 8] = maps["@s"][long, 8] = 5
        del maps["@s"][short, 7], maps["@s"][long, 7]
        assert dict(maps["@s"]) == {(short, 8): 5, (long, 8): 5}
        with pytest.raises(KeyError):
            del maps["@s"][short, 7]
        maps["@n"].zero()
        assert dict(maps["@n"]) == {short: 0, long: 0}
        maps["@n"].clear()
        assert not maps["@n"]


def test_waiting_for_events_ends() -> None:
    with trapline.Session("interval:s:1000 { print(1) }", cache=False) as session:
        start = time.monotonic()
        assert list(session.events(timeout=0.2)) == []
        assert 0.2 <= time.monotonic() - start < scaled(2)
        threading.Timer(0.1, session.stop).start()
        assert list(session.events(timeout=scaled(10))) == []
        assert time.monotonic() - start < scaled(5)


def test_a_program_ends_itself() -> None:
    with trapline.Session("interval:ms:10 { print(42); exit(3) }", cache=False) as session:
        assert [event[0] for event in session.events(timeout=scaled(5))] == [42]


@pytest.mark.needs("kprobes")
def test_many_sessions_in_one_process_each_see_their_own() -> None:
    families = [socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK]
    text = 'kprobe:__sys_socket /pid == $1 && args.family == $2/ { printf("%d", args.family) }'
    sessions = [trapline.Session(text, args=(str(ME), str(family.value))) for family in families]
    try:
        for session in sessions:
            session.attach()
        for family in families:
            socket.socket(family, socket.SOCK_DGRAM).close()
        for family, session in zip(families, sessions, strict=True):
            session.finish()
            assert [event[0] for event in session.events(timeout=0)] == [family]
    finally:
        for session in sessions:
            session.close()


@pytest.mark.needs("kprobes")
def test_closing_is_complete_and_twice_is_once() -> None:
    text = "kprobe:do_nanosleep { @ = count(); print(1) } kretprobe:do_nanosleep { print(2) } begin { print(3) }"
    with trapline.Session(text):  # what is opened once in a process
        pass
    before = descriptors()
    for _ in range(3):
        session = trapline.Session(text)
        session.attach()
        assert descriptors() - before
        session.close()
        session.close()
        assert descriptors() == before
        with pytest.raises(trapline.ClosedError):
            _ = session.maps
        with pytest.raises(trapline.ClosedError):
            session.attach()
    with pytest.raises(trapline.NoSuchProbeError) as caught, trapline.Session("kprobe:do_nanoslep { }") as session:
        session.attach()
    assert caught.value.near[0] == "do_nanosleep" and caught.value.hint
    assert descriptors() == before


def test_errors_are_exceptions_of_the_tree() -> None:
    for text, kind in (
        ("begin {", trapline.ParseError),
        ("begin { print(nothing_of_that_name) }", trapline.SemanticError),
        ('begin { @x = 1; @x = "a" }', trapline.SemanticError),
    ):
        with pytest.raises(kind) as caught:
            trapline.Session(text)
        assert isinstance(caught.value, trapline.SourceError) and caught.value.diagnostics
    with pytest.raises(trapline.TraplineError):
        trapline.Session("begin { }", command="/no/such/program")


@pytest.mark.needs("kprobes")
def test_probes_are_listed() -> None:
    found = trapline.probes("kprobe:*nanosleep")
    assert "kprobe:do_nanosleep" in found and found == sorted(found)
    assert all(name.startswith("kprobe:") and name.endswith("nanosleep") for name in found)
    assert trapline.probes("tracepoint:syscalls:sys_enter_openat") == ["tracepoint:syscalls:sys_enter_openat"]
    assert trapline.probes("kprobe:no_such_function") == []


@pytest.mark.needs("kprobes")
def test_the_example_prints_names_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = threading.Event()
    attach = trapline.Session.attach

    def attach_and_tell(session: trapline.Session) -> int:
        count = attach(session)
        attached.set()
        return count

    def open_files() -> None:
        assert attached.wait(scaled(30))
        for _ in range(5):
            (tmp_path / "opened by the test").touch()

    monkeypatch.setattr(trapline.Session, "attach", attach_and_tell)
    monkeypatch.setattr(sys, "argv", ["files.py", str(scaled(0.3))])
    opener = threading.Thread(target=open_files)
    opener.start()
    runpy.run_path(str(EXAMPLES / "files.py"), run_name="__main__")
    opener.join(10)
    comm = Path("/proc/self/comm").read_text().strip()
    assert f"{ME} {comm} {tmp_path / 'opened by the test'}" in capsys.readouterr().out.splitlines()


@pytest.mark.needs("tracefs")
def test_a_reader_that_sleeps_is_woken_by_each_event() -> None:
    program = f'tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{ printf("x") }}'
    rounds = 200
    with trapline.Session(program, cache=False) as session:
        session.attach()
        turn = threading.Event()

        def call() -> None:
            for number in range(rounds):
                turn.wait(scaled(10))
                turn.clear()
                time.sleep(number % 20 * 1e-4)  # now before, now after the reader falls asleep
                os.getppid()

        caller = threading.Thread(target=call)
        caller.start()
        for _ in range(rounds):
            turn.set()
            assert next(session.events(timeout=scaled(10))).text == "x"
        caller.join()
