"""Wrong programs: the same exit code, and the first error at the same place, as with bpftrace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conformance.differential import run_bpftrace, run_trapline

# bpftrace starts once for each program.
WRONG = (
    'BEGIN { printf("x\\n" }',
    'BEGIN { @a = 1; @a = "s"; }',
    'BEGIN { $a = 1; $a = "s"; }',
    'BEGIN { printf("%d\\n", $nope); }',
    "BEGIN { print(@nope); }",
    'BEGIN { printf("%d %d\\n", 1); }',
    'BEGIN { printf("%d\\n", pdi); }',
    "BEGIN { foo(1); }",
    'BEGIN { @a[1] = 1; @a["x"] = 2; }',
    "BEGIN { @a[1] = 1; @a[1, 2] = 2; }",
    "BEGIN { @c = count(); @c = 1; }",
    "BEGIN { @l = lhist(1, 10, 5, 1); }",
    'BEGIN { system("ls"); }',
    "nosuch:thing { }",
    "tracepoint:syscalls:sys_enter_nonsense { }",
    "tracepoint:syscalls:sys_enter_openat { print(args.filenam); }",
    "BEGIN { $t = (struct task_struct *)curtask; print($t->nosuch); }",
    "BEGIN { if (1 { } }",
    "interval:s { }",
    'BEGIN { $a = 1; $b = "x"; if ($a == $b) { } }',
    "BEGIN { break; }",
    "BEGIN { $t = (1, 2); print($t.7); }",
)
_PLACE = re.compile(r"^stdin:([\d:-]+): ERROR", re.MULTILINE)


@pytest.mark.needs("bpftrace_peer", "btf", "tracefs")
@pytest.mark.parametrize("program", WRONG)
def test_same_place(program: str, tmp_path: Path) -> None:
    ours, theirs = run_trapline(tmp_path)(program), run_bpftrace(program)
    assert ours.code == theirs.code == 1
    assert (ours.stdout, theirs.stdout) == ("", "")
    mine, other = _PLACE.findall(ours.stderr), _PLACE.findall(theirs.stderr)
    assert mine[:1] == other[:1], f"{ours.stderr}\n---\n{theirs.stderr}"
    # The line and its underline, as bpftrace draws them.
    drawing = theirs.stderr.splitlines()
    at = next(i for i, line in enumerate(drawing) if _PLACE.match(line))
    assert "\n".join(drawing[at + 1 : at + 3]) in ours.stderr
