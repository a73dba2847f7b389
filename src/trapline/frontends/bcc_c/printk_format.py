"""What the kernel takes as the format of ``bpf_trace_printk``; of any other it prints nothing."""

from __future__ import annotations

import re

# What bpf_bprintf_prepare() knows since Linux 5.13; before, without widths.
_CONVERSION = re.compile(
    rb"%(?:%|[-+ 0]*\d*(?:[cs]|l{0,2}[diuxX]|p(?:[ku]s|[iI][46]|[KxsSB]|(?=[\s!-/:-@\[-`{-~]|\Z))))", re.ASCII
)
_KNOWN = "%d %i %u %x %X, with l or ll, %c %s %p %px %ps %pS %pB %pK %pi4 %pi6 %pks %pus"


def complaint(text: bytes) -> tuple[str, str] | None:
    """Return what is wrong with a format (without NUL), and what to do; ``None`` if nothing is."""
    for place, byte in enumerate(text):
        if not 32 <= byte < 127 and byte not in b"\t\n\v\f\r":
            character = text[place:].decode("utf-8", "replace")[:1]
            who = "the kernel prints" if byte < 128 else "many kernels print"
            return (
                f"unrecognized character {character!r} in a format of bpf_trace_printk(): {who} nothing of it",
                "write ASCII, without colours",
            )
    place = text.find(b"%")
    while place >= 0:
        found = _CONVERSION.match(text, place)
        if found is None:
            shown = re.match(rb"%[-+ #0]*[\d.]*[hlLqjzt]*.?", text[place:])
            spelling = (shown.group() if shown else b"%").decode()
            return (
                f"the kernel prints nothing of a bpf_trace_printk() with '{spelling}': only some conversion specifiers "
                "are allowed",
                f"they are {_KNOWN}",
            )
        place = text.find(b"%", found.end())
    return None
