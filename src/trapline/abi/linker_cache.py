"""glibc's ``ld.so.cache``: which file a library's name means."""

from __future__ import annotations

import struct

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sII20x")  # magic and version, number of entries, bytes of strings, flags and padding
_ENTRY = struct.Struct("<iIIIQ")  # flags, offset of the name, offset of the path, OS version, hardware capabilities
# Low bits of the flags: an ELF library for libc 6; the others name the architecture.
_TYPE_MASK = 0x00FF
_TYPE_ELF_LIBC6 = 0x0003
_ARCHITECTURES = {"x86_64": 0x0300, "aarch64": 0x0A00}


def parse_linker_cache(data: bytes, architecture: str) -> dict[str, str]:
    """Return path by file name (``libc.so.6``) of an ``ld.so.cache``, for one architecture (``x86_64``).

    The layout is that of glibc's ``struct cache_file_new``; an old-format part before it is skipped.  An unknown
    layout gives nothing.
    """
    start = data.find(_MAGIC)
    if start < 0 or len(data) < start + _HEADER.size:
        return {}
    _, count, _ = _HEADER.unpack_from(data, start)
    wanted = _ARCHITECTURES.get(architecture)
    found: dict[str, str] = {}
    for index in range(count):
        place = start + _HEADER.size + index * _ENTRY.size
        if place + _ENTRY.size > len(data):
            break
        flags, name, path, _, _ = _ENTRY.unpack_from(data, place)
        if flags & _TYPE_MASK != _TYPE_ELF_LIBC6 or (wanted is not None and flags & 0xFF00 != wanted):
            continue
        found.setdefault(_text_at(data, start + name), _text_at(data, start + path))
    return found


def _text_at(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else None].decode("utf-8", "surrogateescape")
