"""libclang's C functions that we use, as objects: units, cursors, types, places.

Methods have the names of the package's own binding, ``clang.cindex``, and kinds those that clang gives them
(``VarDecl``, ``Pointer``).  The binding itself is not imported: its enumerations of all kinds, and what else it brings,
took a seventh of a cold start of a C text.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from trapline.clang.c_functions import Functions
from trapline.errors import FeatureMissingError, InternalError
from trapline.hints import Any, NamedTuple
from trapline.shared_library import open_library

FILE = "libclang.so"
_HINT = "install the release that trapline needs: pip install 'libclang-ng>=22,<23'"
_INTEGER_RESULT = 1  # CXEval_Int
_CONTINUE = 1  # CXChildVisit_Continue, CXVisit_Continue
_STORAGE = {2: "extern", 3: "static"}  # CX_StorageClass

_UNSIGNED = ("Bool", "Char_U", "UChar", "UShort", "UInt", "ULong", "ULongLong", "UInt128")
_UNARY_OPERATORS = {
    1: "x++",
    2: "x--",
    3: "++x",
    4: "--x",
    5: "&",
    6: "*",
    7: "+",
    8: "-",
    9: "~",
    10: "!",
    13: "__extension__",
}


class _String(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("flags", ctypes.c_uint))


class _Token(ctypes.Structure):
    _fields_ = (("numbers", ctypes.c_uint * 4), ("data", ctypes.c_void_p))


class _UnsavedFile(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("contents", ctypes.c_char_p), ("length", ctypes.c_ulong))


class _OfUnit(ctypes.Structure):
    """What is valid as long as its unit is."""

    unit: TranslationUnit

    def _owned(self, value: Any) -> Any:
        value.unit = self.unit
        return value


class Location(_OfUnit):
    """A place in a file; one in a macro's body is where the macro is used."""

    _fields_ = (("pointers", ctypes.c_void_p * 2), ("number", ctypes.c_uint))
    _found: tuple[str | None, int, int] | None = None

    def _place(self) -> tuple[str | None, int, int]:
        if self._found is None:
            file, line, column, offset = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
            _lib().getInstantiationLocation(self, *map(ctypes.byref, (file, line, column, offset)))
            self._found = self.unit.file_name(file.value), line.value, offset.value
        return self._found

    @property
    def file(self) -> str | None:
        """The file's path; ``None`` outside of all files."""
        return self._place()[0]

    @property
    def line(self) -> int:
        """The line, from 1 on."""
        return self._place()[1]

    @property
    def offset(self) -> int:
        """Bytes from the file's start on."""
        return self._place()[2]

    @property
    def in_main_file(self) -> bool:
        """Whether it stands in the unit's main file, in nothing that this includes."""
        return bool(_lib().Location_isFromMainFile(self))


class Range(_OfUnit):
    """From `start` up to `end`."""

    _fields_ = (("pointers", ctypes.c_void_p * 2), ("begin", ctypes.c_uint), ("finish", ctypes.c_uint))

    @property
    def start(self) -> Location:
        """Where it begins."""
        return self._owned(_lib().getRangeStart(self))  # type: ignore[no-any-return]

    @property
    def end(self) -> Location:
        """The place behind it."""
        return self._owned(_lib().getRangeEnd(self))  # type: ignore[no-any-return]


class Finding(NamedTuple):
    """What clang says of a text; a `severity` from 3 on is an error."""

    severity: int
    spelling: str
    location: Location
    ranges: tuple[Range, ...]


class Type(_OfUnit):
    """A type."""

    _fields_ = (("number", ctypes.c_int), ("pointers", ctypes.c_void_p * 2))

    @property
    def kind(self) -> str:
        """Its kind, such as ``Pointer``."""
        return _type_kind(self.number)

    @property
    def spelling(self) -> str:
        """The type as C text."""
        return _text(_lib().getTypeSpelling(self))

    @property
    def element_type(self) -> Type:
        """The type of an array's elements."""
        return self._owned(_lib().getElementType(self))  # type: ignore[no-any-return]

    @property
    def element_count(self) -> int:
        """How many elements an array has."""
        return int(_lib().getNumElements(self))

    def get_canonical(self) -> Type:
        """Return the type without typedefs."""
        return self._owned(_lib().getCanonicalType(self))  # type: ignore[no-any-return]

    def get_pointee(self) -> Type:
        """Return the type that a pointer points to."""
        return self._owned(_lib().getPointeeType(self))  # type: ignore[no-any-return]

    def get_declaration(self) -> Cursor:
        """Return the declaration of a struct, union, enum or typedef."""
        return self._owned(_lib().getTypeDeclaration(self))  # type: ignore[no-any-return]

    def get_size(self) -> int:
        """Return its size in bytes; negative when it has none."""
        return int(_lib().Type_getSizeOf(self))

    def get_align(self) -> int:
        """Return its alignment in bytes; negative when it has none."""
        return int(_lib().Type_getAlignOf(self))

    def is_const_qualified(self) -> bool:
        """Whether it is ``const`` itself."""
        return bool(_lib().isConstQualifiedType(self))

    def get_fields(self) -> list[Cursor]:
        """Return the members of a struct or union."""
        found: list[Cursor] = []

        def visit(field: Cursor, _: int) -> int:
            found.append(self._owned(field))
            return _CONTINUE

        _lib().Type_visitFields(self, _FIELD_VISITOR(visit), None)
        return found


class Cursor(_OfUnit):
    """A node of the tree."""

    _fields_ = (("number", ctypes.c_int), ("data", ctypes.c_int), ("pointers", ctypes.c_void_p * 3))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cursor) and bool(_lib().equalCursors(self, other))

    def __hash__(self) -> int:
        return int(_lib().hashCursor(self))

    @property
    def kind(self) -> str:
        """Its kind, such as ``VarDecl``."""
        return _cursor_kind(self.number)

    @property
    def is_expression(self) -> bool:
        """Whether it is an expression."""
        return _is_expression(self.number)

    @property
    def is_attribute(self) -> bool:
        """Whether it is an attribute."""
        return bool(_lib().isAttribute(self.number))

    @property
    def spelling(self) -> str:
        """Its name, or the text of an operator or literal."""
        return _text(_lib().getCursorSpelling(self))

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._owned(_lib().getCursorLocation(self))  # type: ignore[no-any-return]

    @property
    def extent(self) -> Range:
        """What it covers."""
        return self._owned(_lib().getCursorExtent(self))  # type: ignore[no-any-return]

    @property
    def type(self) -> Type:
        """The type of an expression or declaration."""
        return self._owned(_lib().getCursorType(self))  # type: ignore[no-any-return]

    @property
    def result_type(self) -> Type:
        """What a function returns."""
        return self._owned(_lib().getCursorResultType(self))  # type: ignore[no-any-return]

    @property
    def underlying_typedef_type(self) -> Type:
        """What a typedef stands for."""
        return self._owned(_lib().getTypedefDeclUnderlyingType(self))  # type: ignore[no-any-return]

    @property
    def enum_type(self) -> Type:
        """The integer type of an enum."""
        return self._owned(_lib().getEnumDeclIntegerType(self))  # type: ignore[no-any-return]

    @property
    def enum_value(self) -> int:
        """The value of an enumerator."""
        type_ = self.type.get_canonical()
        if type_.kind == "Enum":
            type_ = type_.get_declaration().enum_type.get_canonical()
        unsigned = type_.kind in _UNSIGNED
        return int((_lib().getEnumConstantDeclUnsignedValue if unsigned else _lib().getEnumConstantDeclValue)(self))

    @property
    def storage_class(self) -> str:
        """``extern``, ``static``, or empty, for a variable or function."""
        return _STORAGE.get(_lib().Cursor_getStorageClass(self), "")

    @property
    def referenced(self) -> Cursor:
        """The declaration that a name means."""
        return self._owned(_lib().getCursorReferenced(self))  # type: ignore[no-any-return]

    @property
    def semantic_parent(self) -> Cursor:
        """The declaration that a member belongs to."""
        return self._owned(_lib().getCursorSemanticParent(self))  # type: ignore[no-any-return]

    @property
    def unary_operator(self) -> str:
        """A unary operator (``x++`` against ``++x``)."""
        number = _lib().getCursorUnaryOperatorKind(self)
        return _UNARY_OPERATORS.get(number, f"operator {number}")

    def get_children(self) -> list[Cursor]:
        """Return its parts."""
        found: list[Cursor] = []

        def visit(child: Cursor, _parent: Cursor, _: int) -> int:
            found.append(self._owned(child))
            return _CONTINUE

        _lib().visitChildren(self, _CHILD_VISITOR(visit), None)
        return found

    def get_arguments(self) -> list[Cursor]:
        """Return the parameters of a function."""
        count = _lib().Cursor_getNumArguments(self)
        return [self._owned(_lib().Cursor_getArgument(self, index)) for index in range(count)]

    def get_definition(self) -> Cursor | None:
        """Return the definition of what it means; ``None`` when there is none in the unit."""
        return self._existing(_lib().getCursorDefinition(self))

    def get_initialiser(self) -> Cursor | None:
        """Return the initialiser of a variable, or ``None``."""
        return self._existing(_lib().Cursor_getVarDeclInitializer(self))

    def is_definition(self) -> bool:
        """Whether it declares and defines."""
        return bool(_lib().isCursorDefinition(self))

    def is_anonymous(self) -> bool:
        """Whether it is a struct, union or enum without a name."""
        return bool(_lib().Cursor_isAnonymous(self))

    def is_function_inlined(self) -> bool:
        """Whether a function is declared ``inline``."""
        return bool(_lib().Cursor_isFunctionInlined(self))

    def is_macro_function_like(self) -> bool:
        """Whether a macro has parameters."""
        return bool(_lib().Cursor_isMacroFunctionLike(self))

    def is_bitfield(self) -> bool:
        """Whether a member is a bit-field."""
        return bool(_lib().Cursor_isBitField(self))

    def get_bitfield_width(self) -> int:
        """Return the width of a bit-field."""
        return int(_lib().getFieldDeclBitWidth(self))

    def get_field_offsetof(self) -> int:
        """Return where a member is, in bits."""
        return int(_lib().Cursor_getOffsetOfField(self))

    def get_tokens(self) -> list[tuple[str, str]]:
        """Return (kind, spelling) of the tokens that it covers; the kind of a comment is ``comment``."""
        lib, unit = _lib(), self.unit.address
        tokens, count = ctypes.POINTER(_Token)(), ctypes.c_uint()
        lib.tokenize(unit, self.extent, ctypes.byref(tokens), ctypes.byref(count))
        try:
            kinds = {4: "comment"}
            pieces = [tokens[index] for index in range(count.value)]
            return [(kinds.get(lib.getTokenKind(t), ""), _text(lib.getTokenSpelling(unit, t))) for t in pieces]
        finally:
            lib.disposeTokens(unit, tokens, count)

    def evaluate(self) -> int | None:
        """Return the value of a constant integer expression, or ``None``; side effects are ignored."""
        lib = _lib()
        result = lib.Cursor_Evaluate(self)
        if not result:
            return None
        try:
            if lib.EvalResult_getKind(result) != _INTEGER_RESULT:
                return None
            unsigned = lib.EvalResult_isUnsignedInt(result)
            return int((lib.EvalResult_getAsUnsigned if unsigned else lib.EvalResult_getAsLongLong)(result))
        finally:
            lib.EvalResult_dispose(result)

    def _existing(self, found: Cursor) -> Cursor | None:
        return None if _lib().Cursor_isNull(found) else self._owned(found)


class TranslationUnit:
    """A parsed text.

    Args:
        main: the file's path.
        files: text by path: they stand for what may be on disk.
        arguments: of clang's command line.
        options: ``CXTranslationUnit_…`` flags.

    Raises:
        FeatureMissingError: the package libclang-ng is missing or broken.
        InternalError: clang gave up.
    """

    def __init__(self, main: str, files: Mapping[str, str], arguments: Sequence[str], options: int = 0) -> None:
        lib = self._lib = _lib()
        self.address = None
        self._names: dict[int, str] = {}
        self._findings: list[Finding] | None = None
        words = [_bytes(word) for word in (*arguments, "-resource-dir", resource_folder())]
        contents = [(_bytes(path), _bytes(text)) for path, text in files.items()]
        unsaved = (_UnsavedFile * len(contents))(*[_UnsavedFile(path, text, len(text)) for path, text in contents])
        self._index = lib.createIndex(0, 0)
        self.address = lib.parseTranslationUnit(
            self._index,
            _bytes(main),
            (ctypes.c_char_p * len(words))(*words),
            len(words),
            unsaved,
            len(contents),
            options,
        )
        if not self.address:
            raise InternalError(f"libclang could not parse {main}")

    def __del__(self) -> None:
        if getattr(self, "_index", None):
            if self.address:
                self._lib.disposeTranslationUnit(self.address)
            self._lib.disposeIndex(self._index)

    @property
    def cursor(self) -> Cursor:
        """The root of the tree."""
        return self._owned(_lib().getTranslationUnitCursor(self.address))  # type: ignore[no-any-return]

    @property
    def diagnostics(self) -> list[Finding]:
        """What clang says of the text."""
        if self._findings is None:
            count = _lib().getNumDiagnostics(self.address)
            self._findings = [self._finding(index) for index in range(count)]
        return self._findings

    def get_includes(self) -> list[str]:
        """Return the paths of all files that were read, but the main one."""
        found: list[str | None] = []

        def visit(file: int, _stack: Any, depth: int, _: int) -> None:
            if depth:
                found.append(self.file_name(file))

        _lib().getInclusions(self.address, _INCLUSION_VISITOR(visit), None)
        return [name for name in found if name is not None]

    def file_name(self, file: int | None) -> str | None:
        """Return the path of one of the unit's files."""
        if not file:
            return None
        name = self._names.get(file)
        if name is None:
            name = self._names[file] = _text(_lib().getFileName(file))
        return name

    def _finding(self, index: int) -> Finding:
        lib = _lib()
        found = lib.getDiagnostic(self.address, index)
        try:
            ranges = [self._owned(lib.getDiagnosticRange(found, at)) for at in range(lib.getDiagnosticNumRanges(found))]
            spelling, location = _text(lib.getDiagnosticSpelling(found)), lib.getDiagnosticLocation(found)
            return Finding(lib.getDiagnosticSeverity(found), spelling, self._owned(location), tuple(ranges))
        finally:
            lib.disposeDiagnostic(found)

    def _owned(self, value: Any) -> Any:
        value.unit = self
        return value


def resource_folder() -> str:
    """Return the folder with clang's own headers.

    Raises:
        FeatureMissingError: the package libclang-ng is missing.
    """
    return f"{_package()}/resource"


@lru_cache(maxsize=1)
def _package() -> str:
    package = importlib.machinery.PathFinder.find_spec("clang")
    for folder in (package and package.submodule_search_locations) or ():
        if os.path.exists(f"{folder}/native/{FILE}"):
            return f"{folder}/native"
    raise FeatureMissingError("cannot load libclang: the package libclang-ng is not installed", hint=_HINT)


_POINTER, _INT, _UINT = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint
_CHILD_VISITOR = ctypes.CFUNCTYPE(_INT, Cursor, Cursor, _POINTER)
_FIELD_VISITOR = ctypes.CFUNCTYPE(_INT, Cursor, _POINTER)
_INCLUSION_VISITOR = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _UINT, _POINTER)

_TYPES = {
    "Cursor": Cursor,
    "Type": Type,
    "Location": Location,
    "Range": Range,
    "String": _String,
    "Token": _Token,
    "Tokens": ctypes.POINTER(_Token),
    "Files": ctypes.POINTER(_UnsavedFile),
    "ChildVisitor": _CHILD_VISITOR,
    "FieldVisitor": _FIELD_VISITOR,
    "InclusionVisitor": _INCLUSION_VISITOR,
}


@lru_cache(maxsize=1)
def _lib() -> Functions:
    """Open libclang, on first use.

    Raises:
        FeatureMissingError: the package libclang-ng is missing or broken.
    """
    path = f"{_package()}/{FILE}"
    try:
        return Functions(open_library(path), _TYPES)
    except (OSError, AttributeError) as error:
        raise FeatureMissingError(f"cannot load libclang: {error}", hint=_HINT) from None


def _text(string: _String) -> str:
    lib = _lib()
    text = lib.getCString(string)
    lib.disposeString(string)
    return "" if text is None else text.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@cache
def _cursor_kind(number: int) -> str:
    return _text(_lib().getCursorKindSpelling(number))


@cache
def _type_kind(number: int) -> str:
    return _text(_lib().getTypeKindSpelling(number))


@cache
def _is_expression(number: int) -> bool:
    return bool(_lib().isExpression(number))
