"""A machine that does not let us: no privilege, no tracefs, no BTF; one clear line each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # root without a single capability
PRELUDE = """
import os, sys
sys.path.insert(0, ".")
from tests.kernel.tiny_objects import *
from trapline.abi.assembler import *
from trapline.errors import *
from trapline.ir.spec import *
from trapline.kernel.map import Map
from trapline.kernel.program import Program
def show(action):
    try:
        action()
        print("no error")
    except TraplineError as error:
        print(type(error).__name__, "|", error.message, "|", error.hint)
"""


def _run(code: str, *wrapper: str) -> list[list[str]]:
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", PRELUDE + code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [line.split(" | ") for line in done.stdout.splitlines()]


@pytest.mark.limit(120)
def test_without_privilege_the_capability_is_named() -> None:
    code = """
show(lambda: Map.create(MapSpec("@x", "HASH", 4, 4, 1)))
show(lambda: Program.load(ObjectProgram("p", "KPROBE", Assembler().mov(R0, 0).exit().assemble())))
"""
    create, load = _run(code, *POWERLESS)
    assert create[0] == "PrivilegeError" and "CAP_BPF" in create[1] and "root" in create[2]
    assert load[0] == "PrivilegeError" and "CAP_BPF and CAP_PERFMON" in load[1]


@pytest.mark.needs("kprobes")
@pytest.mark.limit(120)
def test_a_kprobe_without_privilege() -> None:
    code = """
from trapline.kernel.attach.kprobe import open_kprobe_event
show(lambda: open_kprobe_event(KprobeAttach("do_nanosleep"), "kprobe:do_nanosleep", target()))
"""
    ((kind, message, hint),) = _run(code, *POWERLESS)
    assert kind == "PrivilegeError" and "CAP_PERFMON" in message and "kprobe:do_nanosleep" in message and "root" in hint


@pytest.mark.needs("tracefs")
@pytest.mark.limit(120)
def test_without_tracefs_the_mount_command_is_named() -> None:
    code = """
show(lambda: target().tracepoint_format("sched", "sched_switch"))
show(lambda: target().tracepoints("sched", "*"))
"""
    hide = "for m in /sys/kernel/tracing /sys/kernel/debug; do umount -l $m 2>/dev/null; mount -t tmpfs none $m; done; "
    rows = _run(code, "unshare", "--mount", "sh", "-c", hide + 'exec "$@"', "sh")
    assert len(rows) == 2
    for kind, message, hint in rows:
        assert kind == "TargetError" and message == "tracefs is not mounted"
        assert "mount -t tracefs" in hint


@pytest.mark.limit(120)
def test_without_btf_that_is_said() -> None:
    code = """
show(lambda: target().btf)
assert not target().has_btf and target().has("btf") is False and target().has("fentry") is False
"""
    if not os.path.exists("/sys/kernel/btf"):
        pytest.skip("lacks /sys/kernel/btf")
    hide = "mount -t tmpfs none /sys/kernel/btf; "
    ((kind, message, hint),) = _run(code, "unshare", "--mount", "sh", "-c", hide + 'exec "$@"', "sh")
    assert kind == "FeatureMissingError" and "no BTF" in message and "CONFIG_DEBUG_INFO_BTF" in hint
