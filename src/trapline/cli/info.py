"""``--info``: what this machine and kernel can do, probed for real, in the layout of bpftrace's."""

from __future__ import annotations

import platform
import sys

from trapline import __version__

# bpftrace's line names and the features behind them.
_HELPERS = (
    ("dpath", "d_path"),
    ("get_tai_ns", "get_tai_ns"),
    ("get_func_ip", "get_func_ip"),
    ("lookup_percpu_elem", "map_lookup_percpu_elem"),
    ("loop", "bpf_loop"),
    ("for_each_map_elem", "for_each_map_elem"),
    ("get_ns_current_pid_tgid", "get_ns_current_pid_tgid"),
    ("probe_read_kernel", "probe_read_kernel"),
    ("override_return", "override_return"),
    ("send_signal", "send_signal"),
)
_FEATURES = (
    ("btf", "btf"),
    ("ringbuf", "ringbuf"),
    ("perf_link", "perf_link"),
    ("attach_cookie", "attach_cookie"),
    ("link_info_missed", "link_info_missed"),
    ("raw_tracepoint_run", "raw_tracepoint_run"),
)
_PROBES = (
    ("kprobe", "kprobes"),
    ("kprobe_multi", "kprobe_multi"),
    ("kprobe_session", "kprobe_session"),
    ("uprobe", "uprobes"),
    ("uprobe_multi", "uprobe_multi"),
    ("fentry", "fentry"),
    ("fexit", "fexit"),
    ("iter", "iter"),
)
_WORDS = {True: "yes", False: "no", None: "unknown"}


def print_info() -> int:
    """Print the report."""
    from trapline.api import live_target

    target = live_target()
    uname = platform.uname()
    lines = [
        "System",
        f"  OS: {uname.system} {uname.release} {uname.version}",
        f"  Arch: {uname.machine}",
        "",
        "Build",
        f"  version: {__version__}",
        f"  python: {platform.python_version()}",
        f"  llvmlite: {_version('llvmlite')}",
        f"  libclang: {_version('libclang-ng')}",
    ]
    for title, rows in (("Kernel helpers", _HELPERS), ("Kernel features", _FEATURES), ("Probe types", _PROBES)):
        lines += ["", title]
        lines += [f"  {name}: {_WORDS[target.features.probe(feature)]}" for name, feature in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"
