"""Share tests out among the machine and the guests: what shows the same on every kernel runs on one of them."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32  # a hash that is the same in each process

import pytest
from tests.harness.features import INSTALLED

# A test that needs more may find that the kernel whose turn it is lacks it: it runs on each.
EVERY_GUEST_HAS = INSTALLED | {"btf", "kprobes", "uprobes", "fentry", "breakpoints", "module_tree"}
# What the machine itself must have to take part as one of the kernels, by this name; suite.py looks whether it has.
HOST = "host"
HOST_HAS = INSTALLED | {"btf", "uprobes"}


@dataclass(frozen=True)
class Share:
    """Which guest this is, by its kernel's name in tools/develop/suite.py, and which kernels share the tests."""

    kernel: str
    kernels: tuple[str, ...]


def parse_share(text: str) -> Share | None:
    """Read ``6.1:host,6.1,6.12,sid``; empty: there is nobody to share with.

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
    """Return whether a test runs on this kernel.

    The machine, which is far faster than a guest, runs what is shared and needs nothing else. What is left runs in one
    guest, whose turn its name decides; the ``key`` of the mark instead, where tests of one key count as one.
    """
    marker = item.get_closest_marker("one_kernel")
    needed = {name for needs in item.iter_markers("needs") for name in needs.args}
    if marker is None or not needed <= EVERY_GUEST_HAS:
        return True
    if HOST in share.kernels and not marker.args and needed <= HOST_HAS:
        return False
    guests = [kernel for kernel in share.kernels if kernel != HOST]
    # Where none of those named takes part, one of the others runs it.
    among = [kernel for kernel in guests if kernel in marker.args] or guests
    key = marker.kwargs.get("key", item.nodeid)
    return among[crc32(key.encode()) % len(among)] == share.kernel
