"""C text of one type, as ``-lv 'struct x'`` shows it: the style of libbpf's and bpftool's C dumps.

struct hrtimer {
    struct timerqueue_node node;
    enum hrtimer_restart (*function)(struct hrtimer *);
    u8 state;
};
"""

from __future__ import annotations

from trapline.btf import types as t
from trapline.btf.body import BytePadder, Gap, print_composite, print_enum
from trapline.btf.naming import declare, spell_plain
from trapline.btf.reader import TypeStore

_PADS = (("long", 64), ("int", 32), ("short", 16), ("char", 8))
_MAX_GAP = 8 * 65536  # bits; more in one place is no C struct's


def format_type(btf: TypeStore, type_id: int) -> str:
    """Return the definition of a struct, union, enum or typedef (of anything else: its name), without final newline.

    Gaps show as unnamed bitfields (``long: 64;``); members of named types are not expanded.
    """
    found = btf.type(type_id)
    if isinstance(found, (t.Struct, t.Union)):
        return print_composite(btf, found, found.name, _Printer(btf, 1).spell, "", pad_with_bitfields) + ";"
    if isinstance(found, (t.Enum, t.Enum64)):
        return f"{_enum_text(found, '')};"
    if isinstance(found, t.Typedef):
        return f"typedef {declare(btf, found.target, found.name, spell=_Printer(btf, 0).spell)};"
    if isinstance(found, (t.Func, t.Var)):
        return f"{declare(btf, type_id)};"
    return declare(btf, type_id)


class _Printer:
    """Spells the types of members, anonymous ones with their bodies."""

    def __init__(self, btf: TypeStore, depth: int) -> None:
        self._btf = btf
        self._depth = depth

    def spell(self, found: t.BtfType, type_id: int) -> str:
        """Spell a type at the current depth of braces."""
        if isinstance(found, (t.Struct, t.Union)) and not found.name:
            indent = "\t" * self._depth
            self._depth += 1
            try:
                return print_composite(self._btf, found, "", self.spell, indent, pad_with_bitfields)
            finally:
                self._depth -= 1
        if isinstance(found, (t.Enum, t.Enum64)) and not found.name:
            return _enum_text(found, "\t" * self._depth)
        return spell_plain(found, type_id)


def _enum_text(found: t.Enum | t.Enum64, indent: str) -> str:
    if not found.values:
        return f"enum {found.name}"
    return print_enum(found, found.name, [c.name for c in found.values], indent)


def pad_with_bitfields(gap: Gap) -> list[str]:
    """Fill a gap with unnamed bitfields of the largest type that has a boundary in it."""
    if gap.end - gap.start > _MAX_GAP:
        return BytePadder()(gap)
    name, unit = next((pad for pad in _PADS if _round_up(gap.start, pad[1]) <= gap.end), _PADS[-1])
    boundary = _round_up(gap.start, unit)
    lines = []
    start = gap.start
    if start < boundary <= gap.end:
        if gap.bits:
            lines.append(f"{name}: {boundary - start}")
        elif boundary == gap.end:
            # The compiler gets there by itself when what follows is aligned enough.
            if _round_up(start, gap.align) != boundary:
                lines.append(f"{name}: 0")
        elif gap.end - boundary <= boundary - start:
            lines.append(f"{name}: 0")  # without it the filling would go in front of the boundary
        start = boundary
    while gap.end - start >= unit:
        lines.append(f"{name}: {unit}")
        start += unit
    if start < gap.end:
        rest = gap.end - start
        smallest = next(pad for pad, bits in reversed(_PADS) if bits >= rest)
        lines.append(f"{smallest}: {rest}")
    return lines


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
