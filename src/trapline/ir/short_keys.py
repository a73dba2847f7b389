"""How the keys of a map with long strings are cut short, where its strings are short.

The kernel hashes and compares a key in full: a name of ten bytes in a key of 1024 costs as much as one of a thousand.
So such a map has a second one beside it, for the elements whose strings end within `SHORT` bytes; in its keys each long
string is cut to so many::

    {u32 pid; char name[1024]; u32 bucket}  →  {u32 pid; char name[64]; u32 bucket}

A string's bytes behind its end are zero, so one byte tells which map an element is in: a string is short if the last
byte that the cut would leave is zero.
"""

from __future__ import annotations

from trapline.ir.values import StrV, TupleV, Value
from trapline.records import record

SHORT = 64  # bytes that a cut string keeps, its NUL included
_WORTH = 2 * SHORT  # strings shorter than this are not worth a second map


@record(frozen=True)
class KeyCut:
    """What is cut out of a key of `size` bytes: (where it begins, how many bytes) for each long string, ascending."""

    size: int
    gaps: tuple[tuple[int, int], ...]

    @property
    def short_size(self) -> int:
        """Size of a cut key in bytes."""
        return self.size - sum(length for _, length in self.gaps)

    @property
    def last_bytes(self) -> tuple[int, ...]:
        """Offsets of the bytes that are all zero in a key whose strings are short."""
        return tuple(start - 1 for start, _ in self.gaps)

    def pieces(self) -> list[tuple[int, int, int]]:
        """Return what stays: (offset in the key, offset in the cut key, bytes) each."""
        found: list[tuple[int, int, int]] = []
        begin = target = 0
        for start, length in (*self.gaps, (self.size, 0)):
            if start > begin:
                found.append((begin, target, start - begin))
                target += start - begin
            begin = start + length
        return found

    def shorten(self, key: bytes) -> bytes | None:
        """Return the cut key; ``None`` if a string is too long for that."""
        if any(key[place] for place in self.last_bytes):
            return None
        return b"".join([key[begin : begin + length] for begin, _, length in self.pieces()])

    def lengthen(self, cut: bytes) -> bytes:
        """Return the key that was cut."""
        pieces = self.pieces()
        if len(pieces) == 1:
            return cut.ljust(self.size, b"\0")
        key = bytearray(self.size)
        for begin, source, length in pieces:
            key[begin : begin + length] = cut[source : source + length]
        return bytes(key)


def cut_of(key: Value | None, size: int) -> KeyCut | None:
    """Return what can be cut out of keys with layout `key` (and perhaps more behind it); ``None`` if nothing can.

    Args:
        key: the layout.
        size: bytes of the whole key.
    """
    gaps = tuple(_gaps(key, 0))
    return KeyCut(size, gaps) if gaps else None


def _gaps(value: Value | None, start: int) -> list[tuple[int, int]]:
    if isinstance(value, StrV) and value.size >= _WORTH:
        length = (value.size - SHORT) & ~7  # what is behind stays as aligned as it was
        return [(start + value.size - length, length)]
    if isinstance(value, TupleV):
        return [gap for offset, element in value.elements for gap in _gaps(element, start + offset)]
    return []
