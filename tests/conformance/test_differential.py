"""Programs made systematically print the same with trapline and with bpftrace 0.27.1, byte for byte."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
from tests.conformance.differential import run_bodies, run_bpftrace, run_trapline
from tests.conformance.generated import Body, make_bodies
from tests.conformance.generated_loops import make_loop_bodies
from tests.conformance.in_process import run_command_line

# bpftrace takes most of its time to start: many programs in one script.
_BATCH = 80
_JSON = """
BEGIN {
    printf("text \\"quoted\\"\\t%d\\n", 5); print(1); print(-1); print("s"); print((1, "x", (2, 3))); print(true);
    print((uint64)-1); print((int8*)4096); print(buf("ab", 2)); print(9007199254740993);
    @i = 1; @n = -5; @s = "x"; @b = true; @t = (1, "y"); @p = (int8*)16; @k[7] = (int64)8; @m[1, "z"] = 9;
    @c = count(); @ck["q"] = count(); @sum = sum(3); @min = min(-3); @max = max(4); @avg = avg(9); @st = stats(9);
    @avgk[1] = avg(9); @stk["w"] = stats(9); @h = hist(5); @hk[2] = hist(9); @l = lhist(5, 0, 10, 2); @e[1] = hist(0);
    print(@k); print(@h); print(@unset); clear(@e); cat("/proc/sys/kernel/ostype"); exit();
}
END { printf("end\\n"); @unset = 1; }
"""


def _batches() -> list[object]:
    found = []
    for area, bodies in groupby([*make_bodies(), *make_loop_bodies()], lambda body: body.area):
        all_ = list(bodies)
        for start in range(0, len(all_), _BATCH):
            found.append(pytest.param(all_[start : start + _BATCH], id=f"{area}-{start // _BATCH}"))
    return found


@pytest.mark.needs("bpftrace_peer", "btf", "tracefs")
@pytest.mark.limit(120)
@pytest.mark.parametrize("bodies", _batches())
def test_same_output(bodies: list[Body], tmp_path: Path) -> None:
    ours = run_bodies(run_trapline(tmp_path), bodies)
    theirs = run_bodies(run_bpftrace, bodies)
    different = [
        f"{body.text}\n--- trapline\n{mine}\n--- bpftrace\n{other}"
        for body, mine, other in zip(bodies, ours, theirs, strict=True)
        if mine != other
    ]
    assert not different, f"{len(different)} of {len(bodies)} differ:\n" + "\n\n".join(different)


@pytest.mark.needs("bpftrace_peer", "btf", "tracefs")
@pytest.mark.parametrize("options", [("-f", "json"), ("-q", "-f", "json"), ()], ids=["json", "quiet-json", "text"])
def test_whole_output(options: tuple[str, ...], tmp_path: Path) -> None:
    ours = run_command_line([*options, "-e", _JSON], tmp_path)
    theirs = run_bpftrace(_JSON, *options)
    assert ours.stdout == theirs.stdout
    assert ours.code == theirs.code == 0
