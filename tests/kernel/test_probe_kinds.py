"""Kinds of probes that need a process of their own, a file in bpffs, or another program to trace."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.harness.limits import scaled

import trapline
from trapline.engine.host import live_target
from trapline.runtime.output.sink import Sink
from trapline.runtime.output.text import TextOutput

BPFFS = Path("/sys/fs/bpf")


@pytest.mark.rows("1.2.21")
@pytest.mark.needs("breakpoints")
def test_a_watchpoint_fires_for_each_write_of_one_process() -> None:
    word = ctypes.c_uint64.from_buffer_copy(bytes(8))
    program = f'watchpoint:{ctypes.addressof(word):#x}:8:w {{ printf("%s %d", probetype, pid); }}'
    with trapline.Session(program, pid=os.getpid()) as session:
        assert session.attach() == 1
        for number in range(3):
            word.value = number + 1
        session.finish()
        found = [event.text for event in session.events(timeout=scaled(1))]
    assert found == [f"watchpoint {os.getpid()}"] * 3


@pytest.mark.rows("1.2.3")
def test_a_signal_runs_the_self_probes_in_source_order(tmp_path: Path) -> None:
    program = 'self:signal:SIGUSR1 { printf("%s 1\\n", probetype); } self:signal:SIGUSR1 { printf("2\\n"); exit(); }'
    path = tmp_path / "out"
    with path.open("wb") as file:
        output = TextOutput(Sink(file.fileno()), Sink(2), quiet=True)
        with trapline.Session(program, output=output) as session:
            before = signal.signal(signal.SIGUSR1, lambda *_: session.engine.signal())
            try:
                session.attach()
                timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
                timer.start()
                assert session.run() == 0
                timer.join()
            finally:
                signal.signal(signal.SIGUSR1, before)
    assert path.read_text() == "special 1\n2\n\n\n"


@pytest.mark.rows("1.2.32")
@pytest.mark.needs("btf")
def test_an_iterator_yields_events_and_ends() -> None:
    program = 'iter:task { printf("%d %s", ctx.task.pid, ctx.task.comm); }'
    with trapline.Session(program) as session:
        tasks = dict(event.text.split(" ", 1) for event in session.events())
    assert tasks[str(threading.get_native_id())] == Path("/proc/thread-self/comm").read_text().strip()
    assert "0" not in tasks  # the end mark has no task


@pytest.mark.rows("1.2.32")
@pytest.mark.needs("btf")
def test_an_iterator_that_prints_more_than_the_ring_holds_loses_nothing() -> None:
    # 256 KiB of ring, a record of 4 KiB for each symbol.
    program = 'iter:task_vma { printf("%d %s", ctx.meta.seq_num, str(ctx.task.comm)); }'
    padded = program.replace('%s"', "%s" + "x" * 10 + '"')
    with trapline.Session(padded, config={"perf_rb_pages": 1, "max_strlen": 1024}) as session:
        numbers = [int(event.text.split()[0]) for event in session.events()]
        assert session.lost == {} or not any(session.lost.values())
    assert len(numbers) > 100
    assert numbers == list(range(len(numbers)))


@pytest.mark.rows("1.2.32")
@pytest.mark.needs("btf")
def test_a_pinned_iterator_formats_for_each_reader(tmp_path: Path) -> None:
    if not BPFFS.is_mount():
        pytest.skip("lacks a mounted BPF file system")
    path = BPFFS / "trapline-test-tasks"
    program = f'iter:task:{path.name} {{ printf("%-6d|%s|%x|%c\\n", ctx.task.pid, ctx.task.comm, 255, 65); }}'
    shown = tmp_path / "out"
    try:
        with shown.open("wb") as file:
            output = TextOutput(Sink(file.fileno()), Sink(2), quiet=True)
            with trapline.Session(program, output=output) as session:
                session.attach()
                assert session.run() == 0
        assert shown.read_text() == f"Program pinned to {path}\n\n\n"
        mine = [line for line in path.read_text().splitlines() if line.startswith(f"{threading.get_native_id():<6}|")]
        assert mine == [f"{threading.get_native_id():<6}|{Path('/proc/thread-self/comm').read_text().strip()}|ff|A"]
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.rows("1.2.14", "1.11.7")
@pytest.mark.needs("fentry")
def test_fentry_and_fexit_of_a_bpf_program() -> None:
    # A program with a callback has types, and so can be traced.
    traced = "BEGIN { @a[1] = 1; } tracepoint:syscalls:sys_enter_getpgid { for ($kv : @a) { @b = $kv.0; } }"
    with trapline.Session(traced) as first:
        first.attach()
        found = [name for name in trapline.probes("fentry:bpf:*") if "getpgid" in name]
        listed = [name for name in found if "_loop" not in name]  # the loop's body is a function of its own
        assert (len(found), len(listed)) == (2, 1)
        target = listed[0].partition(":")[2]
        program = f'fentry:{target} {{ printf("%s %s", probe, probetype); }} fexit:{target} {{ printf("%d", retval); }}'
        with trapline.Session(program) as session:
            assert session.attach() == 2
            os.getpgid(0)
            session.finish()
            texts = [event.text for event in session.events(timeout=scaled(1))]
    assert texts[:2] == [f"fentry:{target} fentry", "1"]


SESSION = """
    kretprobe:*do_nanosleep*, kretprobe:nosuch* /comm == "nap"/ { printf("out %s %s %d", probe, func, retval); }
    kprobe:*do_nanosleep* /comm == "nap"/ { printf("in %s %s %d %d", probe, func, arg1, args.mode); }
"""


@pytest.mark.rows("1.2.12", "1.9.20", "1.2.10", "1.3.18")
@pytest.mark.needs("kprobes")
@pytest.mark.parametrize("without", [frozenset(), frozenset({"kprobe_session"}), frozenset({"kprobe_multi"})])
def test_entry_and_return_of_a_wildcard_share_a_program_where_they_can(without: frozenset[str]) -> None:
    target = live_target()
    before, target.without = target.without, without
    vars(target).pop("identity", None)
    try:
        shared = target.has("kprobe_session") and target.has("kprobe_multi")
        with trapline.Session(SESSION) as session:
            count = session.attach()
            programs = [program.name for program in session.engine.spec.programs]
            thread = threading.Thread(target=_nap)
            thread.start()
            thread.join()
            session.finish()
            texts = [event.text for event in session.events(timeout=scaled(1))]
            probes = len(trapline.probes("kprobe:*do_nanosleep*"))
    finally:
        target.without = before
        vars(target).pop("identity", None)
    assert len(programs) == (1 if shared else 2)
    assert count == probes * (1 if shared else 2)
    assert texts == [
        "in kprobe:do_nanosleep do_nanosleep 0 0",
        "out kretprobe:do_nanosleep do_nanosleep 0",
    ]


def _nap() -> None:
    Path("/proc/thread-self/comm").write_text("nap")
    time.sleep(0.01)
