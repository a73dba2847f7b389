"""The names of x86-64's registers and of their parts."""

from __future__ import annotations


def _subregisters() -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for letter in "abcd":
        for name in (f"r{letter}x", f"e{letter}x", f"{letter}x", f"{letter}l"):
            found[name] = (f"{letter}x", 0)
        found[f"{letter}h"] = (f"{letter}x", 8)
    for word in ("si", "di", "bp", "sp", "ip"):
        for name in (f"r{word}", f"e{word}", word, f"{word}l"):
            found[name] = (word, 0)
    for number in range(8, 16):
        for suffix in ("", "d", "w", "b", "l"):
            found[f"r{number}{suffix}"] = (f"r{number}", 0)
    return found


# Name → (the whole register as `trapline.abi.arch` calls it, bits below the part).
SUBREGISTERS: dict[str, tuple[str, int]] = _subregisters()
