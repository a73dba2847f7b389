"""USDT probes: not offered yet; the names exist so that scripts which may use them can be imported."""

from __future__ import annotations

from typing import Any

from trapline.bcc.failures import NotOfferedError


class USDTException(NotOfferedError):
    """What `USDT` raises."""


class USDT:
    """Statically defined probes of a process or file; making one raises.

    Raises:
        USDTException: always.
    """

    def __init__(self, pid: int | None = None, path: str | None = None, **_: Any) -> None:
        where = f"process {pid}" if pid is not None else path
        raise USDTException(
            f"USDT probes are not offered yet ({where})",
            hint="attach_uprobe() works on any function of a program or library",
        )
