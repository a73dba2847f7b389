"""Maps that the kernel holds in another shape than a program's text has them, read and written as the text has them."""

from __future__ import annotations

from collections.abc import Mapping

from trapline.ir.short_keys import KeyCut, cut_of
from trapline.ir.spec import MapSpec
from trapline.ir.values import BUCKETED
from trapline.records import replace
from trapline.runtime.maps import RawMap

_ARRAYS = {"ARRAY": "HASH", "PERCPU_ARRAY": "PERCPU_HASH"}
_WORD = 8


def as_written(maps: Mapping[str, RawMap]) -> Mapping[str, RawMap]:
    """Return the maps that a program's text knows: split ones joined, scalars as maps of one element.

    Args:
        maps: all maps in the kernel, by name.
    """
    found = dict(maps)
    for name, raw in maps.items():
        short = found.pop(raw.spec.short, None) if raw.spec.short else None
        cut = cut_of(raw.spec.key, raw.spec.key_size) if short is not None else None
        if short is not None and cut is not None:
            found[name] = SplitMap(raw, short, cut)
        elif raw.spec.scalar and raw.spec.type in _ARRAYS:
            found[name] = BucketArray(raw) if isinstance(raw.spec.value, BUCKETED) else ScalarArray(raw)
    return found


class SplitMap:
    """A map of two, one of them for the elements with short keys, as one `RawMap`.

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

    def packed(self) -> None:
        """Return ``None``: the kernel's batches have another shape."""

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


class ScalarArray:
    """A value in element 0 of an array, with a word behind it that tells whether it was set.

    As a `RawMap` it has one element whose key is zero, or none when it was never set (on no CPU, if it is per CPU).

    Args:
        raw: the array.
    """

    def __init__(self, raw: RawMap) -> None:
        self._raw = raw
        spec = raw.spec
        self._key = bytes(_WORD)
        self._slot = spec.value_size
        assert spec.value is not None
        self.spec = replace(spec, type=_ARRAYS[spec.type], key_size=_WORD, value_size=spec.value.size)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return the (key, value) pair, if there is one."""
        value = self.lookup(self._key)
        return [] if value is None else [(self._key, value)]

    def packed(self) -> None:
        """Return ``None``: the kernel's batches have another shape."""

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value, or ``None`` when it was never set."""
        slots = self._slots()
        if not any(any(slot[-_WORD:]) for slot in slots):
            return None
        return b"".join([slot[:-_WORD] for slot in slots])

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value; an array without parts only."""
        self._raw.update(bytes(4), value.ljust(self._slot - _WORD, b"\0") + (1).to_bytes(_WORD, "little"))

    def delete(self, key: bytes) -> bool:
        """Delete the value; return whether there was one."""
        was_set = self.lookup(key) is not None
        self.clear()
        return was_set

    def clear(self) -> None:
        """Delete the value."""
        self._raw.zero()

    def zero(self) -> None:
        """Set the value to zero bytes, if there is one."""
        if self.lookup(self._key) is not None:
            zero = bytes(self._slot - _WORD) + (1).to_bytes(_WORD, "little")
            self._raw.update(bytes(4), zero * len(self._slots()))

    def _slots(self) -> list[bytes]:
        raw = self._raw.lookup(bytes(4)) or b""
        return [raw[start : start + self._slot] for start in range(0, len(raw), self._slot)]


class BucketArray:
    """The buckets of a histogram in an array; as a `RawMap` it has an element for each bucket that is not empty.

    Args:
        raw: the array.
    """

    def __init__(self, raw: RawMap) -> None:
        self._raw = raw
        self._zeroed = False
        self.spec = replace(raw.spec, type=_ARRAYS[raw.spec.type])

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return the (index, counts) pairs."""
        found = [(key, counts) for key, counts in self._raw.items() if any(counts)]
        if not found and self._zeroed:  # an empty histogram, not none
            counts = self._raw.lookup(bytes(4))
            return [] if counts is None else [(bytes(4), counts)]
        return found

    def packed(self) -> None:
        """Return ``None``: the kernel's batches have another shape."""

    def lookup(self, key: bytes) -> bytes | None:
        """Return the counts of a bucket, or ``None`` when it is empty."""
        counts = self._raw.lookup(key)
        return counts if counts is not None and any(counts) else None

    def update(self, key: bytes, value: bytes) -> None:
        """Set the counts of a bucket."""
        self._raw.update(key, value)

    def delete(self, key: bytes) -> bool:
        """Empty a bucket; return whether it was not empty."""
        counts = self.lookup(key)
        if counts is not None:
            self._raw.update(key, bytes(len(counts)))
        return counts is not None

    def clear(self) -> None:
        """Empty all buckets."""
        self._zeroed = False
        self._raw.zero()

    def zero(self) -> None:
        """Empty all buckets; the histogram stays."""
        self._zeroed = self._zeroed or bool(self.items())
        self._raw.zero()
