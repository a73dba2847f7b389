"""Whatever the text, the bpftrace parser answers with a tree or a TraplineError."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trapline.errors import TraplineError
from trapline.frontends.bpftrace import format_program, parse_program
from trapline.frontends.bpftrace.depth import deep_recursion
from trapline.source import Source

_TEXT = """
begin END kprobe:f kretprobe:m:f tracepoint:a:b uprobe:/bin/sh:"f" interval:s:1 { } ( ) [ ] , ; : . .. ->
++ -- + - * / % & | ^ ~ ! << >> && || == != <= >= < > = += <<= ? @ @x $x $1 $# 1 0x1f 1e3 5ms 08 "s"
"\\n" " $ # if else let while for unroll break continue return import macro fn config struct union enum
task_struct int8 string typeof sizeof offsetof comptime true false pid args count printf // /* */ _ \\ é
\n
"""
_PIECES = _TEXT.split(" ")


def _parse(text: str) -> None:
    try:
        with deep_recursion():
            tree = format_program(parse_program(Source("stdin", text)))
    except TraplineError as error:
        assert str(error)
    else:
        assert tree.startswith("Program")


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    _parse(text)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES), max_size=60), st.sampled_from(["", " "]))
def test_any_tokens(pieces: list[str], separator: str) -> None:
    _parse("begin { " + separator.join(pieces))
    _parse(separator.join(pieces))


@given(
    st.sampled_from(["(", "{", "[", "-", "!", "@x[", "if (1) {", "(int8)", "sizeof(", "$a = {", "1?"]),
    st.integers(1, 5000),
)
def test_deep_nesting(piece: str, depth: int) -> None:
    _parse("begin { " + piece * depth)
    _parse("begin { print(" + "1+" * depth + "1) }")
