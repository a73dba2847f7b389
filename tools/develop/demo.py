"""Run the examples on real kernel probes: on this machine's kernel, or else in a disposable guest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.develop.environment import RUN, compile_sources, guest_needs, mount_filesystems, set_up, venv_program
from tools.develop.run import REPO, say

_TIMEOUT_S = 480


def run_demo(*, kernel: str, force_guest: bool) -> int:
    """Set up what the demo needs and run it; return 0 when every example printed its events."""
    obstacle = "--guest was given" if force_guest else find_obstacle()
    path = f"{venv_program('')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
    examples = ["-m", "tools.develop.examples"]
    if obstacle is None:
        set_up(RUN)
        mount_filesystems()
        say(f"on this machine's own kernel, {os.uname().release}: it has kprobes and allows them")
        env = {**os.environ, "PATH": path}
        return subprocess.run([sys.executable, *examples], cwd=REPO, env=env, check=False).returncode
    set_up(guest_needs(kernel))
    say(f"in a disposable QEMU guest with Debian's kernel {kernel}, because {obstacle}")
    compile_sources()
    guest = [sys.executable, "-m", "tools.guest", "run", "-v", "--kernel", kernel, f"--timeout={_TIMEOUT_S}"]
    guest += [f"--cwd={REPO}", f"--env=PATH={path}", "--", str(venv_program("python")), *examples]
    return subprocess.run(guest, cwd=REPO, check=False).returncode


def find_obstacle() -> str | None:
    """Return why kprobes cannot be used on this machine's kernel, or ``None`` when they can."""
    if os.geteuid() != 0:
        return "you are not root, and attaching kprobes needs CAP_BPF and CAP_PERFMON"
    release = os.uname().release
    if not Path("/sys/bus/event_source/devices/kprobe/type").exists():
        return f"this machine's kernel {release} has no CONFIG_KPROBES"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return f"this machine's kernel {release} has no BTF (CONFIG_DEBUG_INFO_BTF)"
    lockdown = Path("/sys/kernel/security/lockdown")
    if lockdown.exists() and "[confidentiality]" in lockdown.read_text():
        return f"this machine's kernel {release} is locked down (confidentiality), which forbids kprobes"
    return None
