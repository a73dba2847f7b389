"""Whatever happens to the bytes of a kept program, loading it gives that very program or nothing: never another one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.golden.bpftrace import target as bpftrace_fixture
from tests.unit.frontends.bcc_c import fixture as c_fixture

from trapline.engine import compile as compiling
from trapline.engine.cache import Cache, _seal
from trapline.engine.compile import Translated, compile_source
from trapline.engine.described import Described, compile_described
from trapline.frontends.bpftrace.compile import compile_program
from trapline.frontends.bpftrace.config import CompileOptions
from trapline.source import Source

_SOURCE = Source("stdin", 'kprobe:vfs_read { @[comm] = hist(arg2); printf("%s %d\\n", comm, pid); print((1, "é")); }')
_C_SOURCE = Source("text.c", "BPF_HASH(start, u32, u64, 77); int kprobe__do_nanosleep(void *ctx) { return 0; }")
_SEED = 5
# Bytes of the seal and the lengths behind it: all their bits are tried; of the others a sample.
_HEAD = 48
_SAMPLE = 1500
_LENGTHS = 400


class _MissError(Exception):
    """The cache had nothing: the front end was called."""


class _BpftraceTarget(bpftrace_fixture.FixtureTarget):
    volatile_answers = 0


class _CTarget(c_fixture.FixtureTarget):
    volatile_answers = 0


def _load_bpftrace(cache: Cache, *, miss: bool = True) -> object:
    def front_end(source: Source, target: Any) -> Translated:
        if miss:
            raise _MissError
        result = compile_program(source, target, CompileOptions())
        return Translated(result.module, result.warnings, (__file__, "/no/such/file"))

    return compile_source(_SOURCE, front_end, _BpftraceTarget(), cache=cache)


def _load_described(cache: Cache, *, miss: bool = True) -> object:
    def front_end() -> Described:
        if miss:
            raise _MissError
        return Described(c_fixture.compile_text(_C_SOURCE.text).module, '{"tables": "é"}')

    return compile_described(front_end, _CTarget(), key=_C_SOURCE.text, cache=cache)


class Kept:
    """A kept program: its file, what loading it gives, and how to load it."""

    def __init__(self, folder: Path, load: Callable[..., object]) -> None:
        self.cache = Cache(str(folder / "cache"))
        self._load = load
        self.original = load(self.cache, miss=False)
        (self.path,) = (folder / "cache").iterdir()
        self.content = self.path.read_bytes()
        assert self.load() == self.original

    def load(self) -> object:
        """Return what the cache gives, ``None`` for a miss."""
        try:
            return self._load(self.cache)
        except _MissError:
            return None

    def load_from(self, content: bytes) -> object:
        """Return what the cache gives when the file has other contents."""
        self.path.write_bytes(content)
        return self.load()


@pytest.fixture(params=[_load_bpftrace, _load_described], ids=["bpftrace", "bcc"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr(compiling, "_sources", lambda: "")  # looks at every file of trapline
    return Kept(tmp_path, request.param)


def _flips(size: int) -> Iterator[int]:
    """Yield bit numbers of a file of a size."""
    yield from range(8 * min(_HEAD, size))
    yield from random.Random(_SEED).sample(range(8 * size), min(_SAMPLE, 8 * size))


def _flip(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_flipped_bit_is_a_miss(kept: Kept) -> None:
    for bit in _flips(len(kept.content)):
        assert kept.load_from(_flip(kept.content, bit)) is None, f"bit {bit}"


def test_a_file_cut_short_is_a_miss(kept: Kept) -> None:
    size = len(kept.content)
    for length in {*range(_HEAD), *random.Random(_SEED).sample(range(size), min(_LENGTHS, size))}:
        assert kept.load_from(kept.content[:length]) is None, f"{length} bytes"


def test_other_bytes_are_a_miss(kept: Kept) -> None:
    chooser = random.Random(_SEED)
    size = len(kept.content)
    for content in (
        bytes(size),
        b"\xff" * size,
        chooser.randbytes(size),
        kept.content + b"\0",
        kept.content * 2,
        kept.content[::-1],
        kept.content[: size // 2] + bytes(size - size // 2),  # a block that never reached the disk
        kept.content[32:],
    ):
        assert kept.load_from(content) is None
    assert kept.load_from(kept.content) == kept.original


def test_damage_that_the_seal_does_not_show_raises_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the contents does not rely on the seal: it gives a program or a miss, and no error."""
    blob = kept.content[32:]
    monkeypatch.setattr(kept.cache, "get", lambda key: damaged)
    for bit in _flips(len(blob)):
        damaged = _flip(blob, bit)
        kept.load()
    for length in range(0, len(blob), 7):
        damaged = blob[:length]
        assert kept.load() is None


def test_contents_of_another_shape_are_a_miss(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept.cache, "get", lambda key: damaged)
    for text in (b"[]", b"null", b"7", b'{"files": 1}', b'{"files": [["a"]], "warnings": []}', b"[" * 5000, b"\xff"):
        damaged = len(text).to_bytes(4, "little") + text
        assert kept.load() is None


def test_a_file_under_another_files_name_is_a_miss(kept: Kept, tmp_path: Path) -> None:
    other = Cache(kept.cache.directory)
    other.put("another program, or another kernel's", kept.content[32:])
    (foreign,) = (path for path in kept.path.parent.iterdir() if path != kept.path)
    assert kept.load_from(foreign.read_bytes()) is None


def test_the_seal_is_of_key_and_contents() -> None:
    assert len({_seal(key, blob) for key in ("a", "ab") for blob in (b"", b"b", b"bc")}) == 6
