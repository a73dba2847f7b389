"""Our access to libclang beside the package's own binding: both see the same tree."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from clang import cindex

from trapline.clang import c_api
from trapline.errors import FeatureMissingError

MAIN, HEADER = "/virtual/main.c", "/virtual/header.h"
FILES = {
    HEADER: "enum small { LOW = -3, HIGH };\nenum large { LARGE = 0xFFFFFFFFFFFFFFFF };\n#define TWICE(x) (2 * (x))\n",
    MAIN: """#include "header.h"
#define LIMIT 10 /* a comment */
struct node { struct node *next; unsigned flags : 3; union { int a; char b[4]; }; const char *name; };
typedef struct node node_t;
static inline int twice(int x) { return TWICE(x); }
extern int outside;
int table[LIMIT] = { 1, 2, [5] = TWICE(4) };
_Bool flag;
static int walk(node_t *list, enum small s, ...) {
    int sum = sizeof(*list) + 'a' + "text"[0];
    for (int i = 0; i < LIMIT; i++) { if (i == 3) continue; else sum += table[i]; }
    while (list && !flag) { list = list->next; ++sum; do { sum--; } while (0); }
    switch (s) { case LOW: sum = -sum; break; default: goto out; }
    sum = ({ int y = ~sum; y; }) ? twice(sum) : (long)&sum;
out:
    asm volatile("" ::: "memory");
    __attribute__((annotate("here"))) int noted = (struct node){ .flags = 1 }.flags;
    return sum + noted;
}
int broken(void) { return missing; }
""",
}
OPTIONS = 1  # with macros
STORED = ("VarDecl", "FunctionDecl")  # of other kinds clang must not be asked for the storage class


def ours() -> c_api.TranslationUnit:
    return c_api.TranslationUnit(MAIN, FILES, ["-x", "c"], OPTIONS)


def theirs() -> Any:
    return cindex.Index.create().parse(MAIN, args=["-x", "c"], unsaved_files=list(FILES.items()), options=OPTIONS)


def kind_of(kind: Any) -> str:
    """clang's own name of a kind of cursor or type."""
    function = "clang_getTypeKindSpelling" if isinstance(kind, cindex.TypeKind) else "clang_getCursorKindSpelling"
    return c_api._text(getattr(c_api._lib(), function.removeprefix("clang_"))(kind.value))


def place(location: Any) -> tuple[str | None, int, int]:
    file = location.file
    return getattr(file, "name", file), location.line, location.offset


def describe(cursor: Any, kind: str, type_kind: str, storage: str) -> tuple[object, ...]:
    type_ = cursor.type
    return (
        *(kind, cursor.spelling, place(cursor.location), place(cursor.extent.start), place(cursor.extent.end)),
        *(type_kind, type_.spelling, type_.get_canonical().spelling, type_.get_pointee().spelling),
        *(type_.get_size(), type_.get_align(), type_.is_const_qualified(), type_.get_declaration().spelling),
        *(cursor.result_type.spelling, [argument.spelling for argument in cursor.get_arguments()]),
        *(cursor.is_definition(), cursor.is_anonymous(), cursor.is_bitfield(), storage),
        cursor.enum_value if kind == "EnumConstantDecl" else None,
        cursor.enum_type.spelling if kind == "EnumDecl" else None,
        cursor.underlying_typedef_type.spelling if kind == "TypedefDecl" else None,
        (cursor.get_field_offsetof(), cursor.semantic_parent.spelling) if kind == "FieldDecl" else None,
        cursor.get_bitfield_width() if cursor.is_bitfield() else None,
        [field.spelling for field in type_.get_fields()] if type_kind == "Record" else None,
        (type_.element_type.spelling, type_.element_count) if type_kind == "ConstantArray" else None,
        cursor.referenced.spelling if cursor.referenced and kind == "DeclRefExpr" else None,
        cursor.is_function_inlined() if kind == "FunctionDecl" else None,
    )


def described_ours(cursor: c_api.Cursor) -> tuple[object, ...]:
    return describe(cursor, cursor.kind, cursor.type.kind, cursor.storage_class if cursor.kind in STORED else "")


def described_theirs(cursor: Any) -> tuple[object, ...]:
    kind = kind_of(cursor.kind)
    storage = cursor.storage_class.name.lower() if kind in STORED else ""
    return describe(cursor, kind, kind_of(cursor.type.kind), storage if storage in ("static", "extern") else "")


def test_both_bindings_see_the_same_tree() -> None:
    seen = 0
    pending = [(ours().cursor, theirs().cursor)]
    while pending:
        mine, other = pending.pop()
        assert described_ours(mine) == described_theirs(other)
        assert (mine.is_expression, mine.is_attribute) == (other.kind.is_expression(), other.kind.is_attribute())
        children = mine.get_children(), list(other.get_children())
        assert len(children[0]) == len(children[1])
        pending += zip(*children, strict=True)
        seen += 1
    assert seen > 500  # with the macros that clang defines


def find(kind: str, name: str) -> c_api.Cursor:
    pending = [ours().cursor]
    while pending:
        cursor = pending.pop()
        if (cursor.kind, cursor.spelling) == (kind, name):
            return cursor
        pending += cursor.get_children()
    raise AssertionError(f"no {kind} {name}")


def test_diagnostics_have_places_and_ranges() -> None:
    (found,) = [finding for finding in ours().diagnostics if finding.severity >= 3]
    assert found.spelling == "use of undeclared identifier 'missing'"
    assert found.location.file == MAIN and FILES[MAIN][found.location.offset :].startswith("missing")
    unit = theirs()  # its diagnostics do not keep it
    (other,) = [finding for finding in unit.diagnostics if finding.severity >= 3]
    assert [(place(r.start), place(r.end)) for r in found.ranges] == [
        (place(r.start), place(r.end)) for r in other.ranges
    ]


def test_includes_are_the_other_files() -> None:
    assert ours().get_includes() == [HEADER]


def test_tokens_of_a_macro() -> None:
    macro = find("macro definition", "LIMIT")
    assert [text for kind, text in macro.get_tokens() if kind != "comment"] == ["LIMIT", "10"]
    assert not macro.is_macro_function_like() and find("macro definition", "TWICE").is_macro_function_like()


def test_values_are_computed() -> None:
    constant, computed = (find("VarDecl", name).get_initialiser() for name in ("sum", "y"))
    assert constant is not None and constant.evaluate() == 24 + ord("a") + ord("t")
    assert computed is not None and computed.evaluate() is None
    designated = find("VarDecl", "table").get_initialiser()
    assert designated is not None
    assert designated.get_children()[2].get_children()[-1].evaluate() == 8
    assert find("VarDecl", "outside").get_initialiser() is None
    assert find("EnumConstantDecl", "LARGE").enum_value == (1 << 64) - 1


def test_enumerators_of_a_narrow_type() -> None:
    text = (
        "typedef unsigned char u8; enum a : u8 { A = 200 }; enum b : signed char { B = -2 }; enum c : _Bool { C = 1 };"
    )
    unit = c_api.TranslationUnit(MAIN, {MAIN: text}, ["-x", "c"])
    assert [finding.spelling for finding in unit.diagnostics if finding.severity >= 3] == []
    enums = [cursor for cursor in unit.cursor.get_children() if cursor.kind == "EnumDecl"]
    assert [child.enum_value for cursor in enums for child in cursor.get_children() if child.spelling] == [200, -2, 1]


def test_cursors_of_one_declaration_are_the_same_key() -> None:
    unit = ours()
    first, second = (
        next(c for c in unit.cursor.get_children() if c.spelling == "walk" and c.is_definition()) for _ in range(2)
    )
    assert first is not second and {first: 1}[second] == 1
    assert first != unit.cursor


def test_a_cursor_keeps_its_unit() -> None:
    cursor = ours().cursor
    gc.collect()
    assert cursor.get_children()[-1].spelling == "broken"


def test_bytes_that_are_no_text_pass_through() -> None:
    text = b'char s[] = "\xff";'.decode("utf-8", "surrogateescape")
    unit = c_api.TranslationUnit(MAIN, {MAIN: text}, ["-x", "c"])
    assert [finding.severity for finding in unit.diagnostics] == [2]
    assert unit.cursor.get_children()[-1].type.element_count == 2


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_api, "FILE", "libabsent.so")
    c_api._package.cache_clear()
    try:
        with pytest.raises(FeatureMissingError, match="libclang-ng is not installed"):
            c_api.resource_folder()
    finally:
        c_api._package.cache_clear()
