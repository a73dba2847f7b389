"""How deeply programs may be nested: the passes recurse over the tree."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trapline.errors import ParseError
from trapline.source import Diagnostic

MAX_NESTING = 640
MAX_CHAIN = 1500
# Python frames: a level of nesting takes up to 20 in the parser, an operator of a chain 5 in later passes.  More may
# not fit onto the C stack of 8 MiB, which Python 3.10 needs for them.
_FRAMES = 12000


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Make room for deep trees.

    Raises:
        ParseError: it was not enough.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        yield
    except RecursionError:
        hint = "Split the long expressions and deep blocks."
        raise ParseError([Diagnostic("the program is nested too deeply", None, hints=(hint,))]) from None
    finally:
        sys.setrecursionlimit(limit)
