"""The clocks that BPF programs stamp records with."""

from __future__ import annotations

import time

CLOCK_TAI = 11


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME, as ``bpf_ktime_get_boot_ns`` does: nanoseconds since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC, as ``bpf_ktime_get_ns`` does."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def realtime_ns() -> int:
    """Return the wall clock in nanoseconds since 1970."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def tai_ns() -> int:
    """Return CLOCK_TAI, as ``bpf_ktime_get_tai_ns`` does."""
    return time.clock_gettime_ns(CLOCK_TAI)


def boot_to_realtime_ns() -> int:
    """Return what to add to CLOCK_BOOTTIME to get the wall clock."""
    return _boot_to(time.CLOCK_REALTIME)


def boot_to_tai_ns() -> int:
    """Return what to add to CLOCK_BOOTTIME to get CLOCK_TAI."""
    return _boot_to(CLOCK_TAI)


def _boot_to(clock: int) -> int:
    """Return the clock minus CLOCK_BOOTTIME, from the tightest of several paired readings."""
    best: tuple[int, int] | None = None
    for _ in range(5):
        before = boot_ns()
        other = time.clock_gettime_ns(clock)
        after = boot_ns()
        if best is None or after - before < best[0]:
            best = (after - before, other - (before + after) // 2)
    assert best is not None
    return best[1]
