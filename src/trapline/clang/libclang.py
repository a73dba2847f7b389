"""Access to libclang: parse a text with virtual files, and the parts of its C API that the Python binding hides."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache

from trapline.errors import FeatureMissingError, InternalError
from trapline.hints import Any
from trapline.shared_library import drop_code

ROOT = "/trapline-virtual"
MAIN = f"{ROOT}/main.c"
PRELUDE = f"{ROOT}/prelude.h"
INCLUDES = f"{ROOT}/include"

Cursor = Any
TranslationUnit = Any

UNARY_OPERATORS = {
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


@lru_cache(maxsize=1)
def load_cindex() -> Any:
    """Import libclang's binding, on first use.

    Raises:
        FeatureMissingError: the package libclang-ng is missing or broken.
    """
    try:
        from clang import cindex

        _ = cindex.conf.lib
    except (ImportError, OSError) as error:
        raise FeatureMissingError(f"cannot load libclang: {error}", hint="pip install libclang-ng") from error
    except cindex.LibclangError as error:
        raise FeatureMissingError(
            f"cannot load libclang: {error}", hint="pip install --force-reinstall libclang-ng"
        ) from error
    return cindex


class Api:
    """libclang functions called directly; one instance per parse keeps its own prototypes."""

    def __init__(self) -> None:
        cindex = load_cindex()
        lib = cindex.conf.lib
        self.kinds = cindex.CursorKind
        self.type_kinds = cindex.TypeKind
        self._unary = lib["clang_getCursorUnaryOperatorKind"]
        self._unary.argtypes, self._unary.restype = [cindex.Cursor], ctypes.c_int
        self._evaluate = lib["clang_Cursor_Evaluate"]
        self._evaluate.argtypes, self._evaluate.restype = [cindex.Cursor], ctypes.c_void_p
        self._dispose = lib["clang_EvalResult_dispose"]
        self._dispose.argtypes, self._dispose.restype = [ctypes.c_void_p], None
        self._result_kind = lib["clang_EvalResult_getKind"]
        self._result_kind.argtypes, self._result_kind.restype = [ctypes.c_void_p], ctypes.c_int
        self._is_unsigned = lib["clang_EvalResult_isUnsignedInt"]
        self._is_unsigned.argtypes, self._is_unsigned.restype = [ctypes.c_void_p], ctypes.c_uint
        self._as_signed = lib["clang_EvalResult_getAsLongLong"]
        self._as_signed.argtypes, self._as_signed.restype = [ctypes.c_void_p], ctypes.c_longlong
        self._as_unsigned = lib["clang_EvalResult_getAsUnsigned"]
        self._as_unsigned.argtypes, self._as_unsigned.restype = [ctypes.c_void_p], ctypes.c_ulonglong
        self._initialiser = lib["clang_Cursor_getVarDeclInitializer"]
        self._initialiser.argtypes, self._initialiser.restype = [cindex.Cursor], cindex.Cursor
        self._invalid = lib["clang_Cursor_isNull"]
        self._invalid.argtypes, self._invalid.restype = [cindex.Cursor], ctypes.c_int
        self._inlined = lib["clang_Cursor_isFunctionInlined"]
        self._inlined.argtypes, self._inlined.restype = [cindex.Cursor], ctypes.c_uint
        self._function_like = lib["clang_Cursor_isMacroFunctionLike"]
        self._function_like.argtypes, self._function_like.restype = [cindex.Cursor], ctypes.c_uint
        self._from_main = lib["clang_Location_isFromMainFile"]
        self._from_main.argtypes, self._from_main.restype = [cindex.SourceLocation], ctypes.c_int

    def unary_operator(self, cursor: Cursor) -> str:
        """Return the spelling of a unary operator (``x++`` against ``++x``)."""
        number = self._unary(cursor)
        return UNARY_OPERATORS.get(number, f"operator {number}")

    def evaluate(self, cursor: Cursor) -> int | None:
        """Return the value of a constant integer expression, or ``None``; side effects are ignored."""
        result = self._evaluate(cursor)
        if not result:
            return None
        try:
            if self._result_kind(result) != 1:
                return None
            return int(self._as_unsigned(result) if self._is_unsigned(result) else self._as_signed(result))
        finally:
            self._dispose(result)

    def initialiser(self, variable: Cursor) -> Cursor | None:
        """Return the initialiser of a ``VAR_DECL``, or ``None``."""
        cursor = self._initialiser(variable)
        if self._invalid(cursor):
            return None
        cursor._tu = variable._tu  # the binding keeps the translation unit alive through its cursors
        return cursor

    def is_inline(self, function: Cursor) -> bool:
        """Whether a function is declared ``inline``."""
        return bool(self._inlined(function))

    def has_parameters(self, macro: Cursor) -> bool:
        """Whether a ``MACRO_DEFINITION`` is one with parameters."""
        return bool(self._function_like(macro))

    def in_script(self, cursor: Cursor) -> bool:
        """Whether the cursor stands in the script or in a header that is a file, be it through a macro."""
        file = cursor.location.file
        return file is not None and (file.name == MAIN or not file.name.startswith(ROOT))

    def in_main_file(self, cursor: Cursor) -> bool:
        """Whether the cursor stands in the script itself (not in the prelude or an include), be it through a macro."""
        location = cursor.location
        if self._from_main(location):
            return True
        file = location.file
        return file is not None and file.name == MAIN


def parse_text(text: str, prelude: str, includes: Mapping[str, str], arguments: Sequence[str]) -> TranslationUnit:
    """Parse `text` after `prelude`; ``#include`` of a name in `includes` takes its text from there.

    Nothing is written to disk: all files are virtual.
    """
    files = {MAIN: text, PRELUDE: prelude, **{f"{INCLUDES}/{name}": content for name, content in includes.items()}}
    return parse_files(MAIN, files, ["-include", PRELUDE, f"-I{INCLUDES}", *arguments])


def parse_files(main: str, files: Mapping[str, str], arguments: Sequence[str], options: int = 0) -> TranslationUnit:
    """Parse the file `main`; `files` are virtual and stand for what may be on disk at their (absolute) paths.

    Args:
        main: the file's path.
        files: text by path.
        arguments: of clang's command line.
        options: ``CXTranslationUnit_…`` flags.
    """
    cindex = load_cindex()
    try:
        return cindex.Index.create().parse(
            main, args=["-x", "c", *arguments], unsaved_files=list(files.items()), options=options
        )
    except cindex.TranslationUnitLoadError as error:
        raise InternalError(f"libclang could not parse: {error}") from error


def drop_clang() -> None:
    """Let go of libclang's code in memory: what a text says has been read."""
    drop_code("libclang.so")


def decode_string(spelling: str) -> bytes | None:
    """Return the bytes, with NUL, of a string literal as libclang spells it (escapes canonical); ``None`` if wide."""
    if not spelling.startswith('"') or not spelling.endswith('"') or len(spelling) < 2:
        return None
    out = bytearray()
    body = spelling[1:-1].encode()
    simple = {ord("n"): 10, ord("t"): 9, ord("r"): 13, ord("a"): 7, ord("b"): 8, ord("f"): 12, ord("v"): 11}
    i = 0
    while i < len(body):
        char = body[i]
        if char != 0x5C:
            out.append(char)
            i += 1
            continue
        char = body[i + 1]
        if 0x30 <= char <= 0x37:
            end = i + 2
            while end < len(body) and end < i + 4 and 0x30 <= body[end] <= 0x37:
                end += 1
            out.append(int(body[i + 1 : end], 8) & 0xFF)
            i = end
        elif char == ord("x"):
            out.append(int(body[i + 2 : i + 4], 16))
            i += 4
        else:
            out.append(simple.get(char, char))
            i += 2
    out.append(0)
    return bytes(out)
