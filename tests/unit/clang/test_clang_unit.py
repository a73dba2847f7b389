"""C parsed by libclang: what is defined, what is missing, where errors are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trapline.clang.ctype import CArray, CInt, CRecord
from trapline.clang.definitions import CConstant, Definitions
from trapline.clang.includes import Headers, dependencies, included_names, is_kernel_header
from trapline.clang.unit import Unit
from trapline.source import Source

HEADERS = Headers(machine="x86_64-linux-gnu")


def parse(*pieces: str, headers: Headers = HEADERS, kernel: dict[str, str] | None = None) -> Unit:
    """Parse pieces of a script that stand in lines of their own."""
    text = "\n".join(pieces)
    source = Source("stdin", text)
    spans, at = [], 0
    for piece in pieces:
        spans.append(source.span(at, at + len(piece)))
        at += len(piece) + 1

    def supply(names: frozenset[str], clashes: frozenset[str]) -> str:
        text = "\n".join((kernel or {}).get(name, "") for name in sorted(names - clashes))
        return re.sub(r"\w+", lambda m: f"{m[0]}___btf" if m[0] in clashes else m[0], text)

    return Unit(spans, headers, ["-ferror-limit=0", "-w"], supply, kernel is not None)


def definitions(*pieces: str, **more: dict[str, str]) -> Definitions:
    unit = parse(*pieces, **more)  # type: ignore[arg-type]
    assert unit.errors() == []
    return Definitions(unit)


def test_types_are_found_by_tag_and_name() -> None:
    found = definitions("struct a { struct b { int x; } in; }", "typedef struct a *pointer;", "union u { char c[3]; }")
    record = found.type("struct", "a")
    assert isinstance(record, CRecord) and [f.name for f in record.fields] == ["in"]
    assert found.type("struct", "b") is not None  # C declares it at the top
    assert found.type("union", "a") is None
    assert str(found.type("", "pointer")) == "struct a *"
    (member,) = found.type("union", "u").fields  # type: ignore[union-attr]
    assert isinstance(member.type, CArray) and member.type.count == 3


def test_a_member_that_bpf_cannot_read_has_a_size() -> None:
    record = definitions("struct f { double d; int after; }").type("struct", "f")
    assert isinstance(record, CRecord)
    assert [(f.name, f.type.size, f.offset_bits) for f in record.fields] == [("d", 8, 0), ("after", 4, 64)]


def test_enumerators_know_their_enum() -> None:
    found = definitions("enum e { A = -2, B };", "enum { LONE = 7 };")
    assert found.enumerators("e") == ((-2, "A"), (-1, "B"))
    constant = found.enumerator("A")
    assert constant is not None and constant.value == -2 and constant.type.signed
    assert found.siblings("LONE") == ((7, "LONE"),)
    assert found.enumerator("C") is None


def test_macros_keep_the_blanks_that_they_need() -> None:
    found = definitions(
        "#define A (1  +  2) /* three */", "#define S struct task_struct", "#define F(x) ((x) + 1)", "#define E"
    )
    assert [found.macro(n).body for n in "ASF"] == ["(1+2)", "struct task_struct", "(x)((x)+1)"]  # type: ignore[union-attr]
    assert [found.macro(n).parameters for n in "ASF"] == [False, False, True]  # type: ignore[union-attr]
    assert found.macro("E") is None and found.macro("nothing") is None


def test_a_macro_has_the_value_that_c_gives_it() -> None:
    found = definitions(
        "#define F(x) ((x) * 2)", "#define V F(21)", "#define N F(-1)", "#define C 'a'", '#define S "s"'
    )
    assert found.evaluate("V") == CConstant(42, CInt("int", 4, True, 3))
    assert found.evaluate("N").value == -2  # type: ignore[union-attr]
    assert found.evaluate("C").value == 97  # type: ignore[union-attr]
    assert found.evaluate("S") is None


def test_missing_types_come_from_the_supplier() -> None:
    kernel = {"u32": "typedef unsigned int u32;", "head": "struct head { void *p[2]; };", "LEN": "enum { LEN = 16 };"}
    record = definitions("struct m { u32 a; struct head h; char c[LEN]; }", kernel=kernel).type("struct", "m")
    assert isinstance(record, CRecord) and record.size == 40


def test_what_the_text_defines_is_not_taken_from_the_supplier() -> None:
    kernel = {"u32": "typedef unsigned u32; struct m { int other; };"}
    record = definitions("struct m { u32 a[5]; }", kernel=kernel)
    assert record.type("struct", "m").size == 20  # type: ignore[union-attr]


def test_kernel_headers_may_be_absent() -> None:
    found = parse("#include <linux/nosuch_header.h>", "#define A 1", kernel={})
    assert found.errors() == [] and found.absent == {"linux/nosuch_header.h"}
    (error,) = parse("#include <linux/nosuch_header.h>").errors()
    assert error.message == "'linux/nosuch_header.h' file not found"
    (error,) = parse('#include "own.h"', kernel={}).errors()
    assert error.span is not None and error.span.text == '"own.h"'


def test_errors_are_at_the_scripts_own_place() -> None:
    errors = parse("#define X 1", "struct ü { int a; bad b; }", "struct c { worse d; };").errors()
    assert [(e.message, e.span.text if e.span else "") for e in errors] == [
        ("unknown type name 'bad'", "bad"),
        ("unknown type name 'worse'", "worse"),
    ]
    assert errors[0].render().startswith("stdin:2:19-22: ERROR: unknown type name 'bad'")


def test_errors_in_headers_show_the_header(tmp_path: Path) -> None:
    (tmp_path / "broken.h").write_text("struct x {\n  wrong y;\n};\n")
    (error,) = parse('#include "broken.h"', headers=Headers(quoted=(str(tmp_path),))).errors()
    assert error.render().splitlines()[:2] == [
        f"{tmp_path}/broken.h:2:3-8: ERROR: unknown type name 'wrong'",
        "  wrong y;",
    ]


def test_dependencies_name_what_was_read_and_what_would_come_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "a.h").write_text('#include "b.h"\n')
    (second / "b.h").write_text("#define B 1\n")
    headers = Headers(folders=(str(first), str(second)))
    unit = parse("#include <a.h>", headers=headers)
    assert dependencies(unit.unit, unit.text, headers) == (str(first / "a.h"), str(second / "a.h"), str(second / "b.h"))


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name, value in (("quoted", 1), ("given", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.h").write_text(f"enum {{ WHICH = {value} }};\n")
    headers = Headers(quoted=(str(tmp_path / "quoted"),), folders=(str(tmp_path / "given"),))
    values = [definitions(f"#include {n}", headers=headers).enumerator("WHICH").value for n in ('"same.h"', "<same.h>")]  # type: ignore[arg-type,union-attr]
    assert values == [1, 2]


def test_included_names() -> None:
    assert included_names('#include <a/b.h>\n # include "c.h"\nint x;') == [("a/b.h", False), ("c.h", True)]


@pytest.mark.parametrize(
    ("name", "is_one"), [("linux/fs.h", True), ("net/sock.h", True), ("stdio.h", False), ("sys/stat.h", False)]
)
def test_kernel_headers_are_known_by_their_folder(name: str, is_one: bool) -> None:
    assert is_kernel_header(name) == is_one
