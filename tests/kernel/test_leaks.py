"""Everything dies with the process: killed at any moment, nothing stays in the kernel."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import pytest
from tests.harness.leaks import find_leaks, take_snapshot
from tests.kernel.tiny_objects import attached, program

from trapline.errors import NoSuchProbeError
from trapline.ir.spec import AttachPoint, KprobeAttach, PerfAttach, RawTracepointAttach, TracepointAttach


def points() -> list[tuple[str, AttachPoint]]:
    """Return (program type, attach point) of whatever this machine can attach."""
    found: list[tuple[str, AttachPoint]] = [
        ("RAW_TRACEPOINT", AttachPoint(RawTracepointAttach("sys_enter"), "rawtracepoint:sys_enter")),
        ("PERF_EVENT", AttachPoint(PerfAttach(1, 0, period=10_000_000), "profile")),
        ("TRACEPOINT", AttachPoint(TracepointAttach("syscalls", "sys_enter_getuid"), "tracepoint:x")),
    ]
    if Path("/sys/bus/event_source/devices/kprobe/type").exists():
        found.append(("KPROBE", AttachPoint(KprobeAttach("do_nanosleep"), "kprobe:do_nanosleep")))
        found.append(("KPROBE", AttachPoint(KprobeAttach("do_nanosleep", retprobe=True), "kretprobe:do_nanosleep")))
    return found


def _kprobes() -> set[str]:
    path = Path("/sys/kernel/debug/kprobes/list")
    return set(path.read_text().splitlines()) if path.exists() else set()


def _start_tracer() -> int:
    """Start a process that attaches and detaches in a loop; return when it begins to."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the watchdog of the time limit is a thread
        pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.write(write, b"x")
            end = time.monotonic() + 60
            while time.monotonic() < end:
                with attached(*(program(i, point, type=type) for i, (type, point) in enumerate(points()))):
                    time.sleep(0.01)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"x"
    os.close(read)
    return pid


@pytest.mark.needs("tracefs")
@pytest.mark.limit(120)
def test_a_killed_tracer_leaves_nothing() -> None:
    objects, kprobes = take_snapshot(whole_kernel=True), _kprobes()
    for moment in range(10):
        pid = _start_tracer()
        time.sleep(0.011 * moment)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if os.environ.get("TRAPLINE_GUEST"):  # on a shared machine other programs come and go
        assert find_leaks(objects, whole_kernel=True) == []
    assert _kprobes() <= kprobes


def test_a_failing_attach_leaves_nothing() -> None:
    good = AttachPoint(RawTracepointAttach("sys_enter"), "rawtracepoint:sys_enter")
    bad = AttachPoint(RawTracepointAttach("no_such_tracepoint"), "rawtracepoint:no_such_tracepoint")
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(NoSuchProbeError), attached(program(1, good, bad, type="RAW_TRACEPOINT")):
            pass
    assert set(os.listdir("/proc/self/fd")) == before
