"""Share tests out among the kernels: what shows the same on each runs on one of them."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import pytest
from tests.harness.features import INSTALLED

# A test that needs more may find that the kernel whose turn it is lacks it: it runs on each.
EVERY_GUEST_HAS = INSTALLED | {"btf", "kprobes", "uprobes", "fentry", "breakpoints", "module_tree"}


@dataclass(frozen=True)
class Share:
    """Which kernel this is, by its name in tools/develop/suite.py, and which share the tests."""

    kernel: str
    kernels: tuple[str, ...]


def parse_share(text: str) -> Share | None:
    """Read ``6.1:6.1,6.12,sid``; empty: there is nobody to share with.

    Raises:
        ValueError: it is malformed.
    """
    if not text:
        return None
    kernel, _, names = text.partition(":")
    kernels = tuple(names.split(","))
    if kernel not in kernels:
        raise ValueError(f"{kernel!r} is none of those that share: {names!r}")
    return Share(kernel, kernels)


def runs_here(item: pytest.Item, share: Share) -> bool:
    """Return whether a test runs on this kernel; each that is shared runs on one, whose turn its name decides."""
    marker = item.get_closest_marker("one_kernel")
    needed = {name for needs in item.iter_markers("needs") for name in needs.args}
    if marker is None or not needed <= EVERY_GUEST_HAS:
        return True
    # Where none of those named takes part, one of the others runs it.
    among = [kernel for kernel in share.kernels if kernel in marker.args] or share.kernels
    return among[crc32(item.nodeid.encode()) % len(among)] == share.kernel
