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


def test_an_entry_that_is_no_file_of_ours_is_not_used(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    path = stored(directory)
    good = directory.parent / "good"
    path.rename(good)
    path.symlink_to(good)
    assert cache.get("key") is None
    path.unlink()
    os.mkfifo(path)  # nobody writes: opening it must not wait
    assert cache.get("key") is None
    path.unlink()
    path.mkdir()
    assert cache.get("key") is None
    cache.put("key", b"blob")
    assert [entry.name for entry in directory.iterdir()] == [path.name]  # no temporary file stays
    path.rmdir()
    good.rename(path)
    assert cache.get("key") == b"blob"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_used(directory: Path, mode: int) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    stored(directory).chmod(mode)
    assert cache.get("key") is None
    cache.put("key", b"blob")
    assert cache.get("key") == b"blob"


def test_a_directory_far_below_a_world_writable_one_is_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "open" / "mine" / "cache"
    directory.parent.mkdir(parents=True)
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    assert cache.get("key") == b"blob"
    (tmp_path / "open").chmod(0o777)
    assert cache.get("key") is None
    (tmp_path / "open").chmod(0o1777)  # as /tmp: nobody can rename what is another's
    assert cache.get("key") == b"blob"


def test_nothing_is_made_in_a_place_that_is_not_safe(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    Cache(str(tmp_path / "home" / "cache")).put("key", b"blob")
    assert not list(tmp_path.iterdir())


def test_a_link_to_a_directory_is_not_used(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    directory.rename(directory.parent / "elsewhere")
    directory.symlink_to(directory.parent / "elsewhere")
    assert cache.get("key") is None
    cache.put("other", b"blob")
    assert len(list((directory.parent / "elsewhere").iterdir())) == 1


def test_a_relative_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = Cache("cache")
    cache.put("key", b"blob")
    assert cache.get("key") == b"blob"


def test_files_of_killed_writers_are_no_obstacle(directory: Path) -> None:
    cache = Cache(str(directory))
    cache.put("key", b"blob")
    (directory / ".new-1-0123456789abcdef").write_bytes(b"half")
    cache.put("other", b"x")
    assert (cache.get("key"), cache.get("other")) == (b"blob", b"x")
