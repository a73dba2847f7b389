"""On a kernel with kprobes: the examples, stacks, arguments and listings equal bpftrace's in the same guest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conformance.in_process import Done, run_command_line
from tests.harness.limits import scaled
from tests.harness.peers import run_peer

from trapline.kernel.target import LiveTarget

pytestmark = [pytest.mark.needs("kprobes", "bpftrace_peer", "btf", "tracefs"), pytest.mark.one_kernel]

EXAMPLES = {
    "entry": 'kprobe:do_nanosleep /comm == "sleep"/ {printf("sleep will be called by %d-%d\\n", pid, tid)}',
    "return": 'kretprobe:do_nanosleep /comm == "sleep"/ { printf("%s %d\\n", comm, retval) }',
    # Many things in one run: bpftrace takes seconds to start in a guest.
    "together": """
        kprobe:do_nanosleep /comm == "sleep"/ {
            printf("%s %s %s\\n", func, probe, comm);
            printf("%s", kstack);
            print(kstack(3));
            printf("%s|", kstack(perf, 2));
            printf("%s %d\\n", ksym(reg("ip")), arg0 == reg("di"));
            @stack[kstack(2)] = count();
            @by[func, comm] = count();
            $t = curtask;
            printf("%d %s\\n", $t->tgid == pid, $t->comm);
            @h = hist(arg1);
        }
        kprobe:do_nanosleep+5 /comm == "sleep"/ { printf("%s\\n", probe); }
        kprobe:hrtimer_nanosleep /comm == "sleep"/ { printf("%s\\n", func); }
        kretprobe:do_nanosleep /comm == "sleep"/ { printf("%s %d\\n", func, retval); @r = lhist(retval, 0, 10, 1); }
        kretprobe:hrtimer_nanosleep /comm == "sleep"/ { printf("%s\\n", probe); @s = stats(retval); }
        END { printf("end\\n"); }
    """,
}
# Kinds of kernel-side probes besides kprobes, in one run for the same reason.
KINDS = """
    fentry:do_nanosleep /comm == "sleep"/ { printf("%s %s %d %s\\n", probe, func, args.mode, probetype); }
    fexit:do_nanosleep /comm == "sleep"/ { printf("%s %d %d %s\\n", probe, retval, args.mode, probetype); }
    fentry:vmlinux:hrtimer_nanosl*p /comm == "sleep"/ { printf("%s\\n", probe); print(args); }
    rawtracepoint:sched_process_exi* /comm == "sleep"/ {
        printf("%s %s %d %s\\n", probe, args.p.comm, arg0 == (uint64)args.p, probetype);
    }
    software:cs:1000000 { printf("never\\n"); }
    profile:s:1000 { printf("never\\n"); }
    watchpoint:0x1000:8:w { printf("never\\n"); }
    END { printf("%s %s\\n", probe, probetype); }
"""
ITERATOR = 'iter:task /ctx.task.pid < 20/ { printf("%s %d %s %s\\n", ctx.task.comm, ctx.task.pid, probe, probetype); }'
# A raw tracepoint with more than six words of arguments: bpftrace does not list it, although it attaches.
MANY_ARGUMENTS = 6
PATTERNS = (
    "kprobe:*",
    "fexit:vmlinux:vfs_*",
    "iter:*",
    "software:*,hardware:*",
    "*nanosleep*",
    "t:sched:*fork,rt:sched_process_fork",
    "kprobe:*sleep*",
    "kprobe:vmlinux:vfs_*",
    "kretprobe:*nanosleep*",
    "tracepoint:syscalls:sys_enter_*",
)


def compare(folder: Path, *arguments: str) -> tuple[Done, Done]:
    ours = run_command_line(arguments, folder)
    done = run_peer(["bpftrace", *arguments], timeout_s=scaled(50))
    return ours, Done(done.stdout.decode(), done.stderr.decode(), done.returncode)


def without_numbers(text: str) -> str:
    return re.sub(r"\d+-\d+", "N-N", text)


@pytest.mark.limit(100)
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, tmp_path: Path) -> None:
    ours, theirs = compare(tmp_path, "-e", EXAMPLES[name], "-c", "sleep 0.1")
    assert without_numbers(ours.stdout) == without_numbers(theirs.stdout)
    assert ours.stdout.count("\n") > 2
    assert ours.code == theirs.code == 0
    notice = [line for line in theirs.stderr.splitlines() if line.startswith("Attached")]
    assert ours.stderr.splitlines() == notice


@pytest.mark.limit(100)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_listings(pattern: str, tmp_path: Path) -> None:
    ours, theirs = compare(tmp_path, "-l", pattern)
    mine, other = set(ours.stdout.splitlines()), set(theirs.stdout.splitlines())
    assert mine, ours.stderr
    assert sorted(mine - other) == sorted(other - mine) == []
    assert len(ours.stdout.splitlines()) == len(mine)


@pytest.mark.limit(100)
@pytest.mark.rows("1.2.13", "1.2.16", "1.2.21", "1.3.2", "1.3.3", "1.3.18", "1.3.19", "1.3.20")
@pytest.mark.needs("fentry", "breakpoints")
def test_kinds(tmp_path: Path) -> None:
    ours, theirs = compare(tmp_path, "-e", KINDS, "-c", "sleep 0.1")
    # sleep(1) adds what the file system's clock cannot show: a nanosecond more or less.
    assert re.sub(r"rqtp = 1000000\d\d", "rqtp = N", ours.stdout) == re.sub(
        r"rqtp = 1000000\d\d", "rqtp = N", theirs.stdout
    )
    assert ours.stdout.count("\n") > 5
    assert (ours.code, ours.stderr) == (theirs.code, "Attached 8 probes\n")


@pytest.mark.limit(100)
@pytest.mark.rows("1.2.32")
def test_iterators(tmp_path: Path) -> None:
    ours, theirs = compare(tmp_path, "-e", ITERATOR)
    assert ours == theirs
    assert ours.stdout.count("\n") > 10


@pytest.mark.limit(100)
@pytest.mark.rows("1.2.16", "1.11.3")
def test_arguments_of_raw_tracepoints(tmp_path: Path) -> None:
    ours, theirs = compare(tmp_path, "-lv", "rawtracepoint:*")
    mine, other = _arguments(ours.stdout), _arguments(theirs.stdout)
    btf = LiveTarget().btf
    # Newer kernels have declared events without a type, to which nothing can be attached.
    assert [name for name in set(other) - set(mine) if btf.find("btf_trace_" + name.split(":")[2])] == []
    assert all(len(mine[name]) >= MANY_ARGUMENTS for name in set(mine) - set(other))
    assert len(other) > 500
    # bpftrace shows the parameters of a function that has the tracepoint's name, where there is one, in modules too.
    functions = {line.split()[2] for line in Path("/proc/kallsyms").read_text().splitlines()}
    same = [name for name in other if name in mine and name.split(":")[2] not in functions]
    assert {name: mine[name] for name in same} == {name: other[name] for name in same}
    assert len(same) > 500


@pytest.mark.limit(100)
@pytest.mark.rows("1.11.3", "1.11.5")
def test_listings_with_arguments(tmp_path: Path) -> None:
    program = "fentry:vfs_read { } fexit:vfs_rea* { } tracepoint:sched:sched_switch { } iter:task { } END { }"
    for arguments in (
        ("-lv", "fentry:vmlinux:vfs_*,fexit:vmlinux:vfs_*,iter:*"),
        ("-l", "-e", program),
        ("-lv", "-e", program),
    ):
        ours, theirs = compare(tmp_path, *arguments)
        assert sorted(ours.stdout.splitlines()) == sorted(theirs.stdout.splitlines()), arguments
        assert ours.stdout
        assert ours.code == theirs.code == 0


def _arguments(listing: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in listing.splitlines():
        if line.startswith(" "):
            found[name].append(line.strip())
        else:
            name = line
            found[name] = []
    return found


@pytest.mark.rows("1.9.31")
def test_ctrl_c_prints_the_maps(tmp_path: Path) -> None:
    program = 'kprobe:do_nanosleep { @ = count(); } END { printf("end\\n"); }'
    with subprocess.Popen(
        [sys.executable, "-m", "trapline", "-e", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "Attached 2 probes\n"
            time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=scaled(20))
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert re.fullmatch(r"\n?end\n\n\n@: \d+\n\n?", out), repr(out)
