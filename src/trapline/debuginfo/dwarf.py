"""A reader of DWARF 2 to 5: units, entries, strings, address ranges.  Nothing is decoded before it is asked for.

An entry is ``(offset, tag, attributes, children)``; attributes are Python values by their number: integers, bytes,
strings, and offsets in ``.debug_info`` for references.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from struct import Struct, error
from struct import unpack_from as unpack

from trapline.abi.elf import Elf
from trapline.debuginfo import dwarf_constants as c
from trapline.debuginfo.sections import section_bytes
from trapline.errors import DecodeError
from trapline.records import record

Value = int | str | bytes | bool
_OVERLAPS = 16  # units whose code starts before an address and may still cover it
_Read = Callable[["Unit", int], "tuple[Value, int]"]


@record(frozen=True)
class Entry:
    """A debugging information entry.

    Args:
        offset: in ``.debug_info``.
        tag: ``DW_TAG_…``.
        attributes: value by ``DW_AT_…``.
        children: whether entries below it follow.
        end: where the next entry starts.
        unit: what it belongs to.
    """

    offset: int
    tag: int
    attributes: dict[int, Value]
    children: bool
    end: int
    unit: Unit

    def number(self, attribute: int, default: int = 0) -> int:
        """Return an attribute that is a number."""
        value = self.attributes.get(attribute, default)
        return int(value) if isinstance(value, int) else default

    def reference(self, attribute: int) -> int | None:
        """Return the offset of the entry that an attribute refers to."""
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) and value >= 0 else None

    @property
    def name(self) -> str:
        """What the source calls it."""
        value = self.attributes.get(c.AT_NAME, "")
        return value if isinstance(value, str) else ""


class Unit:
    """A unit of ``.debug_info``: its header, and how its entries are encoded."""

    def __init__(self, dwarf: Dwarf, offset: int) -> None:
        data = dwarf.info
        self.dwarf = dwarf
        self.offset = offset
        (length,) = unpack("<I", data, offset)
        self.wide = length == 0xFFFFFFFF
        at = offset + 4
        if self.wide:
            (length,) = unpack("<Q", data, at)
            at += 8
        self.end = at + length
        if self.end > len(data):
            raise DecodeError("a DWARF unit runs over the end of its section", offset=offset)
        (self.version,) = unpack("<H", data, at)
        at += 2
        self.type = c.UT_COMPILE
        if self.version >= 5:
            self.type, self.address_size = data[at], data[at + 1]
            abbreviations, at = self.offset_at(at + 2)
            if self.type in (c.UT_TYPE, c.UT_SPLIT_TYPE):
                at += 8 + (8 if self.wide else 4)
            elif self.type in (c.UT_SKELETON, c.UT_SPLIT_COMPILE):
                at += 8
        else:
            abbreviations, at = self.offset_at(at)
            self.address_size = data[at]
            at += 1
        if not 2 <= self.version <= 5 or self.address_size != 8:
            raise DecodeError(
                f"DWARF version {self.version} with {self.address_size}-byte addresses is not known", offset=offset
            )
        self.abbreviations = dwarf.abbreviations(abbreviations)
        self.first = at

    def offset_at(self, at: int) -> tuple[int, int]:
        """Read an offset of the unit's width."""
        (value,) = unpack("<Q" if self.wide else "<I", self.dwarf.info, at)
        return value, at + (8 if self.wide else 4)

    @cached_property
    def root(self) -> Entry:
        """The unit's own entry."""
        found = self.entry(self.first)
        if found is None:
            raise DecodeError("a DWARF unit is empty", offset=self.offset)
        return found

    def entry(self, offset: int) -> Entry | None:
        """Decode the entry at an offset; ``None`` for the mark that ends a list of children."""
        data = self.dwarf.info
        try:
            code, at = uleb(data, offset)
            if not code:
                return None
            tag, children, specs = self.abbreviations[code]
            attributes: dict[int, Value] = {}
            for attribute, read, implicit in specs:
                if read is None:
                    attributes[attribute] = implicit
                else:
                    attributes[attribute], at = read(self, at)
        except (error, IndexError, KeyError):
            raise DecodeError("a DWARF entry is damaged", offset=offset) from None
        return Entry(offset, tag, attributes, children, at, self)

    def walk(self) -> Iterator[tuple[int, Entry]]:
        """Iterate over (depth, entry) of all entries, in order."""
        yield from self.descend(self.root)

    def descend(self, start: Entry) -> Iterator[tuple[int, Entry]]:
        """Iterate over (depth, entry) of an entry and all below it."""
        yield 0, start
        if not start.children:
            return
        depth, at = 1, start.end
        while depth and at < self.end:
            found = self.entry(at)
            if found is None:
                depth -= 1
                at = uleb(self.dwarf.info, at)[1]
                continue
            yield depth, found
            depth += found.children
            at = found.end

    def children(self, parent: Entry) -> Iterator[Entry]:
        """Iterate over the entries directly below one."""
        if not parent.children:
            return
        at = parent.end
        while at < self.end:
            found = self.entry(at)
            if found is None:
                return
            yield found
            at = self.after(found)

    def after(self, found: Entry) -> int:
        """Return where the entry behind one and all below it starts."""
        if not found.children:
            return found.end
        sibling = found.reference(c.AT_SIBLING)
        if sibling is not None and found.end < sibling < self.end:
            return sibling
        depth, at = 1, found.end
        while depth and at < self.end:
            inner = self.entry(at)
            if inner is None:
                depth -= 1
                at = uleb(self.dwarf.info, at)[1]
            else:
                depth += inner.children
                at = inner.end
        return at

    # ---- what version 5 keeps in tables

    def indexed_string(self, index: int) -> str:
        """Return a string by its index in ``.debug_str_offsets``."""
        base = self.root_number(c.AT_STR_OFFSETS_BASE, 16 if self.wide else 8)
        width = 8 if self.wide else 4
        table = self.dwarf.section(".debug_str_offsets")
        (offset,) = unpack("<Q" if self.wide else "<I", table, base + index * width)
        return self.dwarf.string(offset)

    def indexed_address(self, index: int) -> int:
        """Return an address by its index in ``.debug_addr``."""
        base = self.root_number(c.AT_ADDR_BASE, 8)
        value: int = unpack("<Q", self.dwarf.section(".debug_addr"), base + 8 * index)[0]
        return value

    def root_number(self, attribute: int, default: int) -> int:
        """Return a number of the unit's entry; also while that entry is being decoded."""
        known = self.__dict__.get("root")
        if isinstance(known, Entry):
            return known.number(attribute, default)
        # The root's own strings and addresses need a base that stands behind them in the same entry.
        code, at = uleb(self.dwarf.info, self.first)
        for number, read, _ in self.abbreviations[code][2]:
            if number == attribute and read is not None:
                value = read(self, at)[0]
                return int(value) if isinstance(value, int) else default
            at = at if read is None else _skip(read, self, at)
        return default

    def ranges(self, found: Entry) -> list[tuple[int, int]]:
        """Return the (start, end) addresses of an entry's code."""
        low = found.attributes.get(c.AT_LOW_PC)
        high = found.attributes.get(c.AT_HIGH_PC)
        if isinstance(low, int) and isinstance(high, int):
            # An address is the end; any other number is the length.
            absolute = self._is_address(found, c.AT_HIGH_PC)
            return [(low, high if absolute else low + high)]
        where = found.attributes.get(c.AT_RANGES)
        if not isinstance(where, int):
            return []
        base = self.root.number(c.AT_LOW_PC)
        from trapline.debuginfo.dwarf_ranges import read_ranges

        return read_ranges(self, where, base)

    def _is_address(self, found: Entry, attribute: int) -> bool:
        code, _ = uleb(self.dwarf.info, found.offset)
        return any(number == attribute and read in _ADDRESS_READERS for number, read, _ in self.abbreviations[code][2])


def _skip(read: _Read, unit: Unit, at: int) -> int:
    if read in (_strx, _strx1, _strx2, _strx3, _strx4, _addrx, _addrx1, _addrx2, _addrx3, _addrx4):
        return at + _INDEX_SIZES[read] if read in _INDEX_SIZES else uleb(unit.dwarf.info, at)[1]
    return read(unit, at)[1]


class Dwarf:
    """The DWARF of an ELF file.

    Args:
        elf: the file.
    """

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self._sections: dict[str, bytes] = {}
        self._abbreviations: dict[int, dict[int, tuple[int, bool, list[tuple[int, _Read | None, Value]]]]] = {}
        self._units: dict[int, Unit] = {}
        self.info = self.section(".debug_info")

    def section(self, name: str) -> bytes:
        """Return the bytes of a section; empty when there is none."""
        if name not in self._sections:
            self._sections[name] = section_bytes(self.elf, name)
        return self._sections[name]

    def string(self, offset: int, section: str = ".debug_str") -> str:
        """Return the string at an offset."""
        data = self.section(section)
        end = data.find(b"\0", offset)
        if end < 0:
            raise DecodeError(f"a DWARF string is outside of {section}", offset=offset)
        return data[offset:end].decode("utf-8", "replace")

    @cached_property
    def unit_offsets(self) -> list[int]:
        """Where the units start."""
        found = []
        at = 0
        while at + 12 <= len(self.info):
            found.append(at)
            (length,) = unpack("<I", self.info, at)
            if length == 0xFFFFFFFF:
                at += 12 + unpack("<Q", self.info, at + 4)[0]
            else:
                at += 4 + length
        return found

    def unit(self, offset: int) -> Unit:
        """Return the unit that holds an offset of ``.debug_info``."""
        place = bisect_right(self.unit_offsets, offset) - 1
        if place < 0:
            raise DecodeError("no DWARF unit holds the offset", offset=offset)
        start = self.unit_offsets[place]
        if start not in self._units:
            try:
                self._units[start] = Unit(self, start)
            except (error, IndexError):
                raise DecodeError("a DWARF unit is damaged", offset=start) from None
        return self._units[start]

    def entry(self, offset: int) -> Entry:
        """Return the entry at an offset of ``.debug_info``.

        Raises:
            DecodeError: there is none.
        """
        found = self.unit(offset).entry(offset)
        if found is None:
            raise DecodeError("a DWARF reference leads to no entry", offset=offset)
        return found

    @cached_property
    def _unit_ranges(self) -> list[tuple[int, int, int]]:
        """(start, end, offset of the unit) of all code, sorted."""
        found = []
        for offset in self.unit_offsets:
            try:
                unit = self.unit(offset)
                if unit.type == c.UT_COMPILE and unit.root.tag == c.TAG_COMPILE_UNIT:
                    found += [(start, end, offset) for start, end in unit.ranges(unit.root) if start < end]
            except DecodeError:
                continue
        return sorted(found)

    def unit_at(self, address: int) -> Unit | None:
        """Return the unit whose code covers an address."""
        ranges = self._unit_ranges
        place = bisect_right(ranges, (address, 1 << 64, 0)) - 1
        for start, end, offset in reversed(ranges[max(0, place - _OVERLAPS) : place + 1]):
            if start <= address < end:
                return self.unit(offset)
        return None

    def abbreviations(self, offset: int) -> dict[int, tuple[int, bool, list[tuple[int, _Read | None, Value]]]]:
        """Return the table of abbreviations at an offset of ``.debug_abbrev``: (tag, children, attributes) by code."""
        if offset in self._abbreviations:
            return self._abbreviations[offset]
        data = self.section(".debug_abbrev")
        table: dict[int, tuple[int, bool, list[tuple[int, _Read | None, Value]]]] = {}
        at = offset
        while True:
            code, at = uleb(data, at)
            if not code:
                break
            tag, at = uleb(data, at)
            children = bool(data[at])
            at += 1
            specs: list[tuple[int, _Read | None, Value]] = []
            while True:
                attribute, at = uleb(data, at)
                form, at = uleb(data, at)
                if not attribute and not form:
                    break
                if form == c.FORM_IMPLICIT_CONST:
                    value, at = sleb(data, at)
                    specs.append((attribute, None, value))
                elif form in _READERS:
                    specs.append((attribute, _READERS[form], 0))
                else:
                    raise DecodeError(f"DWARF form {form:#x} is not known", offset=at)
            table[code] = tag, children, specs
        self._abbreviations[offset] = table
        return table


# ---------------------------------------------------------------- encodings


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number; return it and the offset behind it."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """Read a signed LEB128 number; return it and the offset behind it."""
    start = at
    value, at = uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) else value), at


def _fixed(layout: str) -> _Read:
    packed = Struct(layout)
    size, unpack_one = packed.size, packed.unpack_from

    def read(unit: Unit, at: int) -> tuple[Value, int]:
        return unpack_one(unit.dwarf.info, at)[0], at + size

    return read


def _unsigned(unit: Unit, at: int) -> tuple[Value, int]:
    return uleb(unit.dwarf.info, at)


def _signed(unit: Unit, at: int) -> tuple[Value, int]:
    return sleb(unit.dwarf.info, at)


def _block(size: Callable[[bytes, int], tuple[int, int]]) -> _Read:
    def read(unit: Unit, at: int) -> tuple[Value, int]:
        length, start = size(unit.dwarf.info, at)
        return unit.dwarf.info[start : start + length], start + length

    return read


def _little(width: int) -> Callable[[bytes, int], tuple[int, int]]:
    return lambda data, at: (int.from_bytes(data[at : at + width], "little"), at + width)


def _text(unit: Unit, at: int) -> tuple[Value, int]:
    data = unit.dwarf.info
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "replace"), end + 1


def _strp(unit: Unit, at: int) -> tuple[Value, int]:
    offset, at = unit.offset_at(at)
    return unit.dwarf.string(offset), at


def _line_strp(unit: Unit, at: int) -> tuple[Value, int]:
    offset, at = unit.offset_at(at)
    return unit.dwarf.string(offset, ".debug_line_str"), at


def _offset(unit: Unit, at: int) -> tuple[Value, int]:
    return unit.offset_at(at)


def _elsewhere(unit: Unit, at: int) -> tuple[Value, int]:
    """Read what lies in another file (dwz): nothing that could be followed."""
    return -1, unit.offset_at(at)[1]


def _elsewhere_string(unit: Unit, at: int) -> tuple[Value, int]:
    return "", unit.offset_at(at)[1]


def _present(unit: Unit, at: int) -> tuple[Value, int]:
    return True, at


def _local(width: int) -> _Read:
    def read(unit: Unit, at: int) -> tuple[Value, int]:
        return unit.offset + int.from_bytes(unit.dwarf.info[at : at + width], "little"), at + width

    return read


def _local_unsigned(unit: Unit, at: int) -> tuple[Value, int]:
    value, at = uleb(unit.dwarf.info, at)
    return unit.offset + value, at


def _signature(unit: Unit, at: int) -> tuple[Value, int]:
    return -1, at + 8


def _indirect(unit: Unit, at: int) -> tuple[Value, int]:
    form, at = uleb(unit.dwarf.info, at)
    return _READERS[form](unit, at)


def _strx(unit: Unit, at: int) -> tuple[Value, int]:
    index, at = uleb(unit.dwarf.info, at)
    return unit.indexed_string(index), at


def _addrx(unit: Unit, at: int) -> tuple[Value, int]:
    index, at = uleb(unit.dwarf.info, at)
    return unit.indexed_address(index), at


def _fixed_strx(width: int) -> _Read:
    def read(unit: Unit, at: int) -> tuple[Value, int]:
        return unit.indexed_string(int.from_bytes(unit.dwarf.info[at : at + width], "little")), at + width

    return read


def _fixed_addrx(width: int) -> _Read:
    def read(unit: Unit, at: int) -> tuple[Value, int]:
        return unit.indexed_address(int.from_bytes(unit.dwarf.info[at : at + width], "little")), at + width

    return read


def _range_list(unit: Unit, at: int) -> tuple[Value, int]:
    """Read an index into the table of range lists; the offset that it stands for."""
    index, at = uleb(unit.dwarf.info, at)
    base = unit.root_number(c.AT_RNGLISTS_BASE, 20 if unit.wide else 12)
    table = unit.dwarf.section(".debug_rnglists")
    width = 8 if unit.wide else 4
    (offset,) = unpack("<Q" if unit.wide else "<I", table, base + index * width)
    return base + offset, at


_address = _fixed("<Q")
_strx1, _strx2, _strx3, _strx4 = (_fixed_strx(width) for width in (1, 2, 3, 4))
_addrx1, _addrx2, _addrx3, _addrx4 = (_fixed_addrx(width) for width in (1, 2, 3, 4))
_INDEX_SIZES: dict[_Read, int] = {
    **dict(zip((_strx1, _strx2, _strx3, _strx4), (1, 2, 3, 4), strict=True)),
    **dict(zip((_addrx1, _addrx2, _addrx3, _addrx4), (1, 2, 3, 4), strict=True)),
}
_ADDRESS_READERS = (_address, _addrx, _addrx1, _addrx2, _addrx3, _addrx4)

_READERS: dict[int, _Read] = {
    0x01: _address,
    0x03: _block(_little(2)),
    0x04: _block(_little(4)),
    0x05: _fixed("<H"),
    0x06: _fixed("<I"),
    0x07: _fixed("<Q"),
    0x08: _text,
    0x09: _block(uleb),
    0x0A: _block(_little(1)),
    0x0B: _fixed("<B"),
    0x0C: _fixed("<?"),
    0x0D: _signed,
    0x0E: _strp,
    0x0F: _unsigned,
    0x10: _offset,
    0x11: _local(1),
    0x12: _local(2),
    0x13: _local(4),
    0x14: _local(8),
    0x15: _local_unsigned,
    0x16: _indirect,
    0x17: _offset,
    0x18: _block(uleb),
    0x19: _present,
    0x1A: _strx,
    0x1B: _addrx,
    0x1C: _fixed("<I"),
    0x1D: _elsewhere_string,
    0x1E: _fixed("<16s"),
    0x1F: _line_strp,
    0x20: _signature,
    0x22: _unsigned,
    0x23: _range_list,
    0x24: _fixed("<Q"),
    0x25: _strx1,
    0x26: _strx2,
    0x27: _strx3,
    0x28: _strx4,
    0x29: _addrx1,
    0x2A: _addrx2,
    0x2B: _addrx3,
    0x2C: _addrx4,
    0x1F20: _elsewhere,
    0x1F21: _elsewhere_string,
}
