"""Did-you-mean: hints that name what a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable

from trapline.frontends.bpftrace import types as t
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.knowledge import Knowledge


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the word of `known` that a misspelt one is most similar to; empty if there is none."""
    from difflib import get_close_matches  # imported when needed: most programs have no mistakes

    return next(iter(get_close_matches(name, sorted(set(known) - {name}), 1)), "")


def near_hint(name: str, known: Iterable[str], sigil: str = "") -> list[str]:
    """Return a hint that names what may have been meant, or nothing.

    Args:
        name: the misspelt word.
        known: the words that there are.
        sigil: what stands before the word in the program (``$``).
    """
    near = nearest(name, known)
    return [f"Did you mean '{sigil}{near}'?"] if near else []


def near_map(knowledge: Knowledge, name: str) -> list[str]:
    """Return a hint that names the map that may have been meant."""
    return near_hint(name, [info.name for info in knowledge.maps.values() if not isinstance(info.value, t.UnknownT)])
