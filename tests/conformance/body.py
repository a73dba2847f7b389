"""A small program for comparisons: the statements of a ``BEGIN`` block."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAP = re.compile(r"@(?=[A-Za-z_])")


@dataclass(frozen=True)
class Body:
    """One program: the statements of a ``BEGIN`` block, the area that it belongs to, and C that stands before it."""

    area: str
    text: str
    preamble: str = ""

    def prefixed(self, number: int) -> str:
        """Return the text with map names that no other body of a script has."""
        return _MAP.sub(f"@m{number}_", self.text)
