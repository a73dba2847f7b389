"""The compile cache gives back what was stored, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trapline.engine.cache import Cache


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "cache"


def stored(directory: Path) -> Path:
    (only,) = [path for path in directory.iterdir() if not path.name.startswith(".")]
    return only


def test_what_was_put_is_got(directory: Path) -> None:
    cache = Cache(str(directory))
    assert cache.get("key") is None
    cache.put("key", b"blob")
    assert cache.get("key") == b"blob"
    assert cache.get("other key") is None


def test_directory_and_files_are_private(directory: Path) -> None:
    Cache(str(directory)).put("key", b"blob")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert stored(directory).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in directory.iterdir()] == [stored(directory).name]  # no temporary file stays


def test_a_directory_that_others_may_write_is_not_used(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    directory.chmod(0o770)
    assert cache.get("key") is None


def test_a_directory_below_a_world_writable_one_is_not_used(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    directory.parent.chmod(0o777)
    assert cache.get("key") is None


@pytest.mark.parametrize("damage", [0, 31, 32, -1])
def test_a_damaged_file_is_not_used(directory: Path, damage: int) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    content = bytearray(stored(directory).read_bytes())
    content[damage] ^= 1
    stored(directory).write_bytes(content)
    assert cache.get("key") is None


def test_a_truncated_file_is_not_used(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    stored(directory).write_bytes(stored(directory).read_bytes()[:-1])
    assert cache.get("key") is None


def test_a_link_out_of_the_directory_is_not_written_through(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    target = directory.parent / "target"
    path = stored(directory)
    path.unlink()
    path.symlink_to(target)
    cache.put("key", b"blob")
    assert not target.exists()


def test_old_files_go_when_there_are_too_many(directory: Path) -> None:
    cache = Cache(str(directory))
    for number in range(260):
        cache.put(str(number), b"x")
    assert len(os.listdir(directory)) <= 256
    assert cache.get("259") == b"x"


def test_a_disabled_cache_keeps_nothing() -> None:
    cache = Cache(None)
    cache.put("key", b"blob")
    assert cache.get("key") is None


def test_an_unwritable_place_is_no_error() -> None:
    Cache("/proc/trapline-no-such/cache").put("key", b"blob")
