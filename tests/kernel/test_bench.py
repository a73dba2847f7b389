"""The benchmarks run: each once and small. Their figures mean nothing here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench import rows
from tests.harness.limits import scaled

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.kernel
@pytest.mark.needs("bpftrace_peer", "tracefs")
@pytest.mark.limit(200)
def test_every_benchmark_runs_and_prints_a_ratio() -> None:
    if os.environ.get("TRAPLINE_GUEST"):
        pytest.skip("lacks a native CPU: under emulation figures mean nothing")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=scaled(180),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = len(rows.HOST_WALLS) + 2 + len(rows.COSTS)
    assert done.stdout.count(" ratio ") == measured, done.stdout
    assert done.stdout.count("reported lost") == 2 * len(rows.FLOODS), done.stdout
