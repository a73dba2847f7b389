"""A flood on every CPU through a ring of 64 KiB: of each probe, what was printed and what was lost is what happened."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.harness.limits import scaled

_CALLS = 20_000  # of each of the two, on each CPU
_FLOODER = f"""
import os, sys
open("/proc/self/comm", "w").write("tl-flooder")
os.sched_setaffinity(0, {{int(sys.argv[1])}})
print("ready", flush=True)
sys.stdin.readline()
for _ in range({_CALLS}):
    os.getppid()
    os.getuid()
"""
_PROBES = {"a": "tracepoint:syscalls:sys_enter_getppid", "b": "tracepoint:syscalls:sys_enter_getuid"}
_PROGRAM = "config = { perf_rb_pages = 16 } " + " ".join(
    f'{probe} /comm == "tl-flooder"/ {{ @[probe, cpu] = count(); printf("{letter} %d\\n", cpu); }}'
    for letter, probe in _PROBES.items()
)


@pytest.mark.kernel
@pytest.mark.needs("tracefs")
@pytest.mark.limit(120)
@pytest.mark.parametrize("stopped", [False, True], ids=["reader-runs", "reader-stopped"])
def test_printed_and_lost_are_all_of_each_probe_on_every_cpu(stopped: bool, tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    flooders = [
        subprocess.Popen(
            [sys.executable, "-c", _FLOODER, str(cpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for cpu in cpus
    ]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        tracer = subprocess.Popen(
            [str(Path(sys.executable).parent / "trapline"), "-e", _PROGRAM], stdout=stdout, stderr=stderr
        )
    try:
        for flooder in flooders:
            assert flooder.stdout is not None and flooder.stdout.readline() == "ready\n"
        while "ttached" not in out.read_text() + err.read_text():
            assert tracer.poll() is None, err.read_text()
            time.sleep(0.01)
        if stopped:
            tracer.send_signal(signal.SIGSTOP)
        for flooder in flooders:
            flooder.communicate("go\n", timeout=scaled(60))
        if stopped:
            tracer.send_signal(signal.SIGCONT)
        tracer.send_signal(signal.SIGINT)
        assert tracer.wait(scaled(60)) == 0
    finally:
        for process in (tracer, *flooders):
            process.kill()
            process.communicate()
    text, said = out.read_text(), err.read_text()
    counted = {(m[1], int(m[2])): int(m[3]) for m in re.finditer(r"^@\[(\S+), (\d+)\]: (\d+)$", text, re.MULTILINE)}
    assert counted == {(probe, cpu): _CALLS for probe in _PROBES.values() for cpu in cpus}, said
    printed = Counter(tuple(line.split()) for line in text.splitlines() if re.fullmatch(r"[ab] \d+", line))
    lost = dict(re.findall(r"^WARNING: Lost events of (\S+): (\d+)$", said, re.MULTILINE))
    for letter, probe in _PROBES.items():
        shown = [printed[letter, str(cpu)] for cpu in cpus]
        assert max(shown) <= _CALLS
        assert sum(shown) + int(lost.get(probe, 0)) == _CALLS * len(cpus)
    total = re.findall(r"^WARNING: Total lost event count: (\d+)$", said, re.MULTILINE)
    assert sum(map(int, total)) == sum(map(int, lost.values()))
    if stopped:
        assert sum(printed.values()) < 64 << 10 >> 4 and set(lost) == set(_PROBES.values())
