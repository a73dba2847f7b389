"""Under which name the command runs: its own, or bpftrace's when it stands in bpftrace's place."""

from __future__ import annotations

import contextlib
import os
import sys

NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
_PEER = "bpftrace"
_PEER_VERSION = "0.27.1"  # whose behaviour ours is


def stands_in() -> bool:
    """Tell whether the caller takes this process for bpftrace: by the command's name, or by a variable of its tests."""
    return os.path.basename(sys.argv[0]) == _PEER or NOTIFY in os.environ


def take_name() -> None:
    """Let the process be called ``bpftrace`` (``comm``, pkill, pidof) when it stands in bpftrace's place."""
    if stands_in():
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write(_PEER)


def version_line() -> str:
    """Return what ``--version`` prints; scripts that call ``bpftrace`` read its version from there."""
    from trapline import __version__

    if stands_in():
        return f"{_PEER} v{_PEER_VERSION} (trapline {__version__})"
    return f"trapline {__version__}"
