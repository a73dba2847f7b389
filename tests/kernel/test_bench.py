"""The benchmarks run: each once and small. Their figures mean nothing here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from bench import rows
from bench.groups import GROUPS
from bench.results import Comparison, Flood, Growth, Limit, read_rows
from tests.conformance.bcc_peer import HEADERS
from tests.harness.limits import scaled

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.kernel
@pytest.mark.needs("bpftrace_peer", "tracefs")
@pytest.mark.limit(300)
def test_every_benchmark_runs_and_gives_its_rows(tmp_path: Path) -> None:
    if os.environ.get("TRAPLINE_GUEST"):
        pytest.skip("lacks a native CPU: under emulation figures mean nothing")
    groups = [name for name, group in GROUPS.items() if not group.guest and name != "bcc-events"]
    expected = len(rows.HOST_WALLS) + 2 + len(rows.COSTS) + len(rows.FLOODS)
    floods, growths = len(rows.FLOODS), 3
    if any(HEADERS.glob("6.12*/build")):
        groups.append("bcc-events")
        expected += len(rows.BCC_EVENTS)
    path = tmp_path / "rows"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", f"--rows={path}", *groups],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=scaled(280),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = Counter(type(row) for row in read_rows(path.read_text().splitlines()))
    assert (found[Comparison], found[Flood], found[Growth]) == (expected, floods, growths), done.stdout
    assert found[Limit] > 5
