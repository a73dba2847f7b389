"""Library names (``c``, ``pthread``) to paths: through a process's mappings, or the dynamic linker's cache."""

from __future__ import annotations

import os
import re

from trapline.abi.linker_cache import parse_linker_cache

CACHE = "/etc/ld.so.cache"


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"lib{re.escape(name)}(-[0-9.]+)?\.so(\.[0-9.]+)?$")


def find_library(name: str, pid: int = 0) -> str | None:
    """Return the path of a library, as process `pid` sees it if one is given; ``None`` if there is none.

    Args:
        name: without ``lib`` and suffix (``c``); a path is returned as it is if there is such a file.
        pid: a process whose mappings are searched first; 0 or less for none.
    """
    if "/" in name:
        seen = as_seen_by(name, pid) if pid > 0 else name
        return seen if os.path.exists(seen) else None
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
            return as_seen_by(path, pid)
    return None


def as_seen_by(path: str, pid: int) -> str:
    """Return a path of ours to what process `pid` calls `path`: its own path where that is the same file."""
    inside = f"/proc/{pid}/root{path}"
    if path.startswith("/proc/") or not path.startswith("/") or not os.path.exists(inside):
        return path
    return path if os.path.exists(path) and os.path.samefile(path, inside) else inside


def find_binary(name: str, pid: int = -1, *, program_first: bool = False) -> str | None:
    """Return the path of what a probe names: a path, a library, or a program in ``PATH``.

    Args:
        name: the name.
        pid: a process whose view of the files counts; -1 for none.
        program_first: prefer a program to a library of that name.
    """
    if program_first and "/" not in name:
        return _find_program(name) or find_library(name, max(pid, 0))
    found = find_library(name, max(pid, 0))
    return found if found is not None or "/" in name else _find_program(name)


def _find_program(name: str) -> str | None:
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
