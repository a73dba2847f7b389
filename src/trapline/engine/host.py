"""The running kernel as one shared target; what takes long to read of it is kept in the cache."""

from __future__ import annotations

from functools import lru_cache

from trapline.engine.cache import Cache
from trapline.kernel.target import LiveTarget
from trapline.syscall import machine


def live_target() -> LiveTarget:
    """Return the running kernel; callers in the process get the same object until a module comes or goes."""
    return _target_with(machine.module_instances())


@lru_cache(maxsize=1)
def _target_with(modules: frozenset[tuple[str, int]]) -> LiveTarget:
    blobs = Cache.default()
    return LiveTarget(load=blobs.get, save=blobs.put)


def forget_target() -> None:
    """Let the next `live_target` be another object, as if the process had just begun."""
    _target_with.cache_clear()
