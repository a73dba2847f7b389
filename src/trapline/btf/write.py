"""Write BTF: small blobs for func_info, map keys and values, and tests."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct, pack

from trapline.btf import types as t
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.btf.reader import TypeStore

_HEADER = Struct("<HBBIIIII")  # struct btf_header
_TYPE = Struct("<III")  # struct btf_type


class BtfBuilder:
    """Collects types and strings, then encodes them.

    Args:
        base: the kernel's BTF, to write split BTF on top of it; ids and string offsets then start after the base's.
    """

    def __init__(self, base: TypeStore | None = None) -> None:
        self._base = base
        self._first = base.end_id if base else 1
        self._string_base = base.string_limit if base else 0
        self._strings = bytearray() if base else bytearray(b"\0")
        self._offsets: dict[str, int] = {"": 0}
        self._types: list[bytes] = []
        self._ids: dict[t.BtfType, int] = {t.Void(): 0}

    @property
    def next_id(self) -> int:
        """The id that the next new type gets: for types that refer to later ones."""
        return self._first + len(self._types)

    def string(self, text: str) -> int:
        """Add a string (a source line, a file name); returns its offset."""
        offset = self._offsets.get(text)
        if offset is None:
            encoded = text.encode("utf-8", "replace")
            if b"\0" in encoded:
                raise ValueError("a BTF string cannot contain NUL")
            offset = self._offsets[text] = self._string_base + len(self._strings)
            self._strings += encoded + b"\0"
        return offset

    def add(self, new: t.BtfType) -> int:
        """Add a type unless an equal one is there already; returns its id."""
        found = self._ids.get(new)
        return self.append(new) if found is None else found

    def append(self, new: t.BtfType) -> int:
        """Add a type, even if an equal one is there already; returns its id."""
        type_id = self.next_id
        self._types.append(self._encode(new))
        self._ids.setdefault(new, type_id)
        return type_id

    def add_int(self, name: str, size: int, *, signed: bool = False) -> int:
        """Add an integer of `size` bytes; returns its id."""
        return self.add(t.Int(name, size, 8 * size, signed))

    def add_ptr(self, target: int = 0) -> int:
        """Add a pointer to a type id (0: ``void *``); returns its id."""
        return self.add(t.Ptr(target))

    def add_array(self, element: int, count: int) -> int:
        """Add an array; returns its id."""
        return self.add(t.Array(element, self.add_int("__ARRAY_SIZE_TYPE__", 4), count))

    def add_struct(self, name: str, size: int, members: Iterable[tuple[str, int, int]]) -> int:
        """Add a struct of (name, type id, byte offset) members; returns its id."""
        return self.add(t.Struct(name, size, tuple(t.Member(n, i, 8 * offset) for n, i, offset in members)))

    def add_func(self, name: str, params: Iterable[tuple[str, int]], ret: int, *, linkage: int = 0) -> int:
        """Add a function with its prototype of (name, type id) parameters; returns its id."""
        proto = self.add(t.FuncProto(tuple(t.Param(n, i) for n, i in params), ret))
        return self.add(t.Func(name, proto, linkage))

    def build(self) -> bytes:
        """Encode everything added so far as BTF."""
        types = b"".join(self._types)
        header = _HEADER.pack(0xEB9F, 1, 0, _HEADER.size, 0, len(types), len(types), len(self._strings))
        return header + types + bytes(self._strings)

    def _head(self, name: str, kind: int, count: int, value: int, flag: bool = False) -> bytes:
        if not 0 <= count <= 0xFFFF:
            raise ValueError(f"{count} parts are too many for a BTF type")
        return _TYPE.pack(self.string(name), flag << 31 | kind << 24 | count, value)

    def _encode(self, new: t.BtfType) -> bytes:
        kind = new.KIND
        if isinstance(new, t.Int):
            coding = new.signed * t.BTF_INT_SIGNED | new.is_char * t.BTF_INT_CHAR | new.is_bool * t.BTF_INT_BOOL
            return self._head(new.name, kind, 0, new.size) + pack("<I", coding << 24 | new.offset << 16 | new.bits)
        if isinstance(new, (t.Struct, t.Union)):
            return self._encode_composite(new)
        if isinstance(new, (t.Enum, t.Enum64)):
            return self._encode_enum(new)
        if isinstance(new, t.Array):
            return self._head("", kind, 0, 0) + pack("<III", new.element, new.index, new.count)
        if isinstance(new, t.FuncProto):
            body = b"".join(pack("<II", self.string(p.name), p.type) for p in new.params)
            return self._head("", kind, len(new.params), new.ret) + body
        if isinstance(new, t.Func):
            return self._head(new.name, kind, new.linkage, new.proto)
        if isinstance(new, t.Var):
            return self._head(new.name, kind, 0, new.type) + pack("<I", new.linkage)
        if isinstance(new, t.DataSec):
            body = b"".join(pack("<III", v.type, v.offset, v.size) for v in new.variables)
            return self._head(new.name, kind, len(new.variables), new.size) + body
        if isinstance(new, t.DeclTag):
            return self._head(new.name, kind, 0, new.target, new.attribute) + pack("<i", new.component_idx)
        if isinstance(new, t.TypeTag):
            return self._head(new.name, kind, 0, new.target, new.attribute)
        if isinstance(new, t.Fwd):
            return self._head(new.name, kind, 0, 0, new.union)
        if isinstance(new, t.Float):
            return self._head(new.name, kind, 0, new.size)
        if isinstance(new, t.Typedef):
            return self._head(new.name, kind, 0, new.target)
        if isinstance(new, t.Void):
            raise ValueError("void is type 0 and cannot be added")
        return self._head("", kind, 0, new.target)

    def _encode_composite(self, new: t.Struct | t.Union) -> bytes:
        flag = any(m.bitfield_size for m in new.members)
        body = bytearray()
        for member in new.members:
            if flag and (member.bit_offset >= 1 << 24 or member.bitfield_size >= 1 << 8):
                raise ValueError(f"bitfield {member.name} does not fit into BTF")
            body += pack("<III", self.string(member.name), member.type, member.bitfield_size << 24 | member.bit_offset)
        return self._head(new.name, new.KIND, len(new.members), new.size, flag) + bytes(body)

    def _encode_enum(self, new: t.Enum | t.Enum64) -> bytes:
        width = 4 if isinstance(new, t.Enum) else 8
        body = bytearray()
        for constant in new.values:
            body += pack("<I", self.string(constant.name))
            body += constant.value.to_bytes(width, "little", signed=new.signed)
        return self._head(new.name, new.KIND, len(new.values), new.size, new.signed) + bytes(body)
