"""clang's types → `ctype`."""

from __future__ import annotations

from trapline.clang import ctype as c
from trapline.clang.c_api import Cursor, Type
from trapline.errors import InternalError

_INTEGERS = {
    "Bool": c.INTEGERS["_Bool"],
    "Char_S": c.INTEGERS["char"],
    "Char_U": c.INTEGERS["char"],
    "SChar": c.INTEGERS["signed char"],
    "UChar": c.INTEGERS["unsigned char"],
    "Short": c.INTEGERS["short"],
    "UShort": c.INTEGERS["unsigned short"],
    "Int": c.INTEGERS["int"],
    "UInt": c.INTEGERS["unsigned int"],
    "Long": c.INTEGERS["long"],
    "ULong": c.INTEGERS["unsigned long"],
    "LongLong": c.INTEGERS["long long"],
    "ULongLong": c.INTEGERS["unsigned long long"],
    "Int128": c.INTEGERS["__int128"],
    "UInt128": c.INTEGERS["unsigned __int128"],
}


class UnknownTypeError(Exception):
    """A type that BPF programs cannot have (floating point, vectors, variable length); the reader adds the place."""

    def __init__(self, spelling: str) -> None:
        super().__init__(spelling)
        self.spelling = spelling


class TypeReader:
    """Reads types, keeping one `CRecord` per declaration."""

    def __init__(self) -> None:
        self._records: dict[Cursor, c.CRecord] = {}

    def read(self, type_: Type) -> c.CType:
        """Return the type; typedefs and qualifiers are looked through.

        Raises:
            UnknownTypeError: a type that has no place in BPF.
        """
        type_ = type_.get_canonical()
        kind = type_.kind
        integer = _INTEGERS.get(kind)
        if integer is not None:
            return integer
        if kind == "Pointer":
            return c.CPointer(type_.spelling, lambda: self.read(type_.get_pointee()))
        if kind == "Record":
            return self._record(type_)
        if kind == "ConstantArray":
            return c.CArray(self.read(type_.element_type), type_.element_count)
        if kind == "IncompleteArray":
            return c.CArray(self.read(type_.element_type), 0)
        if kind == "Enum":
            return self._enum(type_)
        if kind == "Void":
            return c.VOID
        if kind in ("FunctionProto", "FunctionNoProto"):
            return c.CFunction(type_.spelling)
        raise UnknownTypeError(type_.spelling)

    def _enum(self, type_: Type) -> c.CInt:
        declaration = type_.get_declaration()
        base = self.read(declaration.enum_type)
        if not isinstance(base, c.CInt):
            raise InternalError(f"enum {declaration.spelling} of {base}")
        name = "" if declaration.is_anonymous() else declaration.spelling
        return c.CInt(base.name, base.size, base.signed, base.rank, name or "(anonymous)")

    def _record(self, type_: Type) -> c.CRecord:
        declaration = type_.get_declaration()
        known = self._records.get(declaration)
        if known is not None:
            return known
        size = type_.get_size()
        record = self._records[declaration] = c.CRecord(
            key=f"{len(self._records)}:{type_.spelling}",
            name="" if declaration.is_anonymous() else declaration.spelling,
            union=declaration.kind == "UnionDecl",
            size=max(size, 0),
            align=max(type_.get_align(), 1),
            resolve=lambda: tuple(self.field(f) for f in type_.get_fields()),
            complete=size >= 0,
            find_annotations=lambda: frozenset(
                child.spelling for child in declaration.get_children() if child.kind == "attribute(annotate)"
            ),
        )
        return record

    def field(self, declaration: Cursor) -> c.CField:
        """Return the member that a ``FIELD_DECL`` declares."""
        width = declaration.get_bitfield_width() if declaration.is_bitfield() else 0
        anonymous = not declaration.spelling or " at " in declaration.spelling
        name = "" if anonymous else declaration.spelling
        return c.CField(name, self.read(declaration.type), declaration.get_field_offsetof(), width)
