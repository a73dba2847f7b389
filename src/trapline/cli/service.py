"""Tells a service manager when a run is ready and when it ends (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os

_VARIABLE = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send a state (``READY=1``, ``STOPPING=1``) to the service manager, if there is one."""
    path = os.environ.get(_VARIABLE, "")
    if path[:1] not in ("/", "@"):
        return
    import socket  # imported when needed: most runs are no services

    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), path if path[0] == "/" else "\0" + path[1:])
