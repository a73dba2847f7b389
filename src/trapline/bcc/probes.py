"""What can be probed, by regular expression, as BCC's static methods list it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from trapline.bcc.names import Name, to_bytes

# Code that runs only while booting, in interrupt entry, or is a compiler's cold half: BCC never lists it.
_HIDDEN = re.compile(rb"\.cold(\.|$)|^__SCT__|^_kbl_addr_|^perf_|^__perf_|^ftrace_|^__ftrace_|^__irqentry_text")


def filter_kprobe_functions(pattern: Name, functions: Iterable[str]) -> list[bytes]:
    """Return the functions that a regular expression matches completely, sorted, without those that BCC hides.

    Args:
        pattern: the expression.
        functions: names of traceable functions, without those on the kprobe blacklist.
    """
    regex = re.compile(to_bytes(pattern))
    names = {to_bytes(function) for function in functions}
    return sorted(name for name in names if regex.fullmatch(name) and not _HIDDEN.search(name))


def filter_tracepoints(pattern: Name, tracepoints: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the ``category:name`` at whose start a regular expression matches, in the given order."""
    regex = re.compile(to_bytes(pattern))
    names = [to_bytes(f"{category}:{name}") for category, name in tracepoints]
    return [name for name in names if regex.match(name)]


# A word of a C text → the header that declares it.
_AUTO_INCLUDES = {
    "linux/time.h": ("time",),
    "linux/fs.h": ("fs", "file"),
    "linux/blkdev.h": ("bio", "request"),
    "linux/slab.h": ("alloc",),
    "linux/netdevice.h": ("sk_buff", "net_device"),
}


def generate_auto_includes(program_words: Iterable[str]) -> str:
    """Return ``#include`` lines for the types that the words of a C text mention."""
    words = list(program_words)
    wanted = (h for h, keys in _AUTO_INCLUDES.items() if any(key in word for key in keys for word in words))
    return "".join(f"#include <{header}>\n" for header in wanted)
