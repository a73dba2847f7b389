"""Run BCC itself, Debian sid's of the peers, on a kernel whose headers lie beside them. For guests only.

It runs under sid's own loader, not in a chroot: so it finds the same programs, libraries and paths as trapline does,
and attaches to the C library that the workload uses.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from tests.conformance.bcc_run import Pipe
from tests.harness.features import PEERS

HEADERS = PEERS.parent / "headers"
_LIBRARIES = (PEERS / "usr/lib/x86_64-linux-gnu", PEERS / "usr/lib/llvm-21/lib")
_MODULES = Path("/tmp/trapline-peer-modules")  # modules of ours that tools import and sid's Python has not
_SCRIPT = Path(__file__).with_name("bcc_peer_script.py")


_PYTHON = {
    "PYTHONHOME": str(PEERS / "usr"),
    "PYTHONPATH": str(_MODULES),
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
}


class NoHeadersError(Exception):
    """The headers of the running kernel are not there."""


def peer_python() -> list[str]:
    """Return the command line of the peers' Python, which imports BCC; it needs `peer_environment`."""
    python = max((PEERS / "usr/bin").glob("python3.*[0-9]"))
    loader = PEERS / "usr/lib64/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", ":".join(map(str, _LIBRARIES)), str(python)]


def peer_environment() -> dict[str, str]:
    """Return the environment in which `peer_python` finds its modules."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**ours, **_PYTHON}


def prepare_bcc() -> None:
    """Let BCC find the kernel's headers, in ``/lib/modules``: what a guest writes there is lost with it.

    Raises:
        NoHeadersError: there are none.
    """
    if not os.environ.get("TRAPLINE_GUEST"):
        raise NoHeadersError("this is not a guest: /lib/modules is not changed")
    release = os.uname().release
    headers = HEADERS / release
    if not headers.is_dir():
        raise NoHeadersError(f"no headers in {headers}; on the machine, run: python3 -m tools.develop headers")
    for name in ("build", "source"):
        if not Path("/lib/modules", release, name).exists():
            Path("/lib/modules", release, name).symlink_to(headers / name)
    _MODULES.mkdir(exist_ok=True)
    elftools = importlib.util.find_spec("elftools")
    if elftools and elftools.origin and not (_MODULES / "elftools").exists():
        (_MODULES / "elftools").symlink_to(Path(elftools.origin).parent)


def trace_with_bcc(words: list[str], waiting: Pipe) -> int:
    """Become BCC's run of a tool: what `bcc_run.trace_with_trapline` is for trapline."""
    os.set_inheritable(waiting.writer, True)
    command = [*peer_python(), str(_SCRIPT), str(waiting.writer), *words]
    os.execve(command[0], command, peer_environment())
