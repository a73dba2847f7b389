"""Which files a name means."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from trapline.abi.linker_cache import parse_linker_cache
from trapline.syscall import binaries

_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03}[os.uname().machine]


def _cache(name: str, path: Path) -> bytes:
    """Return an ``ld.so.cache`` with one library, in glibc's format."""
    strings = f"{name}\0{path}\0".encode()
    start = 48 + 24
    entry = struct.pack("<iIIIQ", _FLAGS, start, start + len(name) + 1, 0, 0)
    return struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", 1, len(strings)) + entry + strings


def test_a_linker_cache_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, first, second = tmp_path / "ld.so.cache", tmp_path / "libfirst.so.1", tmp_path / "libsecond.so.1"
    for file in (first, second):
        file.write_bytes(b"")
    monkeypatch.setattr(binaries, "_LINKER_CACHE", str(cache))
    reads: list[bytes] = []
    parse = parse_linker_cache

    def count(data: bytes, machine: str) -> dict[str, str]:
        reads.append(data)
        return parse(data, machine)

    monkeypatch.setattr(binaries, "parse_linker_cache", count)
    assert binaries.find_binaries("libfirst") == []
    cache.write_bytes(_cache("libfirst.so.1", first))
    assert binaries.find_binaries("libfirst") == binaries.find_binaries("libfirst.so.1") == [str(first)]
    assert len(reads) == 1
    cache.unlink()
    cache.write_bytes(_cache("libsecond.so.1", second))
    os.utime(cache, ns=(0, 0))
    assert (binaries.find_binaries("libfirst"), binaries.find_binaries("libsecond")) == ([], [str(second)])
    assert len(reads) == 2
