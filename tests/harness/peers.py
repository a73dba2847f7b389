"""Run the peers, Debian sid's bpftrace and BCC, on the running kernel, in their own root with our ``/proc``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.harness.features import PEERS

_SHARED = ("/proc", "/sys", "/dev", "/tmp")


# Outside a guest each run has mounts of its own, which end with it.
_MOUNT_AND_RUN = (
    "root=$1; shift; "
    + "".join(f'mount --rbind {path} "$root{path}" && ' for path in _SHARED)
    + 'exec chroot "$root" "$@"'
)


@cache
def prepare_peers() -> None:
    """Mount what the peers share with us. For guests only: nothing there outlives them."""
    # Not os.path.ismount: it takes the host's mounts, which show through, for ours.
    mounted = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    for path in _SHARED:
        if f"{PEERS}{path}" not in mounted:
            subprocess.run(["mount", "--rbind", path, f"{PEERS}{path}"], check=True, timeout=60)


def peer_command(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs a program of the peers; its files go through ``/tmp``."""
    program = ["/usr/bin/env", "PATH=/usr/sbin:/usr/bin", *argv]
    if not os.environ.get("TRAPLINE_GUEST"):
        return ["unshare", "-m", "sh", "-c", _MOUNT_AND_RUN, "sh", str(PEERS), *program]
    prepare_peers()
    return ["chroot", str(PEERS), *program]


def run_peer(argv: Sequence[str], *, timeout_s: float = 120.0) -> subprocess.CompletedProcess[bytes]:
    """Run a peer to its end, with its output captured."""
    return subprocess.run(
        peer_command(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
    )
