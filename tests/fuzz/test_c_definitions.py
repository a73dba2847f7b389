"""Whatever C a script has, the front end compiles it or says what is wrong: it never fails itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.bpftrace.target import FixtureTarget

from trapline.errors import InternalError, TraplineError
from trapline.frontends.bpftrace import compile_program
from trapline.ir.check import check_module
from trapline.source import Source

TARGET = FixtureTarget()
TYPES = st.sampled_from(
    [
        "int",
        "char",
        "unsigned long long",
        "_Bool",
        "double",
        "size_t",
        "struct task_struct",
        "struct a",
        "union b",
        "enum e",
        "u32",
        "struct nosuch",
        "void",
        "struct { int x; union { char y; long z; }; }",
        "char __user",
        "__int128",
        "T",
    ]
)
DECLARATORS = st.sampled_from(
    ["m", "*m", "m[3]", "m[]", "m:3", "*m[2]", "(*m)(int)", "m[2][2]", ":5", "m[A]", "", "**m", "m[0]"]
)
MEMBERS = st.lists(st.tuples(TYPES, DECLARATORS).map(lambda p: f"{p[0]} {p[1]};"), max_size=4).map(" ".join)
BODIES = st.sampled_from(
    [
        "1",
        "(1 << 3)",
        "B",
        "A",
        "A + B",
        "F(2)",
        '"text"',
        "sizeof(struct a)",
        "struct a",
        "$x",
        "@m",
        "pid",
        "(",
        "'c'",
        "1.5",
        "",
        "-1",
        "{ 1 }",
        "comm",
        "arg0",
        "0xffffffffffffffff",
        "5UL",
        "é",
    ]
)
DEFINITIONS = st.one_of(
    MEMBERS.map(lambda m: f"struct a {{ {m} }};"),
    MEMBERS.map(lambda m: f"union b {{ {m} }}"),
    MEMBERS.map(lambda m: f"typedef struct {{ {m} }} T;"),
    BODIES.map(lambda b: f"enum e {{ A = {b}, B }};"),
    BODIES.map(lambda b: f"#define A {b}"),
    BODIES.map(lambda b: f"#define B {b}"),
    BODIES.map(lambda b: f"#define F(x) {b}"),
    st.sampled_from(
        [
            "#include <linux/x.h>",
            '#include "x.h"',
            "#if A",
            "#endif",
            "struct a;",
            "#ifdef BPFTRACE_HAVE_BTF",
            "enum { A };",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12).map(lambda t: f"struct a {{ {t} }};"),
)
USES = st.sampled_from(
    [
        "print(A)",
        "print(B)",
        "print(F(1))",
        "print(sizeof(struct a))",
        "$p = (struct a *)0; print($p->m)",
        "print(*(struct a *)5)",
        "print(sizeof(T))",
        "$q = (T *)0; print($q->m)",
        "print((enum e)1)",
        "@[A] = B",
        "print(((union b *)1)->m[1])",
        "unroll(A) { }",
        "print(offsetof(struct a, m))",
        "print(((struct a *)1)->m->pid)",
        "let $v: T; print($v)",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(DEFINITIONS, min_size=1, max_size=4), st.lists(USES, max_size=3))
def test_only_our_errors(definitions: list[str], uses: list[str]) -> None:
    text = "\n".join(definitions) + "\nbegin { " + "; ".join(uses) + " }"
    try:
        check_module(compile_program(Source("stdin", text), TARGET).module)
    except InternalError:
        raise
    except TraplineError as error:
        assert str(error).strip()
