"""Shared libraries that do a compiler's work: opened, and their memory given back when they have done a part of it.

System calls are made by `trapline.syscall`, which the compiler half does not know.
"""

from __future__ import annotations

import ctypes

_MADV_DONTNEED = 4


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
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            found = [line.split() for line in maps if line.rstrip().endswith(f"/{file}")]
    except OSError:
        return
    for span, permissions, offset, *_ in found:
        # What is read-only and not at the file's start may have been written before: relocated addresses.
        if permissions != "r-xp" and (permissions != "r--p" or int(offset, 16)):
            continue
        start, end = (int(word, 16) for word in span.split("-"))
        madvise(start, end - start, _MADV_DONTNEED)
