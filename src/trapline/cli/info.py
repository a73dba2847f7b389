"""``--info``: what this machine, this build and this kernel can do, probed for real.

The titles and lines are bpftrace's, so that scripts that look for ``kprobe_multi: yes`` find it; the last section holds
lines that older versions of it had, for the same reason.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable

from trapline import __version__

Row = tuple[str, str]  # the line's name, and the feature behind it

_HELPERS: tuple[Row, ...] = (
    ("dpath", "d_path"),
    ("get_tai_ns", "get_tai_ns"),
    ("get_func_ip", "get_func_ip"),
    ("lookup_percpu_elem", "map_lookup_percpu_elem"),
    ("loop", "bpf_loop"),
    ("for_each_map_elem", "for_each_map_elem"),
    ("get_ns_current_pid_tgid", "get_ns_current_pid_tgid"),
    ("get_boot_ns", "get_boot_ns"),
    ("jiffies64", "jiffies64"),
    ("skboutput", "skb_output"),
    ("probe_read", "helper:probe_read"),
    ("probe_read_str", "helper:probe_read_str"),
    ("probe_read_user", "helper:probe_read_user"),
    ("probe_read_user_str", "helper:probe_read_user_str"),
    ("probe_read_kernel", "probe_read_kernel"),
    ("probe_read_kernel_str", "helper:probe_read_kernel_str"),
    ("probe_write_user", "probe_write_user"),
    ("get_current_cgroup_id", "helper:get_current_cgroup_id"),
    ("override_return", "override_return"),
    ("send_signal", "send_signal"),
)
_FEATURES: tuple[Row, ...] = (
    ("btf", "btf"),
    ("ringbuf", "ringbuf"),
    ("perf_link", "perf_link"),
    ("attach_cookie", "attach_cookie"),
    ("link_info_missed", "link_info_missed"),
    ("raw_tracepoint_run", "raw_tracepoint_run"),
)
_MAPS: tuple[Row, ...] = (
    ("hash", "map:HASH"),
    ("percpu hash", "map:PERCPU_HASH"),
    ("lru hash", "map:LRU_HASH"),
    ("percpu lru hash", "map:LRU_PERCPU_HASH"),
    ("array", "map:ARRAY"),
    ("percpu array", "map:PERCPU_ARRAY"),
    ("stack_trace", "map:STACK_TRACE"),
    ("perf_event_array", "map:PERF_EVENT_ARRAY"),
    ("ringbuf", "map:RINGBUF"),
)
_PROBES: tuple[Row, ...] = (
    ("kprobe", "kprobes"),
    ("kprobe_multi", "kprobe_multi"),
    ("kprobe_session", "kprobe_session"),
    ("uprobe", "uprobes"),
    ("uprobe_multi", "uprobe_multi"),
    ("fentry", "fentry"),
    ("fexit", "fexit"),
    ("iter", "iter"),
    ("iter:task", "iter:task"),
    ("iter:task_file", "iter:task_file"),
    ("iter:task_vma", "iter:task_vma"),
)
_OLDER: tuple[Row, ...] = (
    ("kfunc", "fentry"),
    ("btf (depends on Build:libbpf)", "btf"),
    ("Loop support", "bpf_loop"),
    ("get_ktime_ns", "get_tai_ns"),
    ("uprobe refcount (depends on Build:bcc bpf_attach_uprobe refcount)", "uprobes"),
)
_WORDS = {True: "yes", False: "no", None: "unknown"}


def print_info() -> int:
    """Print the report."""
    from trapline.api import live_target

    features = live_target().features
    probe, limit = features.probe, features.instruction_limit()
    uname = platform.uname()
    lines = ["System", f"  OS: {uname.system} {uname.release} {uname.version}", f"  Arch: {uname.machine}", ""]
    lines += ["Build", f"  version: {__version__}", *(f"  {line}" for line in _build())]
    lines += _section("Kernel helpers", _HELPERS, probe)
    lines += ["", "Kernel features", f"  Instruction limit: {'unknown' if limit is None else limit}"]
    lines += [*_section("", _FEATURES, probe), f"  module btf: {_WORDS[_has_module_btf()]}"]
    lines += _section("Map types", _MAPS, probe)
    lines += _section("Probe types", _PROBES, probe)
    lines += _section("Names that older versions use", _OLDER, probe)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _section(title: str, rows: tuple[Row, ...], probe: Callable[[str], bool | None]) -> list[str]:
    lines = [f"  {name}: {_WORDS[probe(feature)]}" for name, feature in rows]
    return ["", title, *lines] if title else lines


def _build() -> list[str]:
    from trapline.engine.compile import llvm_version

    return [
        f"LLVM: {llvm_version()}",
        f"python: {platform.python_version()}",
        f"llvmlite: {_version('llvmlite')}",
        f"libclang: {_version('libclang-ng')}",
        "libdw (DWARF support): yes",
        "libsystemd (systemd notify support): yes",
        "blazesym (advanced symbolization): no",
        "dwunwind (DWARF stack unwinding): no",
    ]


def _has_module_btf() -> bool | None:
    try:
        return len(os.listdir("/sys/kernel/btf")) > 1
    except FileNotFoundError:
        return False
    except OSError:
        return None


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"
