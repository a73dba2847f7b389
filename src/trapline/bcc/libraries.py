"""Library names (``c``, ``pthread``) to paths: through a process's mappings, or the dynamic linker's cache."""

from __future__ import annotations

import os
import re
import struct

CACHE = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sII20x")  # magic and version, number of entries, bytes of strings, flags and padding
_ENTRY = struct.Struct("<iIIIQ")  # flags, offset of the name, offset of the path, OS version, hardware capabilities
# Low bits of the flags: an ELF library for libc 6; the others name the architecture.
_TYPE_MASK = 0x00FF
_TYPE_ELF_LIBC6 = 0x0003
_X86_64 = 0x0300
_AARCH64 = 0x0A00
_ARCHITECTURES = {"x86_64": _X86_64, "aarch64": _AARCH64}


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


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"lib{re.escape(name)}(-[0-9.]+)?\.so(\.[0-9.]+)?$")


def find_library(name: str, pid: int = 0) -> str | None:
    """Return the path of a library, as process `pid` sees it if one is given; ``None`` if there is none.

    Args:
        name: without ``lib`` and suffix (``c``); a path is returned as it is if there is such a file.
        pid: a process whose mappings are searched first; 0 or less for none.
    """
    if "/" in name:
        return name if os.path.exists(name) else None
    pattern = _pattern(name)
    if pid > 0:
        mapped = _find_mapped(pattern, pid)
        if mapped is not None:
            return mapped
    try:
        with open(CACHE, "rb") as file:
            libraries = parse_linker_cache(file.read(), os.uname().machine)
    except OSError:
        return None
    for file_name, path in sorted(libraries.items()):
        if pattern.fullmatch(file_name):
            return path
    return None


def _find_mapped(pattern: re.Pattern[str], pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            paths = {line.split(None, 5)[5].rstrip("\n") for line in file if line.count("/")}
    except OSError:
        return None
    for path in sorted(paths):
        if pattern.fullmatch(os.path.basename(path)):
            inside = f"/proc/{pid}/root{path}"
            # The same file is better known by its own path.
            same = os.path.exists(path) and os.path.exists(inside) and os.path.samefile(path, inside)
            return path if same else inside
    return None


def find_binary(name: str, pid: int = -1) -> str | None:
    """Return the path of what a uprobe names: a path, a library, or a program in ``PATH``."""
    found = find_library(name, max(pid, 0))
    if found is not None or "/" in name:
        return found
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
