"""C types of a program's definitions and headers as types of the language: `clang.ctype` → `types`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trapline.clang import ctype as c
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import NamedMembers
from trapline.ir.types import Space
from trapline.records import field, record

_MAX_DEPTH = 32

# Finds a type of the program or the kernel by tag and name.
FindType = Callable[[str, str, Space], t.Type | None]


@record(frozen=True)
class CMembers:
    """The members of a C struct or union, converted when asked for."""

    record: c.CRecord
    space: Space
    find: FindType = field(compare=False, repr=False)

    def field(self, name: str) -> t.FieldInfo | None:
        """Find a member, also in anonymous structs and unions."""
        return next((f for f in self.fields() if f.name == name), None)

    def fields(self) -> Iterator[t.FieldInfo]:
        """Iterate over the members in order."""
        yield from self._fields(self.record, 0)

    def _fields(self, record_: c.CRecord, start: int) -> Iterator[t.FieldInfo]:
        for member in record_.fields:
            at = start + member.offset_bits
            if member.name:
                kind = from_c(member.type, self.space, self.find)
                bit = at & 7 if member.width else 0
                yield t.FieldInfo(member.name, kind, at >> 3, bit, member.width)
            elif isinstance(member.type, c.CRecord):
                yield from self._fields(member.type, at)


def from_c(type_: c.CType, space: Space, find: FindType, depth: int = 0) -> t.Type:
    """Convert a C type.

    Args:
        type_: the C type.
        space: the address space that its pointers point to.
        find: finds what the text only declares, and the enumerators of enums.
        depth: levels of pointers above.

    Returns:
        ``char[n]`` is a string, other arrays are arrays, ``_Bool`` is a number (as bpftrace has it); functions and
        floating-point numbers are void.
    """
    if isinstance(type_, c.CInt):
        return _integer(type_, space, find)
    if isinstance(type_, c.CPointer):
        own = Space.USER if type_.user else space
        return t.PtrT(t.VOID if depth > _MAX_DEPTH else from_c(type_.pointee, own, find, depth + 1), own)
    if isinstance(type_, c.CArray):
        if isinstance(type_.element, c.CInt) and type_.element.name == "char" and not type_.element.enum:
            return t.StringT(type_.count)
        return t.ArrayT(from_c(type_.element, space, find, depth), type_.count)
    if isinstance(type_, c.CRecord):
        tag = "union" if type_.union else "struct"
        if type_.complete:
            name = f"{tag} {type_.name}" if type_.name else f"{tag} (anonymous {type_.key})"
            return t.RecordT(name, type_.size, CMembers(type_, space, find))
        return find(tag, type_.name, space) or t.RecordT(f"{tag} {type_.name}", 0, NamedMembers(()))
    return t.VOID


def _integer(type_: c.CInt, space: Space, find: FindType) -> t.Type:
    if type_.enum:
        found = find("enum", type_.enum, space)
        if isinstance(found, t.EnumT):
            return found
    return t.IntT(min(type_.size, 8), type_.signed)
