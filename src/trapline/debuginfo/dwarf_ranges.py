"""Address ranges of DWARF: ``.debug_ranges`` up to version 4, ``.debug_rnglists`` from 5 on."""

from __future__ import annotations

from struct import error
from struct import unpack_from as unpack

from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.debuginfo.dwarf import Unit

_LAST = (1 << 64) - 1


def read_ranges(unit: Unit, offset: int, base: int) -> list[tuple[int, int]]:
    """Return the (start, end) addresses of the list at an offset.

    Args:
        unit: whose list it is.
        offset: in the section of the unit's version.
        base: what relative entries are relative to at first.

    Raises:
        DecodeError: the list has no end, or holds what is not known.
    """
    try:
        return _read_lists(unit, offset, base) if unit.version >= 5 else _read_pairs(unit, offset, base)
    except (error, IndexError):
        raise DecodeError("a DWARF range list runs over the end of its section", offset=offset) from None


def _read_pairs(unit: Unit, at: int, base: int) -> list[tuple[int, int]]:
    data = unit.dwarf.section(".debug_ranges")
    found: list[tuple[int, int]] = []
    while True:
        start, end = unpack("<QQ", data, at)
        at += 16
        if start == _LAST:
            base = end
        elif not start and not end:
            return found
        else:
            found.append((base + start, base + end))


def _read_lists(unit: Unit, at: int, base: int) -> list[tuple[int, int]]:
    from trapline.debuginfo.dwarf import uleb

    data = unit.dwarf.section(".debug_rnglists")
    found: list[tuple[int, int]] = []
    while True:
        kind = data[at]
        at += 1
        if kind == 0:  # DW_RLE_end_of_list
            return found
        if kind == 5:  # base_address
            (base,) = unpack("<Q", data, at)
            at += 8
        elif kind == 6:  # start_end
            found.append(unpack("<QQ", data, at))
            at += 16
        elif kind == 7:  # start_length
            (start,) = unpack("<Q", data, at)
            length, at = uleb(data, at + 8)
            found.append((start, start + length))
        elif 1 <= kind <= 4:
            first, at = uleb(data, at)
            if kind == 1:  # base_addressx
                base = unit.indexed_address(first)
                continue
            second, at = uleb(data, at)
            if kind == 2:  # startx_endx
                found.append((unit.indexed_address(first), unit.indexed_address(second)))
            elif kind == 3:  # startx_length
                start = unit.indexed_address(first)
                found.append((start, start + second))
            else:  # offset_pair
                found.append((base + first, base + second))
        else:
            raise DecodeError(f"DWARF range list entry {kind} is not known", offset=at)
