"""The running kernel as one shared target, with its BTF index kept in the cache."""

from __future__ import annotations

from functools import cache

from trapline.engine.cache import Cache
from trapline.kernel.target import LiveTarget


@cache
def live_target() -> LiveTarget:
    """Return the running kernel; every caller in the process gets the same object."""
    blobs = Cache.default()
    return LiveTarget(
        load_index=lambda key: blobs.get(f"btf-index {key}"),
        save_index=lambda key, index: blobs.put(f"btf-index {key}", index),
    )
