"""Globs over names: ``*`` any text, ``?`` one character, ``[abc]`` and ``[!abc]`` one of a set."""

from __future__ import annotations

import re
from functools import lru_cache

_MAGIC = re.compile(r"[*?\[]")


def is_pattern(text: str) -> bool:
    """Return whether `text` has wildcards (else it only matches itself)."""
    return bool(_MAGIC.search(text))


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a whole name that matches `pattern`."""
    return re.compile(_translate(pattern) + r"\Z")


def _translate(pattern: str) -> str:
    out = []
    i = 0
    while i < len(pattern):
        character = pattern[i]
        i += 1
        if character == "*":
            out.append(r"[^\n]*")
        elif character == "?":
            out.append(r"[^\n]")
        elif character == "[":
            end = pattern.find("]", i + (2 if pattern[i : i + 1] == "!" else 1))
            if end < 0:
                out.append(r"\[")
                continue
            body = pattern[i:end].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
            out.append(f"[^{body[1:]}]" if body.startswith("!") else f"[{body}]")
            i = end + 1
        else:
            out.append(re.escape(character))
    return "".join(out)
