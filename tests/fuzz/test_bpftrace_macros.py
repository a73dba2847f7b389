"""Macros, compile-time expressions and the formatter: a program works or gets a diagnostic, whatever it combines."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.bpftrace.target import FixtureTarget

from trapline.errors import InternalError, TraplineError
from trapline.frontends.bpftrace import CompileOptions, compile_program, parse_program
from trapline.frontends.bpftrace.format_source import format_source
from trapline.frontends.bpftrace.printer import format_program
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.source import Source

TARGET = FixtureTarget()
OPTIONS = CompileOptions(positional=("7",), named={"limit": "=5"})
LEAVES = ["1", '"abc"', "true", "$x", "$v", "@m", "@k[1]", "p", "q", "pid", "comm", "config", "probetype", "$1",
          "config.max_strlen", "typeof(uint8)", "typeof($x)", "sizeof(p)", "typeinfo(p)", "typeinfo($x).base_type",
          'getopt("limit", 1)', "none", "()", "kstack"]  # fmt: skip
CALLS = [
    "one",
    "two",
    "void",
    "self",
    "is_str",
    "is_literal",
    "assert",
    "static_assert",
    "fail",
    "comptime",
    "check_key",
]


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(st.sampled_from(CALLS), st.lists(inner, max_size=3)).map(lambda t: f"{t[0]} ({', '.join(t[1])})"),
        st.tuples(inner, st.sampled_from(["+", "==", "&&", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda e: f"(comptime {e})"),
        inner.map(lambda e: f"((p){e})"),
        inner.map(lambda e: f"{{ $z = {e}; $z }}"),
        st.tuples(inner, inner, inner).map(lambda t: f"(if comptime ({t[0]}) {{ {t[1]} }} else {{ {t[2]} }})"),
    )


EXPRESSIONS = st.recursive(st.sampled_from(LEAVES), _grow, max_leaves=5)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda e: f"{e};"),
    EXPRESSIONS.map(lambda e: f"print({e});"),
    EXPRESSIONS.map(lambda e: f"$v = {e};"),
    EXPRESSIONS.map(lambda e: f"let $w = {e}; // why\n"),
    EXPRESSIONS.map(lambda e: f"@m = {e};"),
    EXPRESSIONS.map(lambda e: f"if comptime {e} {{ print({e}); }} else {{ /* not */ }}"),
)
BODIES = st.tuples(st.lists(STATEMENTS, max_size=2), EXPRESSIONS).map(lambda t: f"{{ {' '.join(t[0])} {t[1]} }}")
PROGRAMS = st.tuples(BODIES, BODIES, BODIES, st.lists(STATEMENTS, min_size=1, max_size=3)).map(
    lambda t: (
        f"macro one(p) {t[0]} macro two($v, q) {t[1]} macro void(@m) {{ @m = 1; }} macro self(p) {t[2]}"
        f" begin {{ $x = 1; @k[1] = 2; {' '.join(t[3])} }}"
    )
)


@settings(max_examples=150)
@given(PROGRAMS)
def test_any_macros(text: str) -> None:
    try:
        module = compile_program(Source("stdin", text), TARGET, OPTIONS).module
        check_module(passes.run(module))
    except InternalError:
        raise
    except TraplineError as error:
        assert str(error)


@settings(max_examples=100)
@given(PROGRAMS)
def test_formatting_changes_no_meaning(text: str) -> None:
    try:
        before = format_program(parse_program(Source("stdin", text)))
    except TraplineError:
        return
    once = format_source(Source("stdin", text))
    assert format_source(Source("stdin", once)) == once
    assert format_program(parse_program(Source("stdin", once))) == before
    assert once.count("// why") + once.count("// not") == len(re.findall("// why|/\\* not", text))
