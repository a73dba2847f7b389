"""Look up a few members of one struct in BTF bytes, without finding where each type begins.

That takes two milliseconds of a kernel's BTF; an index of all its types takes fifty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct, error

_HEADER = Struct("<HBBIIIII")  # struct btf_header
_MAGIC = 0xEB9F
_STRUCT = 4
_TYPE_WORDS = 3  # of struct btf_type; a member has as many


def peek_members(data: bytes, tag: str, members: Sequence[str]) -> Mapping[str, int]:
    """Find direct members of a struct.

    Args:
        data: a kernel's BTF (not a module's).
        tag: of the struct.
        members: the names that all must be there.

    Returns:
        The offset of each in bytes; empty when there is no such struct, or the bytes are not understood.
    """
    try:
        magic, _, _, header, type_start, type_length, string_start, string_length = _HEADER.unpack_from(data)
    except error:
        return {}
    types = data[header + type_start : header + type_start + type_length]
    strings = data[header + string_start : header + string_start + string_length]
    if magic != _MAGIC or len(types) % 4 or len(strings) != string_length:
        return {}
    wanted = {_string_offset(strings, name): name for name in members}
    struct = _string_offset(strings, tag)
    if -1 in wanted or struct < 0:
        return {}
    words = memoryview(types).cast("I")
    found: list[dict[str, int]] = []
    for word in find_words(types, struct):
        offsets = _members_at(words, word, wanted)
        if offsets is not None and len(offsets) == len(members):
            found.append(offsets)
    # Another type's words could look like a struct of this name; then nobody can tell which one it is.
    return found[0] if len(found) == 1 else {}


def _string_offset(strings: bytes, text: str) -> int:
    """Return where a string begins; -1 when there is none."""
    return strings.find(b"\0" + text.encode() + b"\0") + 1 or -1


def find_words(data: bytes, value: int) -> Iterator[int]:
    """Find a 32-bit word in little-endian data; gives word positions."""
    key = value.to_bytes(4, "little")
    at = data.find(key)
    while at >= 0:
        if at % 4 == 0:
            yield at // 4
        at = data.find(key, at + 1)


def _members_at(words: memoryview, start: int, wanted: Mapping[int, str]) -> dict[str, int] | None:
    """Read the struct that may begin at a word; ``None`` when none does."""
    if start + _TYPE_WORDS > len(words):
        return None
    info, size = words[start + 1], words[start + 2]
    count = info & 0xFFFF
    end = start + _TYPE_WORDS * (1 + count)
    if info >> 24 & 31 != _STRUCT or end > len(words):
        return None
    mask = 0xFFFFFF if info >> 31 else 0xFFFFFFFF  # the rest is a bit-field's width
    offsets: dict[str, int] = {}
    for member in range(start + _TYPE_WORDS, end, _TYPE_WORDS):
        bits = words[member + 2] & mask
        if bits > 8 * size:
            return None
        name = wanted.get(words[member])
        if name is not None and bits % 8 == 0 and words[member + 2] == bits:
            offsets[name] = bits // 8
    return offsets
