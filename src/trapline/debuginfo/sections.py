"""Sections of ELF files that may be compressed."""

from __future__ import annotations

from struct import Struct

from trapline.abi.elf import Elf
from trapline.errors import DecodeError

SHF_COMPRESSED = 1 << 11
ELFCOMPRESS_ZLIB = 1
_CHDR = Struct("<IIQQ")  # Elf64_Chdr: type, reserved, size, alignment


def section_bytes(elf: Elf, name: str) -> bytes:
    """Return the bytes of a section, uncompressed; empty when there is none, or its compression is not known.

    Raises:
        DecodeError: the compressed bytes are damaged.
    """
    section = elf.section(name)
    if section is None:
        old = elf.section_bytes(name.replace(".debug_", ".zdebug_", 1))
        # The first way to compress sections: a magic word and the size, then zlib.
        return _inflate(old[12:], name) if old and old[:4] == b"ZLIB" else b""
    data = elf.contents(section)
    if not section.flags & SHF_COMPRESSED:
        return data
    if len(data) < _CHDR.size:
        raise DecodeError(f"compressed ELF section {name} has no header", offset=section.offset)
    kind = _CHDR.unpack_from(data)[0]
    return _inflate(data[_CHDR.size :], name) if kind == ELFCOMPRESS_ZLIB else b""


def _inflate(data: bytes, name: str) -> bytes:
    import zlib

    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise DecodeError(f"ELF section {name}: {error}") from None
