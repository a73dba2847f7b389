"""A map that is two in the kernel, one of them for the elements with short keys, read and written as one."""

from __future__ import annotations

from collections.abc import Mapping

from trapline.ir.short_keys import KeyCut, cut_of
from trapline.ir.spec import MapSpec
from trapline.runtime.maps import RawMap


def join_maps(maps: Mapping[str, RawMap]) -> Mapping[str, RawMap]:
    """Return the maps that a program's text knows, those that were split joined again.

    Args:
        maps: all maps in the kernel, by name.
    """
    joined = dict(maps)
    for name, raw in maps.items():
        short = joined.pop(raw.spec.short, None) if raw.spec.short else None
        cut = cut_of(raw.spec.key, raw.spec.key_size) if short is not None else None
        if short is not None and cut is not None:
            joined[name] = SplitMap(raw, short, cut)
    return joined


class SplitMap:
    """Both halves as one `RawMap`.

    Args:
        long: the map of the elements whose keys cannot be cut.
        short: that of all others.
        cut: how their keys are cut.
    """

    def __init__(self, long: RawMap, short: RawMap, cut: KeyCut) -> None:
        self._long = long
        self._short = short
        self._cut = cut

    @property
    def spec(self) -> MapSpec:
        """What the program's text says of the map."""
        return self._long.spec

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, value) pairs."""
        lengthen = self._cut.lengthen
        return [*self._long.items(), *[(lengthen(key), value) for key, value in self._short.items()]]

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or ``None``."""
        raw, own = self._home(key)
        return raw.lookup(own)

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of `key`."""
        raw, own = self._home(key)
        raw.update(own, value)

    def delete(self, key: bytes) -> bool:
        """Delete `key`; return whether it was there."""
        raw, own = self._home(key)
        return raw.delete(own)

    def clear(self) -> None:
        """Delete all elements."""
        self._long.clear()
        self._short.clear()

    def zero(self) -> None:
        """Set every value to zero bytes."""
        self._long.zero()
        self._short.zero()

    def _home(self, key: bytes) -> tuple[RawMap, bytes]:
        cut = self._cut.shorten(key)
        return (self._long, key) if cut is None else (self._short, cut)
