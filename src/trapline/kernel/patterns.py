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
            out.append(_translate_set(pattern[i:end]))
            i = end + 1
        else:
            out.append(re.escape(character))
    return "".join(out)


def _translate_set(body: str) -> str:
    """Return the regular expression for one character of a set such as ``a-cx`` or ``!a-c``."""
    negated = body.startswith("!")
    body = body[1:] if negated else body
    parts = []
    i = 0
    while i < len(body):
        if body[i + 1 : i + 2] == "-" and i + 2 < len(body):
            low, high = body[i], body[i + 2]
            if low <= high:
                parts.append(f"{re.escape(low)}-{re.escape(high)}")
            i += 3
        else:
            parts.append(re.escape(body[i]))
            i += 1
    if not parts:
        return r"[^\n]" if negated else r"(?!)"
    return f"[{'^' if negated else ''}{''.join(parts)}]"
