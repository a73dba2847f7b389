"""Formatting keeps the meaning and the comments of a program, and a formatted program as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trapline.errors import ParseError
from trapline.frontends.bpftrace.format_source import format_source
from trapline.frontends.bpftrace.parser import parse_program
from trapline.frontends.bpftrace.printer import format_program
from trapline.source import Source

ROOT = Path(__file__).parents[4]
PROGRAMS = sorted([*ROOT.glob("tests/golden/bpftrace/programs/*.bt"), *ROOT.glob("examples/**/*.bt")])
ARGUMENTS = ("1",) * 9


def tree(text: str) -> str:
    """Return the syntax tree; an arrow means what a dot does."""
    printed = format_program(parse_program(Source("x", text), ARGUMENTS, imported=True))
    return re.sub(" arrow$", "", printed, flags=re.MULTILINE)


def words_of_comments(text: str) -> list[str]:
    found = re.findall(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', text, re.DOTALL)
    return sorted(word for comment in found if comment[0] == "/" for word in re.findall(r"\w+", comment))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_programs_keep_their_meaning(path: Path) -> None:
    text = path.read_text()
    once = format_source(Source("x", text))
    assert format_source(Source("x", once)) == once
    assert tree(once) == tree(text)
    assert words_of_comments(once) == words_of_comments(text)
    assert text.startswith("#!") == once.startswith("#!")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("$a = 1 == 2 + 3 * 4;", "$a = 1 == (2 + (3 * 4));"),
        ("$a = ($a == 1) == ($b == 2);", "$a = ($a == 1) == ($b == 2);"),
        ("$a = $b - ($c - $d) - $e;", "$a = ($b - ($c - $d)) - $e;"),
        ("$a = $b && $c && $d || $e;", "$a = ($b && $c && $d) || $e;"),
        ("$a = $b && ($c && $d);", "$a = $b && ($c && $d);"),
        ("$a = -(-$b) + !(!$c);", "$a = -(-$b) + !(!$c);"),
        ("$a=(uint8)$b+(struct x**)$c;", "$a = ((uint8)$b) + ((struct x**)$c);"),
        ("$a = ($b ? 1 : 2) ? $c+1 : 3;", "$a = ($b ? 1 : 2) ? ($c + 1) : 3;"),
        ("@m[1,(2,)]=(a=1,b=\"x\");", '@m[1, (2,)] = (a=1, b="x");'),
        ("$a = { 5 }; $b = if $c {1} else {2};", "$a = { 5 };\n  $b = if $c { 1 } else { 2 };"),
        ("if((1,2)){}else{}", "if (1, 2) {} else {}"),
        ("if comptime(is_str($a)){}", "if comptime is_str($a) {}"),
        ("while($a<5){break;continue;}", "while ($a < 5) {\n    break;\n    continue;\n  }"),
        ("let $x:typeof($y)=5;let $z;_=f();", "let $x : typeof($y) = 5;\n  let $z;\n  _ = f();"),
        ("for($i:0..$n+1){return $i;}", "for $i : 0..($n + 1) {\n    return $i;\n  }"),
        ("$a = 1_000 + 0x1F; // why\n", "$a = 1_000 + 0x1F; // why"),
        ("/* a */ f(/* b */ 1);", "// a\n  // b\n  f(1);"),
    ],
)  # fmt: skip
def test_statements(given: str, wanted: str) -> None:
    assert format_source(Source("x", f"begin {{ {given} }}")) == f"begin\n{{\n  {wanted}\n}}\n"


def test_long_lines_are_cut() -> None:
    names = [f"$name_{'x' * n}" for n in (30, 31, 32)]
    text = f"begin {{ f({', '.join(names)}); $a = {' && '.join(names)}; }}"
    lines = format_source(Source("x", text)).split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[2] == f"  f({names[0]}, {names[1]},"
    assert lines[3] == f"    {names[2]});"


def test_a_broken_program_is_not_formatted() -> None:
    with pytest.raises(ParseError):
        format_source(Source("x", "begin { print(1"))


def test_nothing_is_nothing() -> None:
    assert format_source(Source("x", "")) == ""
    assert format_source(Source("x", "\n// only this\n")) == "// only this\n"
