"""The running kernel as one shared target; what takes long to read of it is kept in the cache."""

from __future__ import annotations

from functools import cache

from trapline.engine.cache import Cache
from trapline.kernel.target import LiveTarget


@cache
def live_target() -> LiveTarget:
    """Return the running kernel; every caller in the process gets the same object."""
    blobs = Cache.default()
    return LiveTarget(load=blobs.get, save=blobs.put)
