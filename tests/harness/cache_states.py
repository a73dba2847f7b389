"""Run a program with trapline's cache in a given state: cold, warm, damaged, foreign, planted, read-only or full.

Except in the states ``cold`` and ``full`` a first run fills a directory of its own, which is then brought into the
state; the second run's result counts. Afterwards the directory must be as the state demands: a warm one untouched, a
damaged one healed byte for byte, another user's left alone. ``pytest --cache-state=warm,flipped tests/conformance``
does it with every program that `tests.conformance.in_process` and its like start.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from unittest import mock

from tests.harness.cache_damage import DAMAGES, FUNCTIONS_MAGIC, INDEX_MAGIC, SEAL, Damage, make_hostile_blobs

from trapline.digest import digest
from trapline.engine.cache import Cache
from trapline.engine.host import forget_target
from trapline.kernel.target import LiveTarget

STATES = ("cold", "warm", *DAMAGES, "read-only", "full")
_PLACE = "/run"  # for what is mounted: what a killed run leaves there is gone with the next boot
_T = TypeVar("_T")
_Run = Callable[[Mapping[str, str]], _T]


@dataclass
class Totals:
    """What was done in a state: programs run, those with kept entries, entries damaged, entries healed."""

    programs: int = 0
    kept: int = 0
    damaged: int = 0
    healed: int = 0
    hits: int = 0
    misses: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in vars(self).items())


@dataclass
class _Lookups:
    """The programs that were looked for in this process's cache, by whether they were found."""

    hits: int = 0
    misses: int = 0


@dataclass
class CacheState:
    """One state of the cache.

    Args:
        name: one of `STATES`.
        totals: what has been done in it.
    """

    name: str
    totals: Totals = field(default_factory=Totals)

    def run(self, run: _Run[_T], seed: str, *, in_process: bool) -> _T:
        """Return the result of `run`, which gets the environment variables of the state.

        Args:
            run: runs a program once.
            seed: the same seed gives the same damage.
            in_process: the program runs in this process.

        Raises:
            AssertionError: the cache was not used, or not left, as the state demands.
        """
        self.totals.programs += 1
        chooser = random.Random(seed)
        with self._area(chooser) as area:
            cache = area / "cache"
            environment = {"TRAPLINE_CACHE": str(cache)}
            forget_target()  # it keeps its index in the cache of an earlier test
            if self.name == "cold":
                cache = area / chooser.choice(("cache", "not/yet/cache"))
                return self._watch(run, {"TRAPLINE_CACHE": str(cache)}, cache, in_process=in_process)
            if self.name == "full":
                return self._run_on_full_disk(run, environment, cache, chooser)
            _copy_shared(cache)
            run(environment)
            filled = read_entries(cache)
            programs = _programs(filled)
            self.totals.kept += bool(programs)
            if self.name == "warm":
                return self._run_warm(run, environment, cache, in_process=in_process)
            if self.name == "read-only":
                return self._run_read_only(run, environment, cache, chooser, in_process=in_process)
            damage = DAMAGES[self.name](cache, chooser, hostile_blobs())
            self.totals.damaged += len(filled)
            forget_target()  # it holds the index of types
            result = run(environment)
            self._check_healed(cache, filled, damage)
            return result

    def check(self, *, kept: int) -> None:
        """Check that the state was really met, with so many programs at least that the cache keeps.

        Raises:
            AssertionError: it was not.
        """
        if self.name != "full":
            assert self.totals.kept >= kept, self.totals
        if self.name in DAMAGES:
            assert self.totals.damaged > self.totals.kept, self.totals  # the index of types too
        if self.name in ("flipped", "truncated", "foreign-kernel"):
            assert self.totals.healed >= kept, self.totals

    @contextmanager
    def _area(self, chooser: random.Random) -> Iterator[Path]:
        with ExitStack() as stack:
            mounts = self.name in ("read-only", "full")
            area = Path(tempfile.mkdtemp(prefix="trapline-cache-", dir=_PLACE if mounts else None))
            stack.callback(shutil.rmtree, area, ignore_errors=True)
            if mounts:
                room = chooser.choice(("size=4k", "size=8k", "size=16k", "nr_inodes=1", "nr_inodes=2", "nr_inodes=3"))
                options = "mode=0755" if self.name == "read-only" else f"mode=0755,{room}"
                subprocess.run(["mount", "-t", "tmpfs", "-o", options, "cache", area], check=True, timeout=30)
                stack.callback(subprocess.run, ["umount", "-l", area], check=True, timeout=30)
            yield area
            forget_target()  # it would keep what it has not kept yet in a directory that is gone

    def _run_warm(self, run: _Run[_T], environment: Mapping[str, str], cache: Path, *, in_process: bool) -> _T:
        before = _identities(cache)
        forget_target()
        with _watched() as lookups:
            result = run(environment)
        # A miss would have written the entry again.
        assert _identities(cache) == before, "the cache was full, but something was written"
        self._count(lookups)
        if in_process and before and _programs(read_entries(cache)):
            assert (lookups.hits > 0, lookups.misses) == (True, 0), f"the cache was full, but there were {lookups}"
        return result

    def _run_read_only(
        self, run: _Run[_T], environment: Mapping[str, str], cache: Path, chooser: random.Random, *, in_process: bool
    ) -> _T:
        contents = chooser.choice(("kept", "kept", "empty", "missing"))
        if contents != "kept":
            shutil.rmtree(cache, ignore_errors=True)
        if contents == "empty":
            cache.mkdir(mode=0o700)
        area = cache.parent
        subprocess.run(["mount", "-o", "remount,ro", area], check=True, timeout=30)
        forget_target()
        with _watched() as lookups:
            result = run(environment)
        self._count(lookups)
        if in_process and contents == "kept" and _programs(read_entries(cache)):
            assert (lookups.hits > 0, lookups.misses) == (True, 0), f"the cache was full, but there were {lookups}"
        return result

    def _run_on_full_disk(
        self, run: _Run[_T], environment: Mapping[str, str], cache: Path, chooser: random.Random
    ) -> _T:
        if chooser.random() < 0.7:
            with suppress(OSError):
                cache.mkdir(mode=0o700)
        forget_target()
        result = run(environment)
        assert not list(cache.glob(".new-*")), "a file that had no room was left behind"
        for name, content in read_entries(cache).items():
            assert is_sealed(name, content), "half a file was left behind"
        return result

    def _watch(self, run: _Run[_T], environment: Mapping[str, str], cache: Path, *, in_process: bool) -> _T:
        forget_target()
        with _watched() as lookups:
            result = run(environment)
        self._count(lookups)
        kept = _programs(read_entries(cache))
        self.totals.kept += bool(kept)
        if in_process and kept:
            assert lookups.misses > 0, "a program was kept, but had not been looked for"
        return result

    def _check_healed(self, cache: Path, filled: Mapping[str, bytes], damage: Damage) -> None:
        now = read_entries(cache)
        for name, content in filled.items():
            if not damage.heals or name in damage.stays:
                assert now.get(name) == damage.contents.get(name), "what is not ours was changed"
            elif now.get(name) == content:
                self.totals.healed += 1
            else:
                # What is no program's is written only by runs that needed all of it, and only when nobody waits.
                assert is_shared(content), "a damaged entry was not written again, or not as it was"
        if not damage.heals:
            assert now.keys() == damage.contents.keys(), "files were added to a directory that is not ours"

    def _count(self, lookups: _Lookups) -> None:
        self.totals.hits += lookups.hits
        self.totals.misses += lookups.misses


_current: CacheState | None = None


@contextmanager
def cache_state(state: CacheState) -> Iterator[None]:
    """Let `in_cache_state` bring the cache into a state for a while."""
    global _current
    before, _current = _current, state
    try:
        yield
    finally:
        _current = before


def parse_cache_states(text: str) -> list[str]:
    """Return the states that a list (``warm,flipped``, or ``all``) names.

    Raises:
        ValueError: there is no such state.
    """
    names = [*STATES] if text == "all" else text.split(",") if text else []
    if unknown := [name for name in names if name not in STATES]:
        raise ValueError(f"no state {unknown[0]!r} of the cache; there are {', '.join(STATES)}, all")
    return names


def in_cache_state(run: _Run[_T], *, in_process: bool) -> _T:
    """Run a program in the state of `cache_state`, else once and as it is."""
    if _current is None:
        return run({})
    seed = f"{os.environ.get('PYTEST_CURRENT_TEST', '')} {_current.totals.programs}"
    return _current.run(run, seed, in_process=in_process)


def read_entries(cache: Path) -> dict[str, bytes]:
    """Return the regular files of a cache by name; nothing if there is no such directory."""
    found = {}
    if cache.is_dir():
        for path in cache.iterdir():
            if stat.S_ISREG(path.lstat().st_mode) and not path.name.startswith("."):
                found[path.name] = path.read_bytes()
    return found


def is_sealed(name: str, content: bytes) -> bool:
    """Whether a file of the cache is whole: told without trapline's own code."""
    return content[:SEAL] == digest(bytes.fromhex(name), content[SEAL:])


def is_shared(content: bytes) -> bool:
    """Whether a file of the cache is no program's: the index of types, the lists of functions."""
    return content[SEAL:].startswith((INDEX_MAGIC, FUNCTIONS_MAGIC))


def _programs(entries: Mapping[str, bytes]) -> set[str]:
    return {name for name, content in entries.items() if not is_shared(content)}


def _identities(cache: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again."""
    return {path.name: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in cache.iterdir()}


@contextmanager
def _watched() -> Iterator[_Lookups]:
    lookups = _Lookups()
    get = Cache.get

    def watched(self: Cache, key: str) -> bytes | None:
        found = get(self, key)
        if "\0" in key:  # a program's
            lookups.hits += found is not None
            lookups.misses += found is None
        return found

    with mock.patch.object(Cache, "get", watched):
        yield lookups


_stored: list[dict[str, bytes]] = []


def _copy_shared(cache: Path) -> None:
    """Put the index of this kernel's types and its functions into a cache: only runs that take longer keep them."""
    if not _stored:
        with tempfile.TemporaryDirectory(prefix="trapline-index-") as folder:
            blobs = Cache(f"{folder}/cache")
            target = LiveTarget(load=lambda key: None, save=blobs.put)
            if target.has_btf:
                target.btf.find("task_struct")
            if target.has("kprobes"):
                target.functions("do_nanosleep")
            target.keep()
            _stored.append(read_entries(Path(folder) / "cache"))
    cache.mkdir(mode=0o700)
    for name, content in _stored[0].items():
        (cache / name).write_bytes(content)
        (cache / name).chmod(0o600)


_hostile: list[dict[str, bytes]] = []


def hostile_blobs() -> Mapping[str, bytes]:
    """Return contents that are well made, but of other programs and other types: by kind of entry."""
    if not _hostile:
        _hostile.append(make_hostile_blobs())
    return _hostile[0]
