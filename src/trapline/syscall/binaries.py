"""Find the files that user probes name: paths, programs in ``PATH``, libraries, what processes have mapped."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache

from trapline.abi.linker_cache import parse_linker_cache
from trapline.syscall.process import read_memory_maps

_LINKER_CACHE = "/etc/ld.so.cache"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def process_root(pid: int) -> str:
    """Return what to put before a path to see it as process `pid` does; empty when it sees the same files as we."""
    if pid <= 0:
        return ""
    root = f"/proc/{pid}/root"
    try:
        same = os.path.samefile(root, "/") and os.path.samefile(f"/proc/{pid}/ns/mnt", "/proc/self/ns/mnt")
    except OSError:
        return ""
    return "" if same else root


def find_binaries(name: str, pid: int = 0) -> list[str]:
    """Return the paths of the files that `name` means, sorted; each file once.

    Args:
        name: a path, a program in ``PATH``, or a library (``libc``, ``libc.so``, ``libc.so.6``); ``*`` in it matches
            any text.  ``*`` alone, and the empty name, mean all files that a process has mapped as code.
        pid: the process in whose view of the files `name` is meant; 0 for ours (and for ``*`` all processes).
    """
    if name in ("", "*"):
        # bpftrace shows the files of a process by their paths below its root, also when that is ours.
        return mapped_binaries([pid], f"/proc/{pid}/root") if pid > 0 else mapped_binaries(_processes())
    root = process_root(pid)
    if "/" in name:
        if name.startswith("/proc/"):
            root = ""
        path = root + name if name.startswith("/") else name
        return _distinct(sorted(glob.glob(path)) if "*" in name else [path])
    in_path = [f"{root}{directory}/{name}" for directory in _search_path(pid) if directory.startswith("/")]
    if "*" in name:
        return _distinct(path for pattern in in_path for path in sorted(glob.glob(pattern)) if os.access(path, os.X_OK))
    for path in in_path:
        if _is_file(path) and os.access(path, os.X_OK):
            return [path]
    return _distinct(_libraries(name, root))


def mapped_binaries(pids: Iterable[int], seen_from: str | None = None) -> list[str]:
    """Return the files that processes have mapped as code, by paths that work for us; each file once.

    Args:
        pids: the processes.
        seen_from: what to put before their paths; by default what is needed.
    """
    found: dict[tuple[str, int], str] = {}
    for pid in pids:
        root = seen_from
        for mapping in read_memory_maps(pid):
            key = mapping.device, mapping.inode
            if not mapping.executable or mapping.path[:1] != "/" or key in found:
                continue
            if root is None:
                root = process_root(pid)
            path = mapping.path.removesuffix(" (deleted)")
            if path == mapping.path and _is_file(root + path):
                found[key] = root + path
            elif os.access(address_path(pid, mapping.start, mapping.end), os.R_OK):
                found[key] = address_path(pid, mapping.start, mapping.end)
    return sorted(found.values())


def address_path(pid: int, start: int, end: int) -> str:
    """Return the path that leads to a mapping's file even when it was deleted.  Needs CAP_CHECKPOINT_RESTORE."""
    return f"/proc/{pid}/map_files/{start:x}-{end:x}"


def _processes() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdecimal():
            yield int(name)


def _search_path(pid: int) -> list[str]:
    text = os.environ.get("PATH", _DEFAULT_PATH)
    if pid > 0:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                for variable in file.read().split(b"\0"):
                    if variable.startswith(b"PATH="):
                        text = os.fsdecode(variable[5:])
        except OSError:
            pass
    return text.split(":")


def _libraries(name: str, root: str) -> list[str]:
    """Return the files of a library: the whole file name, or without version, or without ``.so`` too."""
    known = _known_libraries(root + _LINKER_CACHE)
    stem = name if ".so" in name else f"{name}.so"
    names = sorted((n for n in known if n == stem or n.startswith(stem + ".")), key=lambda n: (len(n), n))
    return [root + known[names[0]]] if names else []


def _known_libraries(path: str) -> dict[str, str]:
    """Return path by file name as a linker cache has it."""
    try:
        info = os.stat(path)
        return _read_linker_cache(path, (info.st_dev, info.st_ino, info.st_mtime_ns))
    except OSError:
        return {}


@lru_cache(maxsize=4)
def _read_linker_cache(path: str, version: tuple[int, ...]) -> dict[str, str]:
    """Read a linker cache; `version` tells one that was rewritten from the one that was read."""
    with open(path, "rb") as file:
        return parse_linker_cache(file.read(), os.uname().machine)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _distinct(paths: Iterable[str]) -> list[str]:
    """Keep the paths of regular files, each file once."""
    found: dict[tuple[int, int], str] = {}
    for path in paths:
        archive = path.partition("!/")[0]
        try:
            info = os.stat(archive)
        except OSError:
            continue
        if stat.S_ISREG(info.st_mode):
            found.setdefault((info.st_dev, info.st_ino), path)
    return list(found.values())
