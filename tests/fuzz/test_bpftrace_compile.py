"""Whatever a program combines, the bpftrace front end gives correct IR or a diagnostic: it never fails itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.bpftrace.target import FixtureTarget

from trapline.errors import InternalError, TraplineError
from trapline.frontends.bpftrace import CompileOptions, compile_program
from trapline.frontends.bpftrace.builtins import BUILTINS
from trapline.frontends.bpftrace.functions import FUNCTIONS
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.source import Source

TARGET = FixtureTarget()
OPTIONS = CompileOptions(positional=("7", "abc"), unsafe=True, warnings=1)
PROBES = ["begin", "kprobe:vfs_read", "kretprobe:vfs_read", "kprobe:vfs_w*", "tracepoint:sched:sched_switch",
          "interval:s:1", "tracepoint:sched:sched_process_exec", "fexit:vfs_read", "uprobe:/bin/sh:f",
          "profile:hz:9"]  # fmt: skip
LEAVES = [*BUILTINS, "0", "1", "7", "-3", "0xffffffffffffffff", '"abc"', '""', "true", "$1", "$2", "$#", "$x", "@m",
          "@m[1]", "@k[comm]", "@h", "arg0", "args.count", "args.file", "args.prev_comm", "args.filename",
          "PIDTYPE_TGID",
          "perf", "(struct task_struct *)5", "sizeof(struct file)", '"%d %s"', '"%s"', "boot", "()"]  # fmt: skip


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "<<", ">>", "&&", "||", "==", "!=", "<", ">="])
    types = st.sampled_from(
        ["uint8", "int64", "struct task_struct *", "string", "string[4]", "bool", "enum pid_type", "int8 *"]
    )
    fields = st.sampled_from(["comm", "pid", "real_parent", "flag", "numbers", "half", "0", "1", "nosuch"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["-", "!", "~", "*"]), inner).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        st.tuples(types, inner).map(lambda t: f"(({t[0]}){t[1]})"),
        st.tuples(inner, fields).map(lambda t: f"{t[0]}.{t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"(a={t[0]}, b={t[1]})"),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=4)).map(
            lambda t: f"{t[0]}({', '.join(t[1])})"
        ),
    )


EXPRESSIONS = st.recursive(st.sampled_from(LEAVES), _grow, max_leaves=6)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda e: f"{e};"),
    EXPRESSIONS.map(lambda e: f"print({e});"),
    EXPRESSIONS.map(lambda e: f'printf("%s %d", {e}, {e});'),
    st.tuples(
        st.sampled_from(["$x", "@m", "@h", "@k[comm]", "@m[1]"]), st.sampled_from(["=", "+=", "/="]), EXPRESSIONS
    ).map(lambda t: f"{t[0]} {t[1]} {t[2]};"),
    EXPRESSIONS.map(lambda e: f"if ({e}) {{ $y = {e}; print($y) }}"),
    EXPRESSIONS.map(lambda e: f"@t[{e}] = {e};"),
    EXPRESSIONS.map(lambda e: f"@a[{e}] = hist({e});"),
    st.sampled_from(["$x++;", "@m--;", "exit();", "let $z: uint8 = 5;", "unroll(2) { $x = 1; }", "@h = count();"]),
)


@settings(max_examples=400)
@given(st.sampled_from(PROBES), st.lists(STATEMENTS, min_size=1, max_size=4))
def test_any_combination(probe: str, statements: list[str]) -> None:
    text = f"{probe} {{ $x = 1; {' '.join(statements)} }}"
    try:
        module = compile_program(Source("stdin", text), TARGET, OPTIONS).module
        check_module(passes.run(module))
    except InternalError:
        raise
    except TraplineError as error:
        assert str(error)
