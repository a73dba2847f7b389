"""clang's types → `ctype`."""

from __future__ import annotations

from trapline.clang import ctype as c
from trapline.clang.libclang import Api, Cursor
from trapline.errors import InternalError
from trapline.hints import Any

_INTEGER_KINDS = {
    "BOOL": "_Bool",
    "CHAR_S": "char",
    "CHAR_U": "char",
    "SCHAR": "signed char",
    "UCHAR": "unsigned char",
    "SHORT": "short",
    "USHORT": "unsigned short",
    "INT": "int",
    "UINT": "unsigned int",
    "LONG": "long",
    "ULONG": "unsigned long",
    "LONGLONG": "long long",
    "ULONGLONG": "unsigned long long",
    "INT128": "__int128",
    "UINT128": "unsigned __int128",
}


class UnknownTypeError(Exception):
    """A type that BPF programs cannot have (floating point, vectors, variable length); the reader adds the place."""

    def __init__(self, spelling: str) -> None:
        super().__init__(spelling)
        self.spelling = spelling


class TypeReader:
    """Reads types, keeping one `CRecord` per declaration."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._records: dict[int, list[tuple[Cursor, c.CRecord]]] = {}
        self._integers: dict[Any, c.CInt] = {
            getattr(api.type_kinds, kind): c.INTEGERS[name]
            for kind, name in _INTEGER_KINDS.items()
            if hasattr(api.type_kinds, kind)
        }

    def read(self, type_: Any) -> c.CType:
        """Return the type; typedefs and qualifiers are looked through.

        Raises:
            UnknownTypeError: a type that has no place in BPF.
        """
        kinds = self._api.type_kinds
        type_ = type_.get_canonical()
        kind = type_.kind
        integer = self._integers.get(kind)
        if integer is not None:
            return integer
        if kind == kinds.POINTER:
            return c.CPointer(type_.spelling, lambda: self.read(type_.get_pointee()))
        if kind == kinds.RECORD:
            return self._record(type_)
        if kind == kinds.CONSTANTARRAY:
            return c.CArray(self.read(type_.element_type), type_.element_count)
        if kind == kinds.INCOMPLETEARRAY:
            return c.CArray(self.read(type_.element_type), 0)
        if kind == kinds.ENUM:
            return self._enum(type_)
        if kind == kinds.VOID:
            return c.VOID
        if kind in (kinds.FUNCTIONPROTO, kinds.FUNCTIONNOPROTO):
            return c.CFunction(type_.spelling)
        raise UnknownTypeError(type_.spelling)

    def _enum(self, type_: Any) -> c.CInt:
        declaration = type_.get_declaration()
        base = self.read(declaration.enum_type)
        if not isinstance(base, c.CInt):
            raise InternalError(f"enum {declaration.spelling} of {base}")
        name = "" if declaration.is_anonymous() else declaration.spelling
        return c.CInt(base.name, base.size, base.signed, base.rank, name or "(anonymous)")

    def _record(self, type_: Any) -> c.CRecord:
        declaration = type_.get_declaration()
        known = self._records.setdefault(declaration.hash, [])
        for cursor, record in known:
            if cursor == declaration:
                return record
        size = type_.get_size()
        record = c.CRecord(
            key=f"{declaration.hash}:{len(known)}:{type_.spelling}",
            name="" if declaration.is_anonymous() else declaration.spelling,
            union=declaration.kind == self._api.kinds.UNION_DECL,
            size=max(size, 0),
            align=max(type_.get_align(), 1),
            resolve=lambda: tuple(self.field(f) for f in type_.get_fields()),
            complete=size >= 0,
            find_annotations=lambda: frozenset(
                child.spelling for child in declaration.get_children() if child.kind == self._api.kinds.ANNOTATE_ATTR
            ),
        )
        known.append((declaration, record))
        return record

    def field(self, declaration: Cursor) -> c.CField:
        """Return the member that a ``FIELD_DECL`` declares."""
        width = declaration.get_bitfield_width() if declaration.is_bitfield() else 0
        anonymous = not declaration.spelling or " at " in declaration.spelling
        name = "" if anonymous else declaration.spelling
        return c.CField(name, self.read(declaration.type), declaration.get_field_offsetof(), width)
