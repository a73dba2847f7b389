"""Kernel types as types of the language: BTF → `trapline.frontends.bpftrace.types`."""

from __future__ import annotations

from collections.abc import Iterator

from trapline import btf as b
from trapline.frontends.bpftrace import types as t
from trapline.ir.types import Space
from trapline.records import record

_MAX_DEPTH = 32


@record(frozen=True)
class BtfMembers:
    """The members of struct or union `type_id`, read when asked for."""

    btf: b.Btf
    type_id: int
    space: Space

    def field(self, name: str) -> t.FieldInfo | None:
        """Find a member, also in anonymous structs and unions."""
        found = self.btf.field(self.type_id, name)
        return self._info(found) if found else None

    def fields(self) -> Iterator[t.FieldInfo]:
        """Iterate over the members in order."""
        for found in self.btf.fields(self.type_id):
            yield self._info(found)

    def _info(self, found: b.Field) -> t.FieldInfo:
        kind = from_btf(self.btf, found.type, self.space)
        if found.bitfield_size:
            return t.FieldInfo(found.name, kind, found.bit_offset >> 3, found.bit_offset & 7, found.bitfield_size)
        return t.FieldInfo(found.name, kind, found.offset)


@record(frozen=True)
class NamedMembers:
    """Members given one by one."""

    items: tuple[t.FieldInfo, ...]

    def field(self, name: str) -> t.FieldInfo | None:
        """Find a member."""
        return next((f for f in self.items if f.name == name), None)

    def fields(self) -> Iterator[t.FieldInfo]:
        """Iterate over the members in order."""
        yield from self.items


def from_btf(btf: b.Btf, type_id: int, space: Space = Space.KERNEL, depth: int = 0) -> t.Type:
    """Convert a kernel type.

    Args:
        btf: where the id lives.
        type_id: the type.
        space: the address space of pointers that carry no tag of their own.
        depth: levels of pointers and arrays above.

    Returns:
        ``char[n]`` is a string, other arrays are arrays; functions and incomplete types are void.
    """
    resolved, tags = btf.resolve_tags(type_id)
    found = btf.type(resolved)
    if isinstance(found, b.Int):
        if found.is_bool or found.name in ("_Bool", "bool"):
            return t.BOOL
        return t.IntT(min(found.size, 8), found.signed or found.name == "char")
    if isinstance(found, b.Ptr):
        if depth > _MAX_DEPTH:
            return t.PtrT(t.VOID, space)
        target_tags = btf.resolve_tags(found.target)[1]
        own = Space.USER if "user" in (*tags, *target_tags) else space
        return t.PtrT(from_btf(btf, found.target, own, depth + 1), own)
    if isinstance(found, b.Array):
        if _is_char(btf, found.element):
            return t.StringT(found.count)
        return t.ArrayT(from_btf(btf, found.element, space, depth + 1), found.count)
    if isinstance(found, b.Struct | b.Union):
        tag = "struct" if isinstance(found, b.Struct) else "union"
        name = f"{tag} {found.name}" if found.name else f"{tag} (anonymous {resolved})"
        return t.RecordT(name, found.size, BtfMembers(btf, resolved, space))
    if isinstance(found, b.Enum | b.Enum64):
        return t.EnumT(found.name, found.size, found.signed, tuple((v.value, v.name) for v in found.values))
    if isinstance(found, b.Float):
        return t.IntT(min(found.size, 8), False)
    if isinstance(found, b.Fwd):
        full = btf.find(found.name, b.Union if found.union else b.Struct)
        if full is not None:
            return from_btf(btf, full, space, depth)
        return t.RecordT(f"{'union' if found.union else 'struct'} {found.name}", 0, NamedMembers(()))
    return t.VOID


def _is_char(btf: b.Btf, type_id: int) -> bool:
    found = btf.resolved(type_id)
    return isinstance(found, b.Int) and found.name == "char"


def find_type(btf: b.Btf, tag: str, name: str, space: Space = Space.KERNEL) -> t.Type | None:
    """Find a kernel type by name.

    Args:
        btf: the kernel's types.
        tag: ``struct``, ``union``, ``enum``, or empty for a typedef, a base type or a tag without its keyword.
        name: the name.
        space: the address space of pointers inside.
    """
    kinds: tuple[tuple[type[b.Struct | b.Union | b.Enum | b.Enum64 | b.Typedef | b.Int], ...], ...]
    if tag == "struct":
        kinds = ((b.Struct,),)
    elif tag == "union":
        kinds = ((b.Union,),)
    elif tag == "enum":
        kinds = ((b.Enum, b.Enum64),)
    else:
        kinds = ((b.Typedef, b.Int), (b.Struct, b.Union, b.Enum, b.Enum64))
    for group in kinds:
        type_id = btf.find(name, *group)
        if type_id is not None:
            return from_btf(btf, type_id, space)
    return None
