"""Hits that were missed and events that were lost: a run says how many, and of which probe."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest
from tests.conformance.in_process import run_command_line
from tests.kernel.traced import ME, trace

import trapline
from trapline.runtime.native.drain import NativeReader

pytestmark = pytest.mark.limit(60)


def start_flood(calls: int, output: Path) -> threading.Thread:
    """Call getppid(2) so often, from a thread, when the program whose output goes there is attached; then end it."""

    def call() -> None:
        while not any("ttached" in file.read_text() for file in output.iterdir()):
            time.sleep(0.01)
        for _ in range(calls):
            os.getppid()
        os.kill(os.getpid(), 2)

    worker = threading.Thread(target=call)
    worker.start()
    return worker


@pytest.mark.needs("kprobes")
def test_a_probe_on_what_another_probes_program_calls(tmp_path: Path) -> None:
    # The first one's program calls the helper that the second one probes: kprobes do not nest.
    program = """
        kprobe:do_nanosleep { printf("x %s %d\\n", comm, uid) }
        kprobe:bpf_get_current_uid_gid { @never = count() }
    """
    done = run_command_line(["-q", "-e", program, "-c", "sleep 0.01"], tmp_path)
    assert done.code == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING: Missed hits of ")]
    found = dict(re.findall(r"Missed hits of (kprobe:\S+): (\d+) \(", "\n".join(warnings)))
    assert set(found) == {"kprobe:bpf_get_current_uid_gid"}, done.stderr
    assert int(found["kprobe:bpf_get_current_uid_gid"]) >= done.stdout.count("x sleep 0\n") >= 1


@pytest.mark.needs("kprobes")
def test_every_call_was_seen_or_is_counted_as_missed() -> None:
    sleepers = 40  # the kernel keeps max(10, 2 * CPUs) instances of a kretprobe

    def act() -> None:
        threads = [threading.Thread(target=time.sleep, args=(1.5,)) for _ in range(sleepers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    text = "kprobe:do_nanosleep { @in = count() } kretprobe:do_nanosleep { @out = count() }"
    with pytest.warns(trapline.TraplineWarning, match=r"missed \d+ hits of kretprobe:do_nanosleep: no free kretprobe"):
        done = trace(text, act)
    entered, left = done.maps["@in"][None], done.maps["@out"][None]
    missed = done.missed["kretprobe:do_nanosleep"]
    assert entered >= sleepers and missed
    # A sleep of somebody else that lasts longer than the test returns unseen.
    assert 0 <= entered - left - missed <= 3


@pytest.mark.needs("tracefs")
def test_printed_and_lost_are_all(tmp_path: Path) -> None:
    calls = 4000
    program = f"""
        config = {{ perf_rb_pages = 1 }}
        tracepoint:syscalls:sys_enter_getppid /pid == {ME}/ {{ @ = count(); printf("%s\\n", comm) }}
    """
    with trapline.Session(program, cache=False) as session:
        session.attach()
        for _ in range(calls):
            os.getppid()
        with pytest.warns(trapline.TraplineWarning, match="the ring buffer was full"):
            session.finish()
        seen = sum(1 for _ in session.events(timeout=0))
        (lost,) = session.lost.items()
        assert lost[0] == "tracepoint:syscalls:sys_enter_getppid" and lost[1] > 0
        assert seen + lost[1] == session.maps["@"].value == calls


@pytest.mark.needs("kprobes")
@pytest.mark.rows("1.10.11")
def test_a_full_ring_is_told_with_its_probe_on_stderr(tmp_path: Path) -> None:
    calls = 3000
    program = f"""
        config = {{ perf_rb_pages = 1 }}
        kprobe:__x64_sys_getppid /pid == {ME}/ {{ @ = count(); printf("%s %s\\n", comm, kstack) }}
        self:signal:SIGUSR1 {{ exit() }}
    """
    worker = start_flood(calls, tmp_path)
    done = run_command_line(["-e", program], tmp_path)
    worker.join(30)
    assert done.code == 0, done.stderr
    counted = int(re.findall(r"^@: (\d+)$", done.stdout, re.MULTILINE)[0])
    total = re.findall(r"^WARNING: Total lost event count: (\d+)$", done.stderr, re.MULTILINE)
    named = re.findall(r"^WARNING: Lost events of kprobe:__x64_sys_getppid: (\d+)$", done.stderr, re.MULTILINE)
    assert counted == calls
    lost = int(total[0]) if total else 0
    assert [str(lost)] == named if lost else not named
    printed = sum(1 for line in done.stdout.splitlines() if line and not line.startswith((" ", "@")))
    assert printed + lost == calls


@pytest.mark.needs("tracefs")
@pytest.mark.parametrize(("options", "pages"), [([], 16), (["-f", "json"], 16), ([], 1024)])
def test_every_event_of_a_flood_is_printed_or_counted_as_lost(
    options: list[str], pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 30_000
    program = f"""
        config = {{ perf_rb_pages = {pages} }}
        tracepoint:syscalls:sys_enter_getppid /pid == {ME}/ {{ @ = count(); printf("%d %s %s\\n", tid, comm, "x") }}
    """
    batches = []
    read = NativeReader.read

    def counted(reader: NativeReader) -> tuple[int, int, bytes]:
        batches.append(read(reader))
        return batches[-1]

    monkeypatch.setattr(NativeReader, "read", counted)
    worker = start_flood(calls, tmp_path)
    done = run_command_line([*options, "-e", program], tmp_path)
    worker.join(30)
    assert done.code == 0, done.stderr
    said = done.stderr + done.stdout
    assert re.search(rf"^@: {calls}$|\"@\": {calls}\}}", said, re.MULTILINE), said[-300:]
    printed = len(re.findall(rf"\b{worker.native_id} \S+ x(?:\n|\\n\"}}\n)", done.stdout))
    lost = re.findall(r"Total lost event count: (\d+)|\"lost_events_total\".*?(\d+)", said)
    assert printed + sum(int(a or b) for a, b in lost) == calls
    # In this one process, the interpreter's lock lets the reader run now and then only.
    assert batches and sum(handled for _, handled, _ in batches) > 100
