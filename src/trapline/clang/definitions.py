"""What a parsed text defines, by name: types, enumerators, macros."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.clang import ctype as c
from trapline.clang.c_api import Cursor, Type
from trapline.clang.read_types import TypeReader, UnknownTypeError
from trapline.clang.unit import SUPPLIED, Unit
from trapline.records import record

_USER_TAG = 'btf_type_tag("user")))'
_TAGS = {"StructDecl": "struct", "UnionDecl": "union", "EnumDecl": "enum"}


@record(frozen=True)
class CMacro:
    """A ``#define``: `body` is its text without comments and blanks, `parameters` tells ``F(x)`` from ``F``."""

    name: str
    body: str
    parameters: bool


@record(frozen=True)
class CConstant:
    """A constant and its C type."""

    value: int
    type: c.CInt


class _Types(TypeReader):
    """Reads types; what BPF programs cannot handle (floating point …) is without a type, but has a size.

    A pointer keeps its tag ``user``, which libclang shows only in the text of the type as it is written.
    """

    def read(self, type_: Type) -> c.CType:
        written = type_
        while written.kind == "Typedef":
            written = written.get_declaration().underlying_typedef_type
        if written.kind == "Pointer":
            user = written.spelling.rpartition("*")[0].rstrip().endswith(_USER_TAG)
            return c.CPointer(written.spelling, lambda: self.read(written.get_pointee()), user=user)
        if written.kind == "ConstantArray":
            return c.CArray(self.read(written.element_type), written.element_count)
        try:
            return super().read(type_)
        except UnknownTypeError:
            return c.CVoid(max(type_.get_size(), 0))


class Definitions:
    """What a unit defines.

    Args:
        unit: the parsed text.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._types = _Types()
        self._declared: dict[tuple[str, str], Cursor] = {}
        self._constants: dict[str, tuple[Cursor, Cursor]] = {}
        self._macros: dict[str, Cursor] = {}
        for cursor in unit.unit.cursor.get_children():
            if cursor.kind == "macro definition":
                self._macros[cursor.spelling] = cursor
            else:
                self._declare(cursor)

    def _declare(self, cursor: Cursor) -> None:
        kind = cursor.kind
        if kind == "TypedefDecl":
            if not _is_supplied(cursor):
                self._declared["", cursor.spelling] = cursor
            return
        tag = _TAGS.get(kind)
        if tag is None or not cursor.is_definition():
            return
        if not cursor.is_anonymous() and not _is_supplied(cursor):
            self._declared[tag, cursor.spelling] = cursor
        for child in cursor.get_children():
            if child.kind == "EnumConstantDecl":
                if not _is_supplied(child):
                    self._constants[child.spelling] = child, cursor
            else:
                self._declare(child)

    def type(self, tag: str, name: str) -> c.CType | None:
        """Return the type that a name means; `tag` is ``struct``, ``union``, ``enum``, or empty for a typedef."""
        cursor = self._declared.get((tag, name))
        return None if cursor is None else self._types.read(cursor.type)

    def enumerator(self, name: str) -> CConstant | None:
        """Return an enumerator."""
        found = self._constants.get(name)
        if found is None:
            return None
        kind = self._types.read(found[1].type)
        assert isinstance(kind, c.CInt)
        return CConstant(found[0].enum_value, kind)

    def enumerators(self, tag: str) -> tuple[tuple[int, str], ...]:
        """Return (value, name) of all enumerators of an enum, in order."""
        cursor = self._declared.get(("enum", tag))
        return () if cursor is None else _enumerators(cursor)

    def siblings(self, name: str) -> tuple[tuple[int, str], ...]:
        """Return (value, name) of all enumerators of the enum that an enumerator belongs to."""
        found = self._constants.get(name)
        return () if found is None else _enumerators(found[1])

    def macro(self, name: str) -> CMacro | None:
        """Return a macro that has a body."""
        cursor = self._macros.get(name)
        if cursor is None:
            return None
        tokens = [text for kind, text in cursor.get_tokens() if kind != "comment"][1:]
        body = "".join(_joined(tokens))
        return CMacro(name, body, cursor.is_macro_function_like()) if body else None

    def evaluate(self, name: str) -> CConstant | None:
        """Return the value of a macro without parameters as C sees it, or ``None`` when it is no integer constant."""
        variable = self._unit.evaluate(name)
        if variable is None:
            return None
        kind, initialiser = self._types.read(variable.type), variable.get_initialiser()
        value = None if initialiser is None else initialiser.evaluate()
        return CConstant(kind.wrap(value), kind) if isinstance(kind, c.CInt) and value is not None else None


def _enumerators(cursor: Cursor) -> tuple[tuple[int, str], ...]:
    return tuple((v.enum_value, v.spelling) for v in cursor.get_children() if v.kind == "EnumConstantDecl")


def _joined(tokens: list[str]) -> Iterator[str]:
    """Put blanks between tokens that would be one without."""
    last = ""
    for text in tokens:
        if last and _is_word(last[-1]) and _is_word(text[0]):
            yield " "
        yield text
        last = text


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _is_supplied(cursor: Cursor) -> bool:
    """Whether a declaration comes from the kernel's types, which are read where they are complete."""
    return cursor.location.file == SUPPLIED
