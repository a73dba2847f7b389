"""What tests may need of the machine, and whether it has it: yes, no, or cannot tell.

Only a certain "no" lets a test be skipped. The probes here do not use trapline, so that a mistake in its own feature
probes cannot hide the tests that would show it.
"""

from __future__ import annotations

import ctypes
import gzip
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PEERS = Path(os.environ.get("TRAPLINE_PEERS", "/var/lib/trapline-peers")) / "sid"


@dataclass(frozen=True)
class Feature:
    """One row: its name in ``@pytest.mark.needs``, and the probe (``None``: cannot tell)."""

    name: str
    probe: Callable[[], bool | None]


@cache
def has_feature(name: str) -> bool | None:
    """Return whether this machine has a feature of the table.

    Raises:
        KeyError: there is no such row.
    """
    return FEATURES[name].probe()


@cache
def kernel_config() -> str | None:
    """Return the running kernel's configuration, or ``None`` when it cannot be found."""
    release = os.uname().release
    for path in (Path(f"/boot/config-{release}"), Path(f"/lib/modules/{release}/config")):
        if path.exists():
            return path.read_text()
    if Path("/proc/config.gz").exists():
        return gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    return None


@cache
def _kallsyms() -> bytes:
    return Path("/proc/kallsyms").read_bytes()


@cache
def _btf() -> bytes:
    path = Path("/sys/kernel/btf/vmlinux")
    return path.read_bytes() if path.exists() else b""


def _has_symbol(name: str) -> bool | None:
    symbols = _kallsyms()
    if f" {name}\n".encode() in symbols or f" {name}\t".encode() in symbols:
        return True
    # A short list means that the kernel hides it (kptr_restrict, no CONFIG_KALLSYMS).
    return False if symbols.count(b"\n") > 10_000 else None


def _has_config(name: str) -> bool | None:
    config = kernel_config()
    if config is None:
        return None
    return f"\n{name}=y" in config or f"\n{name}=m" in config


def _has_kprobes() -> bool | None:
    return (
        Path("/sys/bus/event_source/devices/kprobe/type").exists() if Path("/sys/bus/event_source").exists() else None
    )


def _has_uprobes() -> bool | None:
    return (
        Path("/sys/bus/event_source/devices/uprobe/type").exists() if Path("/sys/bus/event_source").exists() else None
    )


def _has_kprobe_multi() -> bool | None:
    return _has_kprobes() and _has_symbol("register_fprobe_ips")


def _has_kprobe_session() -> bool | None:
    return _has_kprobe_multi() and b"\0BPF_TRACE_KPROBE_SESSION\0" in _btf()


def _has_fentry() -> bool | None:
    if not _btf():
        return False
    return _has_kprobes() and _has_symbol("register_ftrace_direct")


def _has_tracefs() -> bool:
    return any(Path(path, "events").is_dir() for path in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"))


def _is_unlocked() -> bool | None:
    path = Path("/sys/kernel/security/lockdown")
    if not path.exists():
        return None
    return "[none]" in path.read_text()


def _release_is_at_least(major: int, minor: int) -> bool:
    numbers = os.uname().release.split("-")[0].split(".")
    return (int(numbers[0]), int(numbers[1])) >= (major, minor)


# struct perf_event_attr: type, size, config, sample_period, …, bp_type at 52, bp_addr at 56, bp_len at 64.
_CYCLES = struct.pack("<IIQQ96x", 0, 120, 0, 1_000_000)
_BREAKPOINT = struct.pack("<IIQQ24x4xIQQ48x", 5, 120, 0, 1, 2, 0x1000, 8)


def _opens_event(attr: bytes) -> bool:
    """Try perf_event_open(2), on any CPU for this process, closing what it opened."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(298 if os.uname().machine == "x86_64" else 241, attr, 0, -1, -1, 0)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


FEATURES = {
    row.name: row
    for row in (
        Feature("btf", lambda: bool(_btf())),
        Feature("tracefs", _has_tracefs),
        Feature("kprobes", _has_kprobes),
        Feature("uprobes", _has_uprobes),
        Feature("kprobe_multi", _has_kprobe_multi),
        Feature("kprobe_session", _has_kprobe_session),
        Feature("fentry", _has_fentry),
        Feature("map_elem_count", lambda: _has_symbol("bpf_map_sum_elem_count")),
        Feature("preempt_disable", lambda: _has_symbol("bpf_preempt_disable")),
        Feature("no_lockdown", _is_unlocked),
        # Tracepoints may call it since Linux 6.12; the function is there since 6.2.
        Feature("task_from_pid", lambda: _release_is_at_least(6, 12) and b"\0bpf_task_from_pid\0" in _btf()),
        Feature("module_tree", lambda: Path(f"/lib/modules/{os.uname().release}").is_dir()),
        Feature("kallsyms_data", lambda: _has_symbol("avenrun")),
        Feature("module_btf", lambda: _has_config("CONFIG_DEBUG_INFO_BTF_MODULES")),
        Feature("bpftrace_peer", lambda: (PEERS / "usr/bin/bpftrace").exists()),
        Feature("bcc_peer", lambda: (PEERS / "usr/lib/python3/dist-packages/bcc").exists()),
        Feature("bcc_tools", lambda: (PEERS.parent / "bcc-tools-0.37").exists()),
        Feature("bpftool", lambda: shutil.which("bpftool", path="/usr/sbin:/usr/bin:/sbin:/bin") is not None),
        Feature("breakpoints", lambda: _opens_event(_BREAKPOINT)),
        Feature("no_hardware_counters", lambda: not _opens_event(_CYCLES)),
        # A kernel where kprobes are known to be missing, for the tests of what trapline says about that.
        Feature("no_kprobes", lambda: None if _has_kprobes() is None else not _has_kprobes()),
        Feature("no_kprobe_multi", lambda: None if _has_kprobe_multi() is None else not _has_kprobe_multi()),
    )
}

# Missing ones are not a property of the kernel: where everything is required, they fail.
INSTALLED = {"bpftrace_peer", "bcc_peer", "bcc_tools", "bpftool", "tracefs"}
