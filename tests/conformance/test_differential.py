"""Programs made systematically print the same with trapline and with bpftrace 0.27.1, byte for byte."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

import pytest
from tests.conformance.differential import run_bodies, run_bpftrace, run_trapline
from tests.conformance.generated import Body, make_bodies

# bpftrace takes most of its time to start: many programs in one script.
_BATCH = 80
_IN_GUEST = bool(os.environ.get("TRAPLINE_GUEST"))


def _batches() -> list[object]:
    found = []
    for area, bodies in groupby(make_bodies(), lambda body: body.area):
        all_ = list(bodies)
        for start in range(0, len(all_), _BATCH):
            found.append(pytest.param(all_[start : start + _BATCH], id=f"{area}-{start // _BATCH}"))
    return found


@pytest.mark.skipif(_IN_GUEST, reason="what needs no kernel probe is compared on the host")
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
