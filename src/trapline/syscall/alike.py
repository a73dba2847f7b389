"""Records of a ring that are alike: a flood's mostly are, and their headers are compared many at a time."""

from __future__ import annotations

from trapline.hints import NamedTuple


class Run(NamedTuple):
    """Records of one length, in a row: the first one's offset, how far they are apart, how many there are."""

    offset: int
    step: int
    number: int
    length: int


ALIKE = 4  # after so many records with the same header, more of them are likely
LOOK = 16  # then look at so many at once, and at four times as many whenever all were alike


def count_alike(data: memoryview, start: int, step: int, count: int, word: str, header: int) -> int:
    """Return how many places, from `start` on and `step` bytes apart, begin with this header; look at `count` of them.

    Args:
        data: of bytes; the places must be aligned to the word.
        word: the header's format, ``I`` or ``Q``.
    """
    words = data[start : start + count * step].cast(word)  # type: ignore[call-overload]  # any format is a string
    headers = words[:: step // words.itemsize].tolist()
    words.release()
    if headers.count(header) == count:
        return count
    return next(place for place, other in enumerate(headers) if other != header)
