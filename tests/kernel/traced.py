"""Trace what this process does, through the public API."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trapline

ME = str(os.getpid())


@dataclass(frozen=True)
class Traced:
    """What a run gave: its events, its maps, and what the kernel said about it."""

    events: list[trapline.TypedEvent]
    maps: dict[str, dict[Any, Any]]
    missed: dict[str, int | None]
    lost: dict[str, int]
    attached: int
    result: Any

    @property
    def texts(self) -> list[str]:
        """What each event would have printed."""
        return [event.text for event in self.events]


def trace(text: str, act: Callable[[], Any] = lambda: None, *args: object, **options: Any) -> Traced:
    """Attach a program (``$1`` is this process), act, detach, and return everything that was seen.

    Args:
        text: the program.
        act: makes the probes fire; called while they are attached.
        args: ``$2`` and so on.
        options: of the `trapline.Session`.
    """
    with trapline.Session(text, args=(ME, *map(str, args)), cache=False, **options) as session:
        attached = session.attach()
        result = act()
        session.finish()
        return Traced(
            list(session.events(timeout=0)),
            {name: dict(view.items()) for name, view in session.maps.items()},
            {row.label: row.count for row in session.missed},
            dict(session.lost),
            attached,
            result,
        )
