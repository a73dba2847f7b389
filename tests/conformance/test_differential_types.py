"""Programs over the types of the language print the same, and warn of the same, with trapline and bpftrace 0.27.1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conformance.body import Body
from tests.conformance.differential import Runner, run_bodies, run_bpftrace, run_trapline
from tests.conformance.generated_types import make_type_bodies
from tests.conformance.in_process import Done

_BATCH = 90
_WARNING = re.compile(r"^stdin:(\d+:\d+-\d+): WARNING: (.*)", re.MULTILINE)
# What bpftrace says of its own expansions, of divisions that we compute with signs, and beside its other warnings; and
# "Success" where it reads an average of nothing.
_NOT_OURS = ("expanded from", "signed operands for", "left (", "right (", "Success")
# bpftrace leaves out some warnings of casts that it wraps in further casts or puts into its own macros.
_OTHER_WARNINGS = ("width", "text", "map function")


class _Recorder:
    """Runs scripts, and keeps what the first one, with all bodies, did."""

    def __init__(self, run: Runner) -> None:
        self.run = run
        self.first: Done | None = None

    def __call__(self, script: str) -> Done:
        done = self.run(script)
        self.first = self.first or done
        return done

    def warnings(self) -> list[str]:
        """Return place and text of the warnings of the first run."""
        assert self.first is not None
        found = _WARNING.findall(self.first.stderr)
        return sorted({f"{place} {text}" for place, text in found if not text.startswith(_NOT_OURS)})


def _batches() -> list[object]:
    bodies = make_type_bodies()
    starts = range(0, len(bodies), _BATCH)
    return [pytest.param(bodies[s : s + _BATCH], id=f"{bodies[s].area.replace(' ', '-')}-{s}") for s in starts]


@pytest.mark.needs("bpftrace_peer", "btf", "tracefs")
@pytest.mark.limit(200)
@pytest.mark.parametrize("bodies", _batches())
def test_same_output_and_warnings(bodies: list[Body], tmp_path: Path) -> None:
    ours, theirs = _Recorder(run_trapline(tmp_path)), _Recorder(run_bpftrace)
    outputs = zip(bodies, run_bodies(ours, bodies), run_bodies(theirs, bodies), strict=True)
    different = [
        f"{body.text}\n--- trapline\n{mine}\n--- bpftrace\n{other}" for body, mine, other in outputs if mine != other
    ]
    assert not different, f"{len(different)} of {len(bodies)} differ:\n" + "\n\n".join(different)
    if bodies[0].area not in _OTHER_WARNINGS:
        assert ours.warnings() == theirs.warnings()


def test_there_are_many_programs() -> None:
    bodies = make_type_bodies()
    assert len(bodies) >= 500
    assert len({body.text for body in bodies}) == len(bodies)
