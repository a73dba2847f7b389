"""Shared libraries that do a compiler's work: opened, and their memory given back when they have done a part of it.

System calls are made by `trapline.syscall`, which the compiler half does not know.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from struct import Struct

_MADV_DONTNEED = 4
_HEADER, _SEGMENT = Struct("<32xQ14xHH6x"), Struct("<IIQ16xQ16x")  # Elf64_Ehdr and Elf64_Phdr, what is used of them
_PT_LOAD, _PF_W = 1, 2
_Parts = Sequence["tuple[int, int]"]

_spans: dict[str, _Parts] = {}  # by file, where in memory its code and tables are: a library stays where it is


def open_library(path: str) -> ctypes.CDLL:
    """Open a shared library.

    Raises:
        OSError: it is missing, or is none.
    """
    return ctypes.CDLL(path)


def drop_code(file: str) -> None:
    """Let go of the pages with a library's code and tables that are in memory; the kernel maps them again when needed.

    Opening LLVM reads all its relocations and runs a bit of each of its parts, and so brings in forty megabytes that
    are hardly used again; a parsed program needs no clang any more.

    Args:
        file: the file's name, without folders.
    """
    spans = _spans.get(file)
    if spans is None:
        spans = _find_spans(file)
        if spans:
            _spans[file] = spans
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, end in spans:
        madvise(start, end - start, _MADV_DONTNEED)


def _find_spans(file: str) -> _Parts:
    """Return the addresses between which a library's code and tables are."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            found = [line.split(None, 5) for line in maps if line.rstrip().endswith(f"/{file}")]
        constant, written = _parts(found[0][5].rstrip("\n")) if found else ((), ())
    except OSError:
        return ()
    spans = []
    for span, permissions, at, *_ in found:
        offset = int(at, 16)
        # Where relocated addresses were written it is read-only, too, and must stay; it may begin in the last page of
        # a part that is constant.
        if permissions in ("r-xp", "r--p") and _within(offset, constant) and not _within(offset, written):
            start, _, end = span.partition("-")
            spans.append((int(start, 16), int(end, 16)))
    return spans


def _within(offset: int, parts: _Parts) -> bool:
    return any(start <= offset < end for start, end in parts)


def _parts(path: str) -> tuple[_Parts, _Parts]:
    """Return where in a library's file parts that are mapped begin (by pages) and end: constant ones, and others."""
    with open(path, "rb") as file:
        table, size, count = _HEADER.unpack(file.read(_HEADER.size))
        file.seek(table)
        rows = file.read(size * count)
    page = os.sysconf("SC_PAGE_SIZE")
    constant: list[tuple[int, int]] = []
    written: list[tuple[int, int]] = []
    for at in range(0, size * count, size):
        kind, flags, start, length = _SEGMENT.unpack_from(rows, at)
        if kind == _PT_LOAD:
            (written if flags & _PF_W else constant).append((start & -page, start + length))
    return constant, written
