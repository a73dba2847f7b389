"""How the keys of a map with long strings or stacks are cut short, where these are short.

The kernel hashes and compares a key in full: a name of ten bytes in a key of 1024 costs as much as one of a thousand.
So such a map has a second one beside it, for the elements whose strings end within `SHORT` bytes, and whose stacks have
at most `FRAMES` frames; in its keys each is cut to so many::

    {u32 pid; char name[1024]; u32 bucket}  →  {u32 pid; char name[64]; u32 bucket}

What is behind the end of a string or stack is zero. So one byte tells that a string is short, the last one that the cut
would leave; a stack has its number of frames.
"""

from __future__ import annotations

from trapline.ir.values import StackV, StrV, TupleV, Value
from trapline.records import record

SHORT = 64  # bytes that a cut string keeps, its NUL included
FRAMES = 31  # that a cut stack keeps
_WORTH = 2  # times as long: what is shorter is not worth a second map
_STACK_HEADER = 8  # u32 pid, u32 frames


@record(frozen=True)
class Gap:
    """What is cut out of one string or stack: `length` bytes from `start` on.

    It can be where the integer of `width` bytes at `place` is at most `most`.
    """

    start: int
    length: int
    place: int
    width: int
    most: int


@record(frozen=True)
class KeyCut:
    """What is cut out of a key of `size` bytes, in ascending order."""

    size: int
    gaps: tuple[Gap, ...]

    @property
    def short_size(self) -> int:
        """Size of a cut key in bytes."""
        return self.size - sum(gap.length for gap in self.gaps)

    def pieces(self) -> list[tuple[int, int, int]]:
        """Return what stays: (offset in the key, offset in the cut key, bytes) each."""
        found: list[tuple[int, int, int]] = []
        begin = target = 0
        for gap in self.gaps:
            if gap.start > begin:
                found.append((begin, target, gap.start - begin))
                target += gap.start - begin
            begin = gap.start + gap.length
        if self.size > begin:
            found.append((begin, target, self.size - begin))
        return found

    def shorten(self, key: bytes) -> bytes | None:
        """Return the cut key; ``None`` if a string or stack is too long for that."""
        for gap in self.gaps:
            if int.from_bytes(key[gap.place : gap.place + gap.width], "little") > gap.most:
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


def _gaps(value: Value | None, start: int) -> list[Gap]:
    if isinstance(value, StrV) and value.size >= _WORTH * SHORT:
        length = (value.size - SHORT) & ~7  # what is behind stays as aligned as it was
        begin = start + value.size - length
        return [Gap(begin, length, begin - 1, 1, 0)]
    if isinstance(value, StackV) and value.limit >= _WORTH * FRAMES:
        kept = _STACK_HEADER + (value.size - _STACK_HEADER) // value.limit * FRAMES
        return [Gap(start + kept, value.size - kept, start + 4, 4, FRAMES)]
    if isinstance(value, TupleV):
        return [gap for offset, element in value.elements for gap in _gaps(element, start + offset)]
    return []
