"""Where each type of a BTF blob starts, and which types bear a name: built by a scan, or read back from disk.

The index is a flat file of 32-bit words, so that opening it costs nothing: the offset of each type, then a hash table
of names: of types, and of the constants of enums.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from struct import Struct, error
from zlib import crc32

from trapline.errors import DecodeError

MAGIC = b"TLBTFIX2"
_HEADER = Struct("<8s4I")  # magic, identity, types, slots of the table, 0

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
    """Names → type ids: a hash table with open addressing.

    Args:
        slots: as many as a power of two; each has a type id, or 0 when it is free.  An id is in the first slot that was
            free from the CRC-32 of its name on.
    """

    def __init__(self, slots: Sequence[int]) -> None:
        self.slots = slots

    def candidates(self, name: bytes) -> Iterator[int]:
        """Give the ids that may have a name, those that do in the order in which they were put in."""
        slots = self.slots
        mask = len(slots) - 1
        start = crc32(name)
        for step in range(len(slots)):
            type_id = slots[start + step & mask]
            if not type_id:
                return
            yield type_id


def slots_for(types: int) -> int:
    """Return how many slots the table of so many types starts with; each has a name at most."""
    return max(16, 1 << (2 * types).bit_length())


def room_in(slots: int) -> int:
    """Return how many names a table of so many slots may have; for more, it is made with twice the slots."""
    return slots // 4 * 3


def build_table(names: Sequence[bytes], ids: Sequence[int], types: int) -> NameTable:
    """Build a table.

    Args:
        names: of types and of the constants of enums.
        ids: for each name the type id.
        types: how many types there are.
    """
    count = slots_for(types)
    while len(ids) > room_in(count):
        count *= 2
    mask = count - 1
    slots = array("I", bytes(4 * count))
    for name, type_id in zip(names, ids, strict=True):
        slot = crc32(name) & mask
        while slots[slot]:
            slot = slot + 1 & mask
        slots[slot] = type_id
    return NameTable(slots)


def encode_index(identity: int, offsets: Sequence[int], table: NameTable) -> bytes:
    """Serialise an index; `identity` tells which BTF it belongs to."""
    header = _HEADER.pack(MAGIC, identity, len(offsets), len(table.slots), 0)
    return header + b"".join(memoryview(array("I", part)).tobytes() for part in (offsets, table.slots))


def decode_index(data: bytes | memoryview, identity: int) -> tuple[Sequence[int], NameTable]:
    """Read back what `encode_index` wrote, without copying.

    Returns:
        Offsets of the types, and their names.

    Raises:
        DecodeError: not an index, cut off, or the index of another BTF.
    """
    view = memoryview(data)
    try:
        magic, found, types, slots, _ = _HEADER.unpack_from(view)
    except error:
        raise DecodeError("not a BTF index: shorter than its header") from None
    if magic != MAGIC:
        raise DecodeError("not a BTF index: wrong magic")
    if found != identity:
        raise DecodeError("the BTF index belongs to another BTF", offset=8)
    if len(view) != _HEADER.size + 4 * (types + slots) or slots.bit_count() != 1:
        raise DecodeError("the BTF index is cut off", offset=len(view))
    words = view[_HEADER.size :].cast("I")
    return words[:types], NameTable(words[types:])
