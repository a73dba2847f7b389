"""Large things: long scripts, long strings, many maps, many probes, deep stacks, deep nesting."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from tests.conformance.in_process import run_command_line
from tests.harness.peers import run_peer
from tests.kernel.traced import trace

import trapline

pytestmark = [pytest.mark.kernel, pytest.mark.needs("btf", "tracefs"), pytest.mark.one_kernel]


def _output(program: str, folder: Path) -> str:
    path = folder / "large.bt"
    path.write_text(program)
    done = run_command_line(["-q", str(path)], folder)
    assert (done.code, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.rows("1.1.13")
def test_a_script_of_a_thousand_lines(tmp_path: Path) -> None:
    # Each block has ten lines and its own variables, map, string and format; END adds up.
    blocks = []
    for i in range(100):
        blocks.append(
            f"""BEGIN
{{
    $a = {i};
    $s = "block {i}";
    if ($a % 2 == 0) {{
        @even[$s] = $a;
    }} else {{
        @odd[$s, $a] = sum($a);
    }} @n += $a; printf("%s %d\\n", $s, $a * 2);
}}"""
        )
    program = "\n".join([*blocks, "END { print(@n); clear(@even); clear(@odd); clear(@n); }", "BEGIN { exit(); }"])
    assert program.count("\n") >= 1000
    lines = _output(program, tmp_path).split("\n")
    assert lines[:100] == [f"block {i} {2 * i}" for i in range(100)]
    assert [line for line in lines[100:] if line] == [f"@n: {sum(range(100))}"]


@pytest.mark.rows("1.6.1")
def test_sixty_four_maps(tmp_path: Path) -> None:
    values = ("{i}", '"s{i}"', "count()", "sum({i})", "max({i})", "avg({i})", "({i}, {i} + 1)", "hist({i})")
    assigned = [f"@m{i:02}[{i}] = {values[i % len(values)].format(i=i)};" for i in range(64)]
    # The kernel lets one program use 64 maps, and a few are trapline's own; so the last ones have a second program.
    blocks = [" ".join(assigned[:56]), " ".join(assigned[56:]) + " exit();"]
    shown = _output("\n".join(f"BEGIN {{ {block} }}" for block in blocks), tmp_path)
    expected = {
        0: lambda i: f"@m{i:02}[{i}]: {i}",
        1: lambda i: f"@m{i:02}[{i}]: s{i}",
        2: lambda i: f"@m{i:02}[{i}]: 1",
        6: lambda i: f"@m{i:02}[{i}]: ({i}, {i + 1})",
        7: lambda i: f"@m{i:02}[{i}]:",
    }
    for i in range(64):
        line = expected.get(i % 8, expected[0])(i)
        assert line in shown.splitlines(), line


def test_too_many_maps_for_one_program_are_told(tmp_path: Path) -> None:
    program = "BEGIN { " + " ".join(f"@m{i}[{i}] = {i};" for i in range(64)) + " }"
    done = run_command_line(["-q", "-e", program], tmp_path)
    assert done.code == 1 and done.stdout == ""
    assert "trapline's own included, and a program can use 64" in done.stderr
    assert "HINT: spread the maps over several probes" in done.stderr


@pytest.mark.rows("1.4.7")
def test_deep_nesting(tmp_path: Path) -> None:
    depth = 60
    blocks = "".join(f"if ($x >= {i}) {{ $y{i} = $x + {i}; " for i in range(depth))
    sums = " + ".join(f"$y{i}" for i in range(depth))
    parentheses = "(" * 200 + "$x" + ")" * 200
    program = f"BEGIN {{ $x = (uint64){depth}; {blocks} print({sums}); {'}' * depth} print({parentheses}); exit(); }}"
    total = sum(depth + i for i in range(depth))
    assert _output(program, tmp_path).split() == [str(total), str(depth)]


@pytest.mark.rows("1.8.7")
def test_strings_of_a_thousand_bytes_as_keys_and_in_printf(tmp_path: Path) -> None:
    names = [("/" + letter * 199) * 5 for letter in "abc"]

    def act() -> None:
        for name in names + names[:1]:
            with pytest.raises(FileNotFoundError):
                os.open(name, os.O_RDONLY)

    text = """
        tracepoint:syscalls:sys_enter_openat /pid == $1 && str(args.filename, 4) != "/usr"/ {
            $s = str(args.filename); @[$s, str(args.filename)] = count(); printf("%s|%s", $s, str(args.filename));
        }
    """
    done = trace(text, act)
    assert [t for t in done.texts if len(t) > 1000] == [f"{name}|{name}" for name in names + names[:1]]
    counts = {key: count for key, count in done.maps["@"].items() if len(key[0]) == 1000}
    assert {key: int(count) for key, count in counts.items()} == {
        (name, name): 2 if name == names[0] else 1 for name in names
    }


def _recursive_call(depth: int) -> None:
    """Call getppid(2) below `depth` frames with frame pointers."""
    module = llvm.parse_assembly(
        """
        define i64 @nest(i64 %n, ptr %f) #0 {
          %last = icmp eq i64 %n, 0
          br i1 %last, label %call, label %again
        call:
          %r = call i64 %f()
          ret i64 %r
        again:
          %m = sub i64 %n, 1
          %s = call i64 @nest(i64 %m, ptr %f)
          %t = add i64 %s, 1
          ret i64 %t
        }
        attributes #0 = { noinline "frame-pointer"="all" "disable-tail-calls"="true" }
        """
    )
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    with llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine()) as engine:
        engine.finalize_object()
        nest = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("nest"))
        getppid = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p)
        assert nest(depth, getppid) == os.getppid() + depth


@pytest.mark.rows("1.6.20")
def test_stacks_of_127_frames_as_keys() -> None:
    text = """
        tracepoint:syscalls:sys_enter_getppid /pid == $1/ {
            printf("%d", len(ustack(raw, 127))); @[ustack(raw, 127)] = count();
        }
    """
    done = trace(text, lambda: [_recursive_call(200), _recursive_call(90)])
    depths = [int(number) for number in done.texts if int(number) > 80]
    assert depths[0] == 127 and 90 <= depths[1] <= 127
    assert max(len(key.splitlines() if isinstance(key, str) else key) for key in done.maps["@"]) >= 127


@pytest.mark.needs("kprobes")
@pytest.mark.limit(180)
def test_three_hundred_probes(tmp_path: Path) -> None:
    # Four entries and a return of each function, each a program and a link of its own.
    names = [*sorted(set(trapline.probes("kprobe:vfs_*")))[:60], "kprobe:do_nanosleep"]
    blocks = [f"{name} {{ @a[{i}] = count() }}" for i, name in enumerate(names * 4)]
    blocks += [f"kret{name[1:]} {{ @b[{i}] = count() }}" for i, name in enumerate(names)]
    program = "\n".join(blocks) + "\nEND { print(@a[60]); print(@b[60]); clear(@a); clear(@b) }"
    path = tmp_path / "probes.bt"
    path.write_text(program)
    done = run_command_line([str(path), "-c", "sleep 0.01"], tmp_path)
    assert done.code == 0, done.stderr
    assert f"Attached {len(blocks) + 1} probes" in done.stderr
    assert int(done.stdout.split()[0]) >= int(done.stdout.split()[1]) >= 1


_MANY_KEYS = """
BEGIN {
    for ($i : 0..3000) {
        $n = (int64)$i;
        @sums[$n % 7, $i * 7919] = sum($n * 3 - 4000);
        @texts[$i % 2 ? "abc" : "abcdefghijkl", $i] = $n * $n;
        @nested[(uint8)($i % 256), (-$n, "in between")] = $n;
        @equal[$i] = count();
        @short[(int16)-$n] = (int8)$i;
    }
    print(@sums, 5);
    print(@texts, 0, 7);
    exit();
}
"""


@pytest.mark.needs("bpftrace_peer")
@pytest.mark.limit(120)
@pytest.mark.rows("1.6.16")
def test_thousands_of_keys_are_printed_as_the_peer_does(tmp_path: Path) -> None:
    ours = _output(_MANY_KEYS, tmp_path)
    theirs = run_peer(["bpftrace", "-q", "-e", _MANY_KEYS]).stdout.decode()
    # bpftrace sorts neither equal values nor short ones (docs/differences.md).
    ordered = [
        [line for line in text.split("\n") if not line.startswith(("@equal", "@short"))] for text in (ours, theirs)
    ]
    assert len(ordered[0]) > 12_000
    assert ordered[0] == ordered[1]
    assert sorted(ours.split("\n")) == sorted(theirs.split("\n"))
