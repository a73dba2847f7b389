"""Where each type of a BTF blob starts, and which types bear a name: built by a scan, or read back from disk.

The index is a flat file of 32-bit words, so that opening it costs nothing: the offset of each type, then for the named
types and for the enumerators the CRC-32 of the name (sorted) and the type id.  A name is found by bisection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct, error
from zlib import crc32

from trapline.errors import DecodeError

_MAGIC = b"TLBTFIX1"
_HEADER = Struct("<8s4I")  # magic, identity, types, names, enumerators

# Words after the 12-byte `struct btf_type`: (fixed, for each of vlen), by kind.
EXTRA_WORDS = {
    1: (1, 0),
    2: (0, 0),
    3: (3, 0),
    4: (0, 3),
    5: (0, 3),
    6: (0, 2),
    7: (0, 0),
    8: (0, 0),
    9: (0, 0),
    10: (0, 0),
    11: (0, 0),
    12: (0, 0),
    13: (0, 2),
    14: (1, 0),
    15: (0, 3),
    16: (0, 0),
    17: (1, 0),
    18: (0, 0),
    19: (0, 3),
}


class _Steps(dict[int, int]):
    """The length in words of a type, by its ``info`` word."""

    def __missing__(self, info: int) -> int:
        extra = EXTRA_WORDS.get(info >> 24 & 31)
        if extra is None:
            raise KeyError(info)
        step = self[info] = 3 + extra[0] + extra[1] * (info & 0xFFFF)
        return step


def scan_offsets(words: Sequence[int]) -> array[int]:
    """Find where each type starts.

    Args:
        words: the type section as 32-bit words.

    Returns:
        The word offset of each type, in the order of the ids.

    Raises:
        DecodeError: an unknown kind, or a type that runs over the end of the section.
    """
    starts: list[int] = []
    append = starts.append
    steps = _Steps()
    position, end = 0, len(words)
    try:
        while position < end:
            append(position)
            position += steps[words[position + 1]]
    except KeyError as unknown:
        kind = unknown.args[0] >> 24 & 31
        raise DecodeError(f"BTF type {len(starts)} has the unknown kind {kind}", offset=4 * position) from None
    except IndexError:
        raise DecodeError(f"BTF type {len(starts)} is cut off", offset=4 * position) from None
    if position != end:
        raise DecodeError(f"BTF type {len(starts)} runs over the end of the type section", offset=4 * starts[-1])
    return array("I", starts)


class NameTable:
    """CRC-32 of names → type ids, by bisection over two arrays of 32-bit words."""

    def __init__(self, hashes: Sequence[int], ids: Sequence[int]) -> None:
        self.hashes = hashes
        self.ids = ids

    def candidates(self, name: bytes) -> Iterator[int]:
        """Give the ids (ascending) whose name has the hash of `name`; the caller compares the names."""
        key = crc32(name)
        position = bisect_left(self.hashes, key)
        while position < len(self.hashes) and self.hashes[position] == key:
            yield self.ids[position]
            position += 1


def hash_strings(strings: bytes, start: int) -> dict[int, int]:
    """Hash every string of a string section: offset → CRC-32; `start` is the offset of the first."""
    parts = strings.split(b"\0")
    starts = accumulate(map(len, parts), lambda total, length: total + length + 1, initial=start)
    return dict(zip(starts, map(crc32, parts), strict=False))


def build_names(
    hashes: dict[int, int], offsets: Iterable[int], ids: Iterable[int], read_name: Callable[[int], bytes]
) -> NameTable:
    """Sort types by the hash of their name.

    Args:
        hashes: what `hash_strings` returned; gets the offsets that are missing.
        offsets: string offset of each name; 0 (no name) is left out.
        ids: type id for each offset.
        read_name: reads the name at an offset that is not in `hashes`.
    """
    found: list[int] = []
    append = found.append
    for offset, type_id in zip(offsets, ids, strict=True):
        if offset:
            key = hashes.get(offset)
            if key is None:
                key = hashes[offset] = crc32(read_name(offset))
            append((key << 32) | type_id)
    found.sort()
    return NameTable(array("I", [item >> 32 for item in found]), array("I", [item & 0xFFFFFFFF for item in found]))


def encode_index(identity: int, offsets: Sequence[int], names: NameTable, enumerators: NameTable) -> bytes:
    """Serialise an index; `identity` tells which BTF it belongs to."""
    header = _HEADER.pack(_MAGIC, identity, len(offsets), len(names.ids), len(enumerators.ids))
    parts = (offsets, names.hashes, names.ids, enumerators.hashes, enumerators.ids)
    return header + b"".join(memoryview(array("I", part)).tobytes() for part in parts)


def decode_index(data: bytes | memoryview, identity: int) -> tuple[Sequence[int], NameTable, NameTable]:
    """Read back what `encode_index` wrote, without copying.

    Returns:
        Offsets of the types, names of types, names of enumerators.

    Raises:
        DecodeError: not an index, cut off, or the index of another BTF.
    """
    view = memoryview(data)
    try:
        magic, found, types, names, enumerators = _HEADER.unpack_from(view)
    except error:
        raise DecodeError("not a BTF index: shorter than its header") from None
    if magic != _MAGIC:
        raise DecodeError("not a BTF index: wrong magic")
    if found != identity:
        raise DecodeError("the BTF index belongs to another BTF", offset=8)
    lengths = (types, names, names, enumerators, enumerators)
    if len(view) != _HEADER.size + 4 * sum(lengths):
        raise DecodeError("the BTF index is cut off", offset=len(view))
    words = view[_HEADER.size :].cast("I")
    ends = list(accumulate(lengths))
    parts = [words[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return parts[0], NameTable(parts[1], parts[2]), NameTable(parts[3], parts[4])
