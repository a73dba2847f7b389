"""What a run lost: records that did not fit into the ring, and helper calls that failed, exactly and by place."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from trapline.runtime.maps import RawMap

_INDEX = struct.Struct("<I")


class LostEvents:
    """Reads ``.lost``: a u64 counter for each CPU and program.

    Args:
        raw: the map.
        probes: each program's name.
    """

    def __init__(self, raw: RawMap, probes: Sequence[str]) -> None:
        self._raw = raw
        self._probes = probes
        self._total = 0

    def new(self) -> int:
        """Return how many records were lost since the last call."""
        total = sum(self._counts().values())
        lost, self._total = total - self._total, total
        return lost

    def by_probe(self) -> Mapping[str, int]:
        """Return how many records of each probe were lost since the start; only probes that lost some."""
        return self._counts()

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for key, parts in self._raw.items():
            lost = sum(struct.unpack(f"<{len(parts) // 8}Q", parts))
            index = _INDEX.unpack_from(key)[0]
            if lost and index < len(self._probes):
                probe = self._probes[index]
                counts[probe] = counts.get(probe, 0) + lost
        return counts


class Faults:
    """Reads ``.faults``: {u64 count; s64 last return value} for each CPU and place.

    Args:
        raw: the map.
    """

    def __init__(self, raw: RawMap) -> None:
        self._raw = raw
        self._seen: dict[int, int] = {}

    def new(self) -> list[tuple[int, int, int]]:
        """Return (place, failures since the last call, last return value) for places that failed since then."""
        found = []
        for key, parts in self._raw.items():
            words = struct.unpack(f"<{len(parts) // 8}q", parts)
            index = _INDEX.unpack_from(key)[0]
            count = sum(words[0::2])
            if count != self._seen.get(index, 0):
                result = next((words[i + 1] for i in range(0, len(words), 2) if words[i]), 0)
                found.append((index, count - self._seen.get(index, 0), result))
                self._seen[index] = count
        return sorted(found)
