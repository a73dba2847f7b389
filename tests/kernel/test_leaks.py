"""Everything dies with the process: killed at any moment, nothing stays in the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.harness.leaks import find_leaks, take_snapshot
from tests.kernel.tiny_objects import attached, program

from trapline.errors import NoSuchProbeError
from trapline.ir.spec import AttachPoint, KprobeAttach, PerfAttach, RawTracepointAttach, TracepointAttach

CHILD = """
import sys, time
sys.path.insert(0, {root!r})
from tests.kernel.test_leaks import points
from tests.kernel.tiny_objects import attached, program
print("ready", flush=True)
while True:
    with attached(*(program(i, point, type=type) for i, (type, point) in enumerate(points()))):
        time.sleep(0.01)
"""


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


@pytest.mark.needs("tracefs")
@pytest.mark.limit(120)
def test_a_killed_tracer_leaves_nothing() -> None:
    objects, kprobes = take_snapshot(whole_kernel=True), _kprobes()
    root = str(Path(__file__).parents[2])
    for moment in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(root=root)], stdout=subprocess.PIPE, cwd=root, env={**os.environ}
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(0.017 * moment)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        child.stdout.close()
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
