"""DWARF types as BTF: the parameters of one function, with every type that they can reach.

BTF is the form in which all of trapline knows types; pahole(1) makes the kernel's in the same way.
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.btf import Btf
from trapline.btf import types as t
from trapline.btf.write import BtfBuilder
from trapline.debuginfo import dwarf_constants as c
from trapline.debuginfo.dwarf import Dwarf, Entry
from trapline.errors import DecodeError

# A node of the graph of types: an entry's offset, or a part of one that BTF wants to be a type of its own.
_Node = int | tuple[str, int, int]

_MODIFIERS: dict[int, type[t.Const | t.Volatile | t.Restrict]] = {
    c.TAG_CONST_TYPE: t.Const,
    c.TAG_VOLATILE_TYPE: t.Volatile,
    c.TAG_RESTRICT_TYPE: t.Restrict,
}
_POINTERS = (
    c.TAG_POINTER_TYPE,
    c.TAG_REFERENCE_TYPE,
    c.TAG_RVALUE_REFERENCE_TYPE,
)
_COMPOSITES = (c.TAG_STRUCTURE_TYPE, c.TAG_CLASS_TYPE, c.TAG_UNION_TYPE)
_MAX_MEMBERS = 0xFFFF


def find_function(dwarf: Dwarf, address: int) -> Entry | None:
    """Return the entry of the function that starts at an address."""
    unit = dwarf.unit_at(address)
    if unit is None:
        return None
    for _, entry in unit.walk():
        if entry.tag != c.TAG_SUBPROGRAM or entry.attributes.get(c.AT_DECLARATION):
            continue
        if entry.attributes.get(c.AT_LOW_PC) == address or any(start == address for start, _ in unit.ranges(entry)[:1]):
            return entry
    return None


def origin_of(dwarf: Dwarf, entry: Entry) -> Entry:
    """Return the entry that says what this one is an instance of, or completes; the entry itself if none does."""
    for _ in range(4):
        place = entry.reference(c.AT_ABSTRACT_ORIGIN) or entry.reference(c.AT_SPECIFICATION)
        if place is None:
            break
        entry = dwarf.entry(place)
    return entry


def attribute_of(dwarf: Dwarf, entry: Entry, attribute: int) -> int | str | bytes | None:
    """Return an attribute of an entry, or of what it is an instance of."""
    for _ in range(5):
        if attribute in entry.attributes:
            return entry.attributes[attribute]
        place = entry.reference(c.AT_ABSTRACT_ORIGIN) or entry.reference(c.AT_SPECIFICATION)
        if place is None:
            return None
        entry = dwarf.entry(place)
    return None


def convert_function(dwarf: Dwarf, address: int) -> tuple[Btf, int] | None:
    """Return the types of the function that starts at an address, as BTF, and the id of its ``Func``.

    Raises:
        DecodeError: the DWARF is damaged.
    """
    entry = find_function(dwarf, address)
    if entry is None:
        return None
    converter = _Converter(dwarf)
    return converter.convert(entry)


class _Converter:
    """Numbers types in the order in which they are first referred to, and encodes them in the same order."""

    def __init__(self, dwarf: Dwarf) -> None:
        self._dwarf = dwarf
        self._builder = BtfBuilder()
        self._ids: dict[_Node, int] = {}
        self._queue: list[_Node] = []

    def convert(self, function: Entry) -> tuple[Btf, int]:
        """Encode a function with all that it needs."""
        params: list[tuple[str, int]] = []
        name = attribute_of(self._dwarf, function, c.AT_NAME)
        for child in function.unit.children(function):
            if child.tag == c.TAG_FORMAL_PARAMETER:
                called = attribute_of(self._dwarf, child, c.AT_NAME)
                kind = attribute_of(self._dwarf, child, c.AT_TYPE)
                params.append((str(called or f"arg{len(params)}"), self._id(kind)))
            elif child.tag == c.TAG_UNSPECIFIED_PARAMETERS:
                params.append(("", 0))
        result = self._id(attribute_of(self._dwarf, function, c.AT_TYPE))
        while self._queue:
            self._emit(self._queue.pop(0))
        builder = self._builder
        proto = builder.append(t.FuncProto(tuple(t.Param(n, i) for n, i in params), result))
        func = builder.append(t.Func(str(name or ""), proto, 0))
        return Btf(builder.build()), func

    def _id(self, node: object) -> int:
        """Return the id that a type has or will have; 0 for void and for what lies in another file."""
        if not isinstance(node, (int, tuple)) or (isinstance(node, int) and node < 0):
            return 0
        if isinstance(node, int) and node not in self._ids:
            entry = self._dwarf.entry(node)
            if entry.tag in (c.TAG_UNSPECIFIED_TYPE, c.TAG_ATOMIC_TYPE):
                self._ids[node] = self._id(entry.reference(c.AT_TYPE))
                return self._ids[node]
        if node not in self._ids:
            self._ids[node] = len(self._queue) + self._builder.next_id + self._busy
            self._queue.append(node)
        return self._ids[node]

    _busy = 0

    def _emit(self, node: _Node) -> None:
        self._busy = 1
        new = self._array_part(node) if isinstance(node, tuple) else self._convert(self._dwarf.entry(node))
        self._busy = 0
        made = self._builder.append(new)
        assert made == self._ids[node]

    def _convert(self, entry: Entry) -> t.BtfType:
        target: Callable[[], int] = lambda: self._id(entry.reference(c.AT_TYPE))  # noqa: E731
        if entry.tag == c.TAG_BASE_TYPE:
            return _base_type(entry)
        if entry.tag in _POINTERS:
            return t.Ptr(target())
        if entry.tag == c.TAG_PTR_TO_MEMBER_TYPE:
            return t.Int("pointer to member", entry.number(c.AT_BYTE_SIZE, 8), 64, False)
        if entry.tag == c.TAG_TYPEDEF:
            return t.Typedef(entry.name or "anonymous", target())
        if entry.tag in _MODIFIERS:
            return _MODIFIERS[entry.tag](target())
        if entry.tag in _COMPOSITES:
            return self._composite(entry)
        if entry.tag == c.TAG_ENUMERATION_TYPE:
            return self._enumeration(entry)
        if entry.tag == c.TAG_ARRAY_TYPE:
            return self._array(entry, 0)
        if entry.tag == c.TAG_SUBROUTINE_TYPE:
            params = [
                t.Param("", self._id(child.reference(c.AT_TYPE)))
                for child in entry.unit.children(entry)
                if child.tag == c.TAG_FORMAL_PARAMETER
            ]
            return t.FuncProto(tuple(params), target())
        return t.Typedef(entry.name or "unknown", 0)

    def _composite(self, entry: Entry) -> t.BtfType:
        union = entry.tag == c.TAG_UNION_TYPE
        if entry.attributes.get(c.AT_DECLARATION):
            return t.Fwd(entry.name, union)
        members: list[t.Member] = []
        for child in entry.unit.children(entry):
            # A static member of a class has no place in it.
            if child.tag not in (c.TAG_MEMBER, c.TAG_INHERITANCE) or child.attributes.get(c.AT_EXTERNAL):
                continue
            kind = child.reference(c.AT_TYPE)
            if kind is None or len(members) == _MAX_MEMBERS:
                continue
            bits, offset = _bit_field(self._dwarf, child, kind)
            members.append(t.Member(child.name, self._id(kind), offset, bits))
        fits = all(m.bit_offset < 1 << 24 for m in members)
        if not fits:  # BTF with bit-fields has 24 bits for the offset
            members = [m for m in members if not m.bitfield_size]
        size = entry.number(c.AT_BYTE_SIZE)
        make = t.Union if union else t.Struct
        return make(entry.name, size, tuple(members))

    def _enumeration(self, entry: Entry) -> t.BtfType:
        size = entry.number(c.AT_BYTE_SIZE, 4)
        values = [
            (child.name, child.number(c.AT_CONST_VALUE))
            for child in entry.unit.children(entry)
            if child.tag == c.TAG_ENUMERATOR
        ][:_MAX_MEMBERS]
        signed = any(value < 0 for _, value in values)
        width = 64 if size > 4 else 32
        low = -(1 << (width - 1)) if signed else 0
        high = 1 << (width - 1 if signed else width)
        constants = tuple(t.Enumerator(name, value if low <= value < high else 0) for name, value in values)
        return (t.Enum64 if size > 4 else t.Enum)(entry.name, size, signed, constants)

    def _array(self, entry: Entry, dimension: int) -> t.BtfType:
        counts = [_count(child) for child in entry.unit.children(entry) if child.tag == c.TAG_SUBRANGE_TYPE] or [0]
        last = dimension == len(counts) - 1
        element = self._id(entry.reference(c.AT_TYPE)) if last else self._id(("array", entry.offset, dimension + 1))
        return t.Array(element, self._id(("index", 0, 0)), counts[dimension])

    def _array_part(self, node: tuple[str, int, int]) -> t.BtfType:
        if node[0] == "index":
            return t.Int("__ARRAY_SIZE_TYPE__", 4, 32, False)
        return self._array(self._dwarf.entry(node[1]), node[2])


def _count(entry: Entry) -> int:
    if c.AT_COUNT in entry.attributes:
        found = entry.number(c.AT_COUNT)
    elif c.AT_UPPER_BOUND in entry.attributes:
        found = entry.number(c.AT_UPPER_BOUND, -1) + 1
    else:
        found = 0
    return found if 0 <= found < 1 << 32 else 0


def _base_type(entry: Entry) -> t.BtfType:
    size = entry.number(c.AT_BYTE_SIZE)
    encoding = entry.number(c.AT_ENCODING)
    if encoding in (c.ATE_FLOAT, c.ATE_COMPLEX_FLOAT, c.ATE_DECIMAL_FLOAT) and size in (2, 4, 8, 12, 16):
        return t.Float(entry.name, size)
    if size not in (1, 2, 4, 8, 16):
        raise DecodeError(f"DWARF type {entry.name} has {size} bytes", offset=entry.offset)
    signed = encoding in (c.ATE_SIGNED, c.ATE_SIGNED_CHAR)
    return t.Int(entry.name, size, 8 * size, signed, is_bool=encoding == c.ATE_BOOLEAN)


def _bit_field(dwarf: Dwarf, member: Entry, kind: int) -> tuple[int, int]:
    """Return (width in bits, 0 if it is no bit-field, and offset in bits) of a member."""
    location = member.attributes.get(c.AT_DATA_MEMBER_LOCATION, 0)
    offset = 8 * location if isinstance(location, int) else 8 * _constant_location(location)
    bits = member.number(c.AT_BIT_SIZE)
    if not bits:
        return 0, offset
    if c.AT_DATA_BIT_OFFSET in member.attributes:
        return bits, member.number(c.AT_DATA_BIT_OFFSET)
    # Before DWARF 4 the bits are counted from the most significant one of the storage unit.
    storage = member.number(c.AT_BYTE_SIZE) or dwarf.entry(kind).number(c.AT_BYTE_SIZE, 4)
    return bits, offset + 8 * storage - bits - member.number(c.AT_BIT_OFFSET)


def _constant_location(block: object) -> int:
    """Return the number that the expression ``DW_OP_plus_uconst N`` adds."""
    from trapline.debuginfo.dwarf import uleb

    if isinstance(block, bytes) and block[:1] == b"\x23":
        return uleb(block, 1)[0]
    return 0
