"""Count outcomes by kind of test and write them for whoever adds up several runs."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

LACKS = "lacks "


class ResultFile:
    """A pytest plugin that writes ``{kernel, where, kernel_tests: {outcome: n}, other_tests, lacks, failures …}``."""

    def __init__(self, path: Path) -> None:
        """Write to ``path`` when the session ends."""
        self._path = path
        self._outcome: dict[str, str] = {}
        self._kernel: set[str] = set()
        self._lacks: Counter[str] = Counter()
        self._skips: list[str] = []
        self._elsewhere = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what another kernel runs."""
        self._elsewhere += len(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which tests are kernel tests, now that conftest has marked them."""
        self._kernel = {item.nodeid for item in session.items if item.get_closest_marker("kernel") is not None}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of a test's three phases."""
        outcome = report.outcome
        if outcome == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            if hasattr(report, "wasxfail"):
                outcome = "xfailed"
            elif LACKS in reason:
                outcome = "lacking"
                self._lacks[reason.partition(LACKS)[2]] += 1
            else:
                self._skips.append(f"{report.nodeid}: {reason}")
        if (report.when == "call" or outcome != "passed") and self._outcome.get(report.nodeid) != "failed":
            self._outcome[report.nodeid] = outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be collected is a failure."""
        if report.failed:
            self._outcome[report.nodeid] = "failed"

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the file."""
        counts = {"kernel_tests": Counter(), "other_tests": Counter()}
        for nodeid, outcome in self._outcome.items():
            counts["kernel_tests" if nodeid in self._kernel else "other_tests"][outcome] += 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(
            json.dumps(
                {
                    "kernel": os.uname().release,
                    "where": "guest" if os.environ.get("TRAPLINE_GUEST") else "host",
                    **counts,
                    "elsewhere": self._elsewhere,
                    "lacks": self._lacks,
                    "skips": self._skips,
                    "failures": sorted(nodeid for nodeid, outcome in self._outcome.items() if outcome == "failed"),
                    "exit": int(exitstatus),
                }
            )
        )
