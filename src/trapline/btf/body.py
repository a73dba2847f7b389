"""The text between the braces: members of structs, unions and enums as C source.

`print_composite` makes the C compiler give every member the offset that the BTF says: it packs the struct or fills
gaps where the natural layout of C would differ.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from trapline.btf import types as t
from trapline.btf.layout import align_of, is_packed, size_of
from trapline.btf.naming import Spell, declare
from trapline.btf.reader import TypeStore
from trapline.records import record

PACKED = "__attribute__((packed))"


@record(frozen=True)
class Gap:
    """Bits that no member covers: from `start` to `end`; `align` is the alignment (bits) of what follows.

    `bits` says that bitfields come before and after the gap.
    """

    start: int
    end: int
    align: int
    bits: bool


# Takes the compiler from one bit to another: declarations without indentation and semicolon.
Padder = Callable[[Gap], list[str]]


class BytePadder:
    """Fills gaps with bytes, which works at any offset, also in packed structs; every filling has its own name."""

    def __init__(self) -> None:
        self._serial = count()

    def __call__(self, gap: Gap) -> list[str]:
        """Return the declarations that fill a gap."""
        lines = []
        start = gap.start
        if start % 8:
            step = min(8 - start % 8, gap.end - start)
            lines.append(f"unsigned char :{step}")
            start += step
        size = gap.end // 8 - start // 8
        if size > 0:
            lines.append(f"unsigned char __btf_pad{next(self._serial)}[{size}]")
            start += 8 * size
        if start < gap.end:
            lines.append(f"unsigned char :{gap.end - start}")
        return lines


def print_composite(
    btf: TypeStore,
    found: t.Struct | t.Union,
    tag: str,
    spell: Spell,
    indent: str,
    pad: Padder,
) -> str:
    """Print a struct or union with its members.

    Args:
        btf: where the member types live.
        found: the struct or union.
        tag: the tag to give it, empty for none.
        spell: spells the types of members (it prints anonymous structs by calling this function again).
        indent: white space before the closing brace; members get one tab more.
        pad: how gaps are filled.

    Returns:
        ``struct tag {…}`` with attributes, without semicolon.
    """
    keyword = "struct" if isinstance(found, t.Struct) else "union"
    head = f"{keyword} {tag}" if tag else keyword
    packed = is_packed(btf, found)
    lines = _member_lines(btf, found, spell, pad, packed)
    if lines is None:  # members overlap: no C declaration has this layout
        lines, packed = [f"unsigned char __btf_opaque[{found.size}]"], False
    attribute = f" {PACKED}" if packed else ""
    if not lines:
        return f"{head} {{}}{attribute}"
    inner = indent + "\t"
    body = "".join(f"{inner}{line};\n" for line in lines)
    return f"{head} {{\n{body}{indent}}}{attribute}"


def _member_lines(
    btf: TypeStore, found: t.Struct | t.Union, spell: Spell, pad: Padder, packed: bool
) -> list[str] | None:
    lines: list[str] = []
    is_union = isinstance(found, t.Union)
    end = 0  # where the compiler stands, in bits (in a union: the largest member)
    largest = 8
    was_bits = False
    for member in found.members:
        bits = member.bitfield_size
        size = 8 * size_of(btf, member.type)
        align = 8 if packed else 8 * align_of(btf, member.type)
        start = 0 if is_union else end
        natural = start if bits else _round_up(start, align)
        if natural != member.bit_offset:
            if member.bit_offset < start or is_union:
                return None
            lines += pad(Gap(start, member.bit_offset, align, bool(bits) and was_bits))
        text = declare(btf, member.type, member.name, spell=spell)
        lines.append(f"{text}: {bits}" if bits else text)
        stop = member.bit_offset + (bits or size)
        end = max(end, stop) if is_union else stop
        was_bits = bool(bits)
        if member.name or not bits:
            largest = max(largest, align)
    total = 8 * found.size
    if end > total:
        return None
    if _round_up(end, largest) != total:
        lines += pad(Gap(0 if is_union else end, total, largest, False))
    return lines


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step if step else value


_MODES = {1: "byte", 2: "HI", 8: "DI"}


def print_enum(found: t.Enum | t.Enum64, tag: str, names: list[str], indent: str = "") -> str:
    """Print an enum of the right size.

    Args:
        found: the enum.
        tag: the tag to give it, empty for none.
        names: what to call its constants.
        indent: white space before the closing brace.

    Returns:
        ``enum tag {…}`` with attributes, without semicolon.
    """
    head = f"enum {tag}" if tag else "enum"
    inner = indent + "\t"
    body = "".join(
        f"{inner}{name} = {_constant(found, constant.value)},\n"
        for name, constant in zip(names, found.values, strict=True)
    )
    mode = _MODES.get(found.size)
    wide = any(not -(1 << 31) <= c.value < 1 << 32 for c in found.values)
    attribute = f" __attribute__((mode({mode})))" if mode and not (found.size == 8 and wide) else ""
    return f"{head} {{\n{body}{indent}}}{attribute}"


def _constant(owner: t.Enum | t.Enum64, value: int) -> str:
    if isinstance(owner, t.Enum):
        return str(value)
    if value == -(1 << 63):  # C has no negative literals
        return f"({value + 1}LL - 1)"
    return f"{value}{'LL' if owner.signed else 'ULL'}"
