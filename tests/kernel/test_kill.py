"""How a run ends: killed at any moment, interrupted, terminated; with its command, and with the process it watches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.in_process import Done, run_command_line
from tests.harness.limits import scaled

pytestmark = pytest.mark.limit(60)

PROGRAM = """
    begin { @start = nsecs }
    kprobe:do_nanosleep { @[comm] = count(); printf("%s %d\\n", comm, pid) }
    kretprobe:do_nanosleep { @r[retval] = count() }
    kprobe:vfs_rea* { @reads = count() }
    kprobe:do_sys_openat2 { @names[str(args.filename)] = count() }
    kretprobe:do_sys_openat2 { @opened[str(args.filename)] = count() }
    tracepoint:raw_syscalls:sys_enter { @calls = count() }
    interval:ms:50 { print(@reads) }
    end { printf("end\\n") }
"""


def kernel_state() -> dict[str, set[str]]:
    """Return what exists in the kernel: BPF objects as bpftool lists them, and probes as debugfs and tracefs do."""
    state = {}
    for kind in ("prog", "map", "link"):
        listed = subprocess.run(
            ["/usr/sbin/bpftool", "-j", kind, "show"], capture_output=True, timeout=scaled(10), check=True
        )
        state[kind] = {str(row["id"]) for row in json.loads(listed.stdout or b"[]")}
    for path in ("/sys/kernel/debug/kprobes/list", "/sys/kernel/tracing/kprobe_events"):
        state[path] = set(Path(path).read_text().splitlines())
    return state


def new_since(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what exists now and did not before."""
    return {kind: found - before[kind] for kind, found in kernel_state().items() if found - before[kind]}


def _run_in_child(arguments: list[str], marks: int, pause: tuple[str, int]) -> None:
    """Be a tracer that tells each of its steps and waits there for its death."""
    import trapline.engine.session as engine
    import trapline.kernel.attach.kprobe as kprobe
    import trapline.kernel.map as maps
    import trapline.kernel.object as objects
    import trapline.kernel.program as programs
    import trapline.runtime.loop as loop

    step, times = pause
    seen = 0

    def stop_here(name: str) -> None:
        nonlocal seen
        if name == step:
            seen += 1
            if seen == times:
                os.write(marks, b"here")
                time.sleep(600)

    def wrap(owner: object, name: str, label: str, *, after: bool = True) -> None:
        original = getattr(owner, name)

        def stepping(*positional: object, **named: object) -> object:
            if not after:
                stop_here(label)
            result = original(*positional, **named)
            if after:
                stop_here(label)
            return result

        setattr(owner, name, stepping)

    wrap(maps.Map, "create", "map")
    wrap(programs.Program, "load", "program")
    wrap(engine, "load_object", "loaded")
    wrap(objects.LoadedObject, "attach", "attach")
    wrap(kprobe, "open_kprobe_event", "event")
    wrap(loop.EventLoop, "step", "running")
    wrap(loop.EventLoop, "settle", "detached")
    wrap(loop.EventLoop, "finish", "finished")
    wrap(engine.EngineSession, "close", "closing", after=False)
    wrap(engine.EngineSession, "__init__", "start", after=False)
    from trapline.cli import main

    main(arguments)
    os.write(marks, b"done")
    time.sleep(600)


MOMENTS = [
    ("start", 1), ("map", 3), ("program", 2), ("loaded", 1), ("event", 1),
    ("attach", 2), ("attach", 7), ("running", 5), ("detached", 1), ("finished", 1), ("closing", 1),
]  # fmt: skip


@pytest.mark.needs("kprobes", "bpftool", "tracefs")
@pytest.mark.limit(120)
def test_killed_at_any_moment_nothing_stays() -> None:
    before = kernel_state()
    grew = set()
    for step, times in MOMENTS:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                os.dup2(null, 2)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(int(scaled(30)))
                _run_in_child(["-e", PROGRAM, "-c", "sleep 0.2"], writer, (step, times))
            finally:
                os._exit(9)
        os.close(writer)
        told = os.read(reader, 4)
        os.close(reader)
        if step in ("program", "attach", "running") and new_since(before):
            grew.add(step)  # the check would see what stays
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL and told == b"here", (step, told)
        deadline = time.monotonic() + scaled(5)
        while (left := new_since(before)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, f"killed at {step} {times}: {left}"
    assert grew == {"program", "attach", "running"}


@pytest.mark.needs("kprobes", "bpftool", "tracefs")
@pytest.mark.limit(60)
def test_a_killed_command_line_leaves_nothing() -> None:
    before = kernel_state()
    child = subprocess.Popen(
        [sys.executable, "-m", "trapline", "-e", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    assert child.stderr.readline().startswith(b"Attached ")
    assert new_since(before)["prog"]
    child.kill()
    child.wait(scaled(5))
    child.stdout.close()
    child.stderr.close()
    deadline = time.monotonic() + scaled(5)
    while (left := new_since(before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


# ---------------------------------------------------------------- signals, -c, -p


def run_and(act: Callable[[], object], arguments: list[str], folder: Path) -> tuple[Done, float]:
    """Run the command line, do something once it is attached; return what it printed, and its seconds after that."""
    acted: list[float] = []

    def wait() -> None:
        notices = folder / "stderr"
        while not notices.exists() or "Attached" not in notices.read_text():
            time.sleep(0.01)
        acted.append(time.monotonic())
        act()

    worker = threading.Thread(target=wait)
    worker.start()
    done = run_command_line(arguments, folder)
    ended = time.monotonic()
    worker.join(30)
    return done, ended - acted[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_maps(number: int, tmp_path: Path) -> None:
    program = 'begin { @x = 7; @s["a"] = count() } interval:s:100 { } end { printf("end\\n") }'
    done, seconds = run_and(lambda: os.kill(os.getpid(), number), ["-e", program], tmp_path)
    assert (done.code, done.stdout) == (0, "end\n\n\n@s[a]: 1\n@x: 7\n")
    assert done.stderr == "Attached 3 probes\n"
    assert seconds < scaled(1)


@pytest.mark.needs("kprobes")
def test_a_run_ends_with_its_command_and_sees_all_of_it(tmp_path: Path) -> None:
    program = 'kprobe:do_nanosleep /pid == cpid/ { printf("%s\\n", comm); @ = count() }'
    done = run_command_line(["-e", program, "-c", "sleep 0.05"], tmp_path)
    assert (done.code, done.stdout, done.stderr) == (0, "sleep\n\n\n@: 1\n", "Attached 1 probe\n")


@pytest.mark.needs("tracefs")
def test_only_the_chosen_process_is_traced_and_its_end_ends_the_run(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(writer)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(scaled(30)))
            while os.read(reader, 1):
                os.getppid()
        finally:
            os._exit(0)
    os.close(reader)

    def act() -> None:
        for _ in range(3):
            os.write(writer, b"x")
            os.getppid()
        os.close(writer)
        os.waitpid(child, 0)

    program = "tracepoint:syscalls:sys_enter_getppid { @[pid] = count() }"
    done, seconds = run_and(act, ["-p", str(child), "-e", program], tmp_path)
    assert (done.code, done.stdout) == (0, f"\n\n@[{child}]: 3\n")
    assert seconds < scaled(3)


@pytest.mark.needs("kprobes")
def test_results_go_to_stdout_and_everything_else_to_stderr(tmp_path: Path) -> None:
    program = 'begin { printf("data\\n"); errorf("trouble\\n"); @ = 1; exit() } kprobe:do_nanosleep { }'
    done = run_command_line(["-e", program], tmp_path)
    assert done.stdout == "data\n\n\n@: 1\n"
    assert "Attached 2 probes" in done.stderr and "trouble" in done.stderr
    quiet = run_command_line(["-q", "-e", 'begin { printf("data\\n"); exit() }'], tmp_path)
    assert (quiet.stdout.rstrip("\n"), quiet.stderr) == ("data", "")
