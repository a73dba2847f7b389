"""Programs of the bpftrace language: accepted by the verifier, and computing what the language says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from tests.golden.bpftrace.test_bpftrace import PROGRAMS

import trapline
from trapline.codegen.compile import compile_module
from trapline.frontends.bpftrace import CompileOptions, compile_program
from trapline.kernel.object import load_object
from trapline.kernel.target import LiveTarget
from trapline.source import Source

OPTIONS = CompileOptions(positional=("7", "abc"), unsafe=True, warnings=1)

ACCEPTED = [
    'begin { $s = "abc"; if ($s == "abc") { print($s) } @m[$s] = "xx"; if (@m["abc"] == $s) { print(1) } }',
    "begin { print(kstack); print(ustack(perf, 5)); @k[kstack] = count(); @u[ustack(4), comm] = count() }",
    'begin { printf("%s %s\\n", ksym(1234), usym(0x400000)); @[ksym(3)] = 1; @u[usym(3)] = 2 }',
    'kprobe:vfs_read { printf("%s %s %d\\n", func, probe, reg("ip")); @[func] = count(); @p[probe] = count() }',
    "kprobe:vfs_* { @[probe] = count(); @f[func] = count(); print(kstack(5)) }",
    "kretprobe:vfs_read /args.count > 10/ { @[comm] = hist(retval); print(str(args.file.f_path.dentry.d_name.name)) }",
    "kprobe:vfs_read+4 { print(arg0) } kprobe:0xffffffff81000000 { print(1) }",
    "tracepoint:sched:sched_switch { @[args.next_comm, args.prev_pid] = count(); @p[kstack] = count() }",
    "tracepoint:sched:sched_process_exec { printf(\"%s\", args.filename); @[args.filename] = lhist(pid, 0, 100, 5) }",
    "tracepoint:syscalls:sys_enter_execve { join(args.argv); printf(\"%s\", str(args.filename, 10)) }",
    "begin { $t = curtask; print($t->comm); print($t.mm.pgd); print($t->in_execve); print(*$t->real_cred) }",
    "begin { $i = 3; print(curtask->comm[$i]); print(strncmp(comm, pcomm, 4)); print(buf(curtask, $i)) }",
    "begin { $i = 0; while ($i < 100) { $i++; if ($i == 5) { continue } @c[$i] = sum($i) } }",
    "software:cpu-clock:1000000 { @[kstack] = count() } profile:hz:99 { @x[ustack] = count() }",
    "begin { @m = min(5); @avg = avg(2); printf(\"%d %d\", @m, @avg); print(@m); @k[1] = stats(1); print(@k[1]) }",
    "uprobe:libc:getenv { print(str(arg0)); print(func) } uretprobe:libc:getenv { print(retval) }",
    "interval:s:1, interval:ms:100 { @++; print(@); clear(@); zero(@); exit(3); } end { print(@) }",
    "begin { printf(\"%s%r%s%s\", macaddr(curtask), buf(curtask, 16), ntop(1), strftime(\"%H\", 5)); cat(\"/x\") }",
]  # fmt: skip


@pytest.fixture(scope="module")
def target() -> Iterator[LiveTarget]:
    yield LiveTarget()


@pytest.mark.parametrize("text", ACCEPTED)
def test_the_verifier_accepts(text: str, target: LiveTarget) -> None:
    module = compile_program(Source("stdin", text), target, OPTIONS).module
    with load_object(compile_module(module, target), target) as loaded:
        assert len(loaded.programs) == len(module.programs)


@pytest.mark.parametrize(
    "path", [p for p in PROGRAMS if p.stem not in ("structs", "tracepoints", "wildcard")], ids=lambda p: p.stem
)
def test_the_verifier_accepts_the_golden_programs(path: object, target: LiveTarget) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    text = text.replace("args.file.f_dentry->d_name", "args.file.f_path.dentry->d_name")
    module = compile_program(Source("stdin", text), target, OPTIONS).module
    with load_object(compile_module(module, target), target) as loaded:
        assert len(loaded.programs) == len(module.programs)


def maps_after(text: str, **options: object) -> dict[str, object]:
    """Run a program to its ``exit()`` and return its maps."""
    with trapline.Session(text, cache=False, **options) as session:  # type: ignore[arg-type]
        for _ in session.events(timeout=20):
            pass
        session.finish()
        return {name: dict(view.items_sorted()) for name, view in session.maps.items()}


def value(text: str) -> object:
    """Return the value of an expression of the language."""
    (item,) = maps_after(f"begin {{ @v = {text}; exit() }}")["@v"].values()  # type: ignore[attr-defined]
    return item


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 % 3", 6), ("-7 / 2", -3), ("-7 % 3", -1), ("(int64)-7 / (int64)2", -3), ("7 / -2", -3),
        ("(uint64)-7 / 2", 9223372036854775804), ("-8 >> 1", -4), ("1 << 40", 1 << 40), ("~(uint8)5", 250),
        ("~5", 18446744073709551610),
        ("(uint8)300", 44), ("(int8)200", -56), ("5 & 3 | 8 ^ 2", 11), ("(int32)-1 < (uint32)1", True),
        ("5 > 3 && 0 || !1", False), ("1 ? 2 : 3", 2), ("0 ?: 9", 9), ("sizeof(int32)", 4),
        ("3ms", 3000000),
        ("pid == tid", True), ("(1, 2).1", 2), ('strncmp("abcd", "abxy", 2)', 0), ('strncmp("abcd", "abxy", 3)', 1),
        ('"abc" == "abc"', True), ('"abc" == "abcd"', False),
        ("bswap((uint16)0x1234)", 0x3412), ("{ $a = 4; $a * $a }", 16),
        ("if (1 > 2) { 5 } else { 6 }", 6), ("curtask->pid == tid", True), ("curtask->real_parent->tgid == ppid", True),
        ("curtask.comm == comm", True), ("offsetof(struct task_struct, comm) > 0", True), ("PIDTYPE_TGID == 1", True),
    ],
)  # fmt: skip
def test_expressions_have_their_values(text: str, expected: object) -> None:
    assert value(text) == expected


def test_division_by_zero_is_reported_and_gives_1() -> None:
    with pytest.warns(trapline.TraplineWarning, match="Divide or modulo by 0"):
        assert value("5 / ((uint8)0)") == 1


def test_maps_are_changed_in_place() -> None:
    found = maps_after(
        'begin { @a = 5; @a *= 3; @a <<= 2; @a -= 1; @a--; ++@a; $x = @a++; @x = $x; @k[1, "b"] += 2; @k[1, "b"]++;'
        ' @d[1] = 1; @d[2] = 2; delete(@d, 1); @has = has_key(@d, 1); @s[comm] = "text"; @t = (1, "x"); exit() }'
    )
    assert list(found["@a"].values()) == [60]  # type: ignore[attr-defined]
    assert list(found["@x"].values()) == [59]  # type: ignore[attr-defined]
    assert found["@k"] == {(1, "b"): 3}
    assert found["@d"] == {2: 2}
    assert list(found["@has"].values()) == [False]  # type: ignore[attr-defined]
    assert list(found["@s"].values()) == ["text"]  # type: ignore[attr-defined]
    assert list(found["@t"].values()) == [(1, "x")]  # type: ignore[attr-defined]


def test_aggregates_merge_in_the_kernel_as_they_do_for_the_reader() -> None:
    found = maps_after(
        "begin { @c = count(); @s = sum(-5); @s = sum(2); @mi = min(7); @mi = min(3); @ma = max(-7); @ma = max(-9);"
        " @av = avg(10); @av = avg(20); @r[1] = (int64)@c; @r[2] = (int64)@s; @r[3] = (int64)@mi; @r[4] = (int64)@ma;"
        " @r[5] = (int64)@av; exit() }"
    )
    assert found["@r"] == {1: 1, 2: -3, 3: 3, 4: -7, 5: 15}
    assert [next(iter(found[n].values())) for n in ("@c", "@s", "@mi", "@ma")] == [1, -3, 3, -7]  # type: ignore[attr-defined]


def test_the_process_filter_hides_other_processes() -> None:
    text = "tracepoint:syscalls:sys_enter_getuid { @[pid] = count() }"
    with trapline.Session(text, pid=os.getpid(), cache=False) as session:
        session.attach()
        os.getuid()
        child = os.fork()
        if child == 0:
            os.getuid()
            os._exit(0)
        os.waitpid(child, 0)
        session.finish()
        assert list(session.maps["@"]) == [os.getpid()]


@pytest.mark.needs("kprobes")
@pytest.mark.limit(120)
def test_arguments_by_name_at_entry_and_return() -> None:
    text = """
        kprobe:do_sys_openat2 /pid == $1/ { printf("open %s", str(args.filename)) }
        kprobe:__sys_socket /pid == $1/ { printf("socket %d", args.family) }
        kretprobe:__sys_socket /pid == $1/ { printf("returned %d %d", args.family, retval) }
        kretprobe:do_sys_openat2 /pid == $1/ { @[str(args.filename)] = count() }
        kprobe:__sys_s* /pid == $1/ { @probe[probe] = count(); @func[func] = count() }
    """
    with trapline.Session(text, args=(str(os.getpid()),), cache=False) as session:
        session.attach()
        open("/etc/hostname").close()
        socket.socket(socket.AF_UNIX).close()
        found = []
        for event in session.events(timeout=5):
            found.append(event.text)
            if event.text.startswith("returned"):
                break
        session.finish()
        assert "open /etc/hostname" in found
        assert f"socket {socket.AF_UNIX.value}" in found
        assert any(text.startswith(f"returned {socket.AF_UNIX.value} ") for text in found)
        assert dict(session.maps["@"].items_sorted())["/etc/hostname"] == 1
        assert dict(session.maps["@probe"].items_sorted())["kprobe:__sys_socket"] == 1
        assert "__sys_socket" in str([k for k, _ in session.maps["@func"].items_sorted()])


@pytest.mark.needs("kprobes")
@pytest.mark.limit(120)
def test_nested_calls_keep_their_own_arguments() -> None:
    # do_sys_open calls do_sys_openat2: one program, a task in it twice.
    text = "kretprobe:do_sys_open* /pid == $1/ { @[probe, str(args.filename)] = count() }"
    with trapline.Session(text, args=(str(os.getpid()),), cache=False) as session:
        session.attach()
        for _ in range(3):
            open("/etc/hostname").close()
        session.finish()
        found = dict(session.maps["@"].items_sorted())
        assert found["kretprobe:do_sys_openat2", "/etc/hostname"] == 3
        assert {name for _, name in found} == {"/etc/hostname"}
