"""The functions of libclang that `trapline.clang.c_api` calls, with the types of their results and arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

from trapline.hints import Any

# Name without clang_, result, arguments; with a capital letter, the structures and callbacks of `c_api`.
_PROTOTYPES = """
    getCString                       text      String
    disposeString                    none      String
    createIndex                      pointer   int int
    disposeIndex                     none      pointer
    parseTranslationUnit             pointer   pointer text texts int Files uint uint
    disposeTranslationUnit           none      pointer
    getTranslationUnitCursor         Cursor    pointer
    getInclusions                    none      pointer InclusionVisitor pointer
    getFileName                      String    pointer
    getNumDiagnostics                uint      pointer
    getDiagnostic                    pointer   pointer uint
    disposeDiagnostic                none      pointer
    getDiagnosticSeverity            int       pointer
    getDiagnosticSpelling            String    pointer
    getDiagnosticLocation            Location  pointer
    getDiagnosticNumRanges           uint      pointer
    getDiagnosticRange               Range     pointer uint
    getInstantiationLocation         none      Location pointer pointer pointer pointer
    Location_isFromMainFile          int       Location
    getRangeStart                    Location  Range
    getRangeEnd                      Location  Range
    tokenize                         none      pointer Range pointer pointer
    getTokenKind                     int       Token
    getTokenSpelling                 String    pointer Token
    disposeTokens                    none      pointer Tokens uint
    getCursorKindSpelling            String    int
    isExpression                     uint      int
    isAttribute                      uint      int
    equalCursors                     uint      Cursor Cursor
    hashCursor                       uint      Cursor
    Cursor_isNull                    int       Cursor
    visitChildren                    uint      Cursor ChildVisitor pointer
    getCursorSpelling                String    Cursor
    getCursorLocation                Location  Cursor
    getCursorExtent                  Range     Cursor
    getCursorType                    Type      Cursor
    getCursorResultType              Type      Cursor
    getTypedefDeclUnderlyingType     Type      Cursor
    getEnumDeclIntegerType           Type      Cursor
    getEnumConstantDeclValue         long      Cursor
    getEnumConstantDeclUnsignedValue ulong     Cursor
    Cursor_getStorageClass           int       Cursor
    getCursorReferenced              Cursor    Cursor
    getCursorSemanticParent          Cursor    Cursor
    getCursorDefinition              Cursor    Cursor
    isCursorDefinition               uint      Cursor
    getCursorUnaryOperatorKind       int       Cursor
    Cursor_getNumArguments           int       Cursor
    Cursor_getArgument               Cursor    Cursor uint
    Cursor_getVarDeclInitializer     Cursor    Cursor
    Cursor_isAnonymous               uint      Cursor
    Cursor_isFunctionInlined         uint      Cursor
    Cursor_isMacroFunctionLike       uint      Cursor
    Cursor_isBitField                uint      Cursor
    getFieldDeclBitWidth             int       Cursor
    Cursor_getOffsetOfField          long      Cursor
    Cursor_Evaluate                  pointer   Cursor
    EvalResult_getKind               int       pointer
    EvalResult_isUnsignedInt         uint      pointer
    EvalResult_getAsUnsigned         ulong     pointer
    EvalResult_getAsLongLong         long      pointer
    EvalResult_dispose               none      pointer
    getTypeKindSpelling              String    int
    getTypeSpelling                  String    Type
    getCanonicalType                 Type      Type
    getPointeeType                   Type      Type
    getElementType                   Type      Type
    getNumElements                   long      Type
    getTypeDeclaration               Cursor    Type
    Type_getSizeOf                   long      Type
    Type_getAlignOf                  long      Type
    isConstQualifiedType             uint      Type
    Type_visitFields                 uint      Type FieldVisitor pointer
"""

_C_TYPES = {
    "none": None,
    "int": ctypes.c_int,
    "uint": ctypes.c_uint,
    "long": ctypes.c_longlong,
    "ulong": ctypes.c_ulonglong,
    "pointer": ctypes.c_void_p,
    "text": ctypes.c_char_p,
    "texts": ctypes.POINTER(ctypes.c_char_p),
}


class Functions:
    """The functions as attributes, without ``clang_``.

    Args:
        library: libclang.
        types: the structures and callbacks by name.

    Raises:
        AttributeError: the library lacks one.
    """

    def __init__(self, library: Any, types: Mapping[str, Any]) -> None:
        known = {**_C_TYPES, **types}
        for line in _PROTOTYPES.strip().split("\n"):
            name, result, *arguments = line.split()
            function = getattr(library, f"clang_{name}")
            function.restype = known[result]
            function.argtypes = [known[argument] for argument in arguments]
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(name)  # what the attributes are is for the type checker only
