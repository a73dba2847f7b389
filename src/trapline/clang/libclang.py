"""C texts in virtual files, parsed; and what is left to do with libclang when they were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trapline.clang.c_api import FILE, Cursor, TranslationUnit
from trapline.shared_library import drop_code

ROOT = "/trapline-virtual"
MAIN = f"{ROOT}/main.c"
PRELUDE = f"{ROOT}/prelude.h"
INCLUDES = f"{ROOT}/include"


def in_script(cursor: Cursor) -> bool:
    """Whether a cursor stands in the script or in a header that is a file, be it through a macro."""
    file = cursor.location.file
    return file is not None and (file == MAIN or not file.startswith(ROOT))


def in_main_file(cursor: Cursor) -> bool:
    """Whether a cursor stands in the script itself (not in the prelude or an include), be it through a macro."""
    location = cursor.location
    return location.in_main_file or location.file == MAIN


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
    return TranslationUnit(main, files, ["-x", "c", *arguments], options)


def drop_clang() -> None:
    """Let go of libclang's code in memory: what a text says has been read."""
    drop_code(FILE)


def decode_string(spelling: str) -> bytes | None:
    """Return the bytes, with NUL, of a string literal as libclang spells it (escapes canonical); ``None`` if wide."""
    if not spelling.startswith('"') or not spelling.endswith('"') or len(spelling) < 2:
        return None
    out = bytearray()
    body = spelling[1:-1].encode("utf-8", "surrogateescape")
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
