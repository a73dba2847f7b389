from __future__ import annotations

import pytest

from trapline.errors import ParseError
from trapline.frontends.bpftrace import ast, format_program, parse_program
from trapline.frontends.bpftrace.printer import format_node
from trapline.source import Source


def program(text: str, *positional: str) -> ast.Program:
    return parse_program(Source("stdin", text), positional)


def expression(text: str) -> ast.Expr:
    statement = program(f"begin {{ _ = {text}; }}").probes[0].body.body[0]
    assert isinstance(statement, ast.Discard)
    return statement.value


def shape(node: ast.Node) -> str:
    """Return an expression with all its parentheses."""
    if isinstance(node, ast.Binary):
        return f"({shape(node.left)} {node.op} {shape(node.right)})"
    if isinstance(node, ast.Unary):
        operand = shape(node.operand)
        return f"({operand}{node.op})" if node.postfix else f"({node.op}{operand})"
    if isinstance(node, ast.Ternary):
        then = shape(node.then) if node.then else ""
        return f"({shape(node.condition)} ? {then} : {shape(node.otherwise)})"
    if isinstance(node, ast.Cast):
        return f"<{node.type.span.text}>{shape(node.operand)}"
    return node.span.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("1 | 2 ^ 3 & 4 == 5 < 6 << 7 + 8", "(1 | (2 ^ (3 & (4 == (5 < (6 << (7 + 8)))))))"),
        ("1 || 2 && 3", "(1 || (2 && 3))"),
        ("-$x * !2", "((-$x) * (!2))"),
        ("$x++ + ++$y", "(($x++) + (++$y))"),
        ("1 ? 2 : 3 ? 4 : 5", "(1 ? 2 : (3 ? 4 : 5))"),
        ("pid ?: 5", "(pid ?  : 5)"),
        ("(uint8)-1", "<uint8>(-1)"),
        ("(pid) - 1", "(pid - 1)"),
        ("(size_t)-1", "<size_t>(-1)"),
        ("(struct task_struct *)curtask", "<struct task_struct *>curtask"),
        ("(foo)$x", "<foo>$x"),
        ("(pid * 2)", "(pid * 2)"),
        ("(args[0])", "args[0]"),
        ("(int8[4])$x", "<int8[4]>$x"),
        ("(uint64)$x.y + 1", "(<uint64>$x.y + 1)"),
        ("(unsigned long)5", "<unsigned long>5"),
    ],
)
def test_operators_bind_as_in_c(text: str, expected: str) -> None:
    assert shape(expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("0x1F", 31), ("017", 15), ("1_000", 1000), ("1e6", 10**6), ("5ms", 5_000_000), ("2h", 7200 * 10**9),
        ("10u", 10), ("10ULL", 10), ("18446744073709551615", 2**64 - 1),
    ],
)  # fmt: skip
def test_integers(text: str, value: int) -> None:
    node = expression(text)
    assert isinstance(node, ast.Integer)
    assert node.value == value


def test_strings_resolve_escapes() -> None:
    node = expression(r'"a\n\x41\101\"\\" "b"')
    assert isinstance(node, ast.String)
    assert node.value == b'a\nAA"\\b'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kprobe:f", "AttachPoint kprobe event=f"),
        ("k:mod:f+0x10", "AttachPoint kprobe target=mod event=f offset=16"),
        ("kprobe:f+16", "AttachPoint kprobe event=f offset=16"),
        ("kprobe:0xffff", "AttachPoint kprobe address=0xffff"),
        ("kr:f", "AttachPoint kretprobe event=f"),
        ("KFUNC:vmlinux:f", "AttachPoint fentry target=vmlinux event=f"),
        ("BEGIN", "AttachPoint begin"),
        ("interval:s:2", "AttachPoint interval target=s:2 number=2000000000 mode=ns"),
        ("i:250ms", "AttachPoint interval target=us:250000 number=250000000 mode=ns"),
        ("profile:hz:99", "AttachPoint profile target=hz:99 number=99 mode=hz"),
        ("tracepoint:a:b*", "AttachPoint tracepoint target=a event=b*"),
        ("t:*x*", "AttachPoint tracepoint target=* event=*x*"),
        ("software:faults:10", "AttachPoint software event=faults number=10"),
        ('uprobe:/bin/sh:"a b"', "AttachPoint uprobe target=/bin/sh event=a b"),
        ("u:/bin/sh:cpp:f", "AttachPoint uprobe target=/bin/sh event=f namespace=cpp"),
        ("uprobe:/bin/sh@main.c:12:3", "AttachPoint uprobe target=/bin/sh event=main.c number=12 mode=line column=3"),
        ("U:/bin/sh:ns:p", "AttachPoint usdt target=/bin/sh event=p namespace=ns"),
        ("w:0x10:8:wr", "AttachPoint watchpoint number=8 mode=rw address=0x10"),
        ("x=kprobe:f", "AttachPoint kprobe event=f name=x"),
        ("kprobe:$1", "AttachPoint kprobe event=first"),
        ("it:task", "AttachPoint iter event=task"),
        ("fentry:bpf:12:prog", "AttachPoint fentry target=bpf event=prog namespace=12"),
    ],
)
def test_attach_points(text: str, expected: str) -> None:
    parsed = format_node(program(text + " { }", "first").probes[0].attach_points[0])
    assert set(parsed.split(" ")) == set(expected.split(" "))


@pytest.mark.parametrize(
    "text",
    ["kprobe:f /pid == 1/ { }", "kprobe:f/pid == 1/{ }", "kprobe:f /@a / 2 == 1/ { }", "uprobe:/bin/sh:f /pid/ { }",
     "kprobe:f, kprobe:g /(pid / 2) / 3/ { }", "kprobe:f /pid/ // why\n{ }"],
)  # fmt: skip
def test_the_slash_ends_the_predicate_only_before_the_block(text: str) -> None:
    probe = program(text).probes[0]
    assert probe.predicate is not None
    assert probe.body.body == ()


def test_every_construct_of_the_language_parses() -> None:
    text = """#!/usr/bin/trapline
#include <linux/sched.h>
#define X 1
struct foo { int x; struct { int y; } z; };
config = { max_map_keys = 5; stack_mode = perf; license = "GPL v2"; print_maps_on_exit = false }
import "lib.bt";
macro twice($x, @m, e) { $x + e }
let @m = lruhash(10);
fn add($a : int64, $b : struct foo *) : int64 { return $a; }
begin {
  let $x; let $y : uint8[4] = 1; let $z : typeof($x) = 2;
  if $x { 1; } else if (comptime 1) { 2; } else { 3; }
  if comptime (is_literal($x)) { }
  for $i : 0..10 { continue; } for ($kv : @m) { break; }
  while (1) { break } unroll(3) { $x += 1; }
  $t = (1, "a"); $r = (a=1, b=2); $u = (1,); $v = ();
  $w = { $q = 1; $q + 1 }; $n = if $x { 1 } else if $y { 2 } else { 3 };
  @a[1, $t.0] <<= $r.a; @++; _ = sizeof(struct foo) + offsetof(struct foo, z.y) + sizeof($x);
  f(typeof(struct foo *), typeinfo($x)); &$x; *$p; $p[1]->a.b[2]; $1 + $#;
  import "stdlib";
  return 5
}
"""
    tree = format_program(program(text))
    names = """CText ConfigEntry Import Macro MapDeclaration Function For Range Unroll While IfExpression
        BlockExpression Record Tuple Typeinfo TypeArgument Offsetof Comptime"""
    for name in names.split():
        assert name in tree, name


def test_all_syntax_errors_come_at_once() -> None:
    with pytest.raises(ParseError) as caught:
        program("begin { 1 + ; $x = ; print(1); @ = ) } end { } bad:x { }")
    assert len(caught.value.diagnostics) == 4


def test_spans_are_the_text_of_the_construct() -> None:
    probe = program("begin { @x = str(args.y, 1 + 2); }").probes[0]
    (assign,) = probe.body.body
    assert assign.span.text == "@x = str(args.y, 1 + 2)"
    assert isinstance(assign, ast.Assign)
    assert assign.value.span.text == "str(args.y, 1 + 2)"
