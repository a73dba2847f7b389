"""Each case of the case files is a test: run the command line, compare what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conformance.case_files import Case, read_all_cases
from tests.conformance.in_process import Done, run_command_line
from tests.harness.cache_states import in_cache_state
from tests.harness.limits import scaled

# What a run says about itself; anything else on stderr must be expected.
_NOTICES = re.compile(r"Attached \d+ probes?\n")


def _parameters() -> list[object]:
    return [*_make_parameters()]


def _make_parameters() -> Iterator[object]:
    for case in read_all_cases():
        # What needs nothing but the language runs on the host, and on the kernel with the strictest verifier.
        language = pytest.mark.one_kernel("6.1")
        marks = [pytest.mark.needs(*case.needs) if case.needs else language]
        if "LIMIT" in case.values:
            marks.append(pytest.mark.limit(float(case.values["LIMIT"])))
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", _parameters())
def test_case(case: Case, tmp_path: Path) -> None:
    check_case(case, tmp_path)


def check_case(case: Case, tmp_path: Path) -> None:
    """Run a case and compare what it prints; `tmp_path` takes its files."""
    run = _run_process if "PROCESS" in case.values else _run_here
    done = run(case, tmp_path)
    shown = f"{case.where}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}\n--- exit code {done.code}"
    assert done.code == case.exit_code, shown
    if "EXPECT" in case.values:
        assert done.stdout.strip("\n") == case.values["EXPECT"].strip("\n"), shown
    if "EXPECT_FILE" in case.values:
        assert (tmp_path / "out").read_text().rstrip("\n") == case.values["EXPECT_FILE"].rstrip("\n"), shown
    for pattern in case.lists.get("EXPECT_REGEX", ()):
        assert re.search(pattern, done.stdout, re.MULTILINE), f"{pattern}\n{shown}"
    for pattern in case.lists.get("NOT_REGEX", ()):
        assert not re.search(pattern, done.stdout + done.stderr, re.MULTILINE), f"{pattern}\n{shown}"
    if "STDERR_REGEX" in case.lists:
        for pattern in case.lists["STDERR_REGEX"]:
            assert re.search(pattern, done.stderr, re.MULTILINE), f"{pattern}\n{shown}"
    else:
        assert _NOTICES.sub("", done.stderr) == "", shown


def _run_here(case: Case, folder: Path) -> Done:
    return run_command_line(case.arguments(folder), folder, case.environment)


def _run_process(case: Case, folder: Path) -> Done:
    arguments = case.arguments(folder)

    def run(state: Mapping[str, str]) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "trapline", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **state, **case.environment},
            timeout=scaled(40),
            check=False,
            text=True,
        )
        return Done(done.stdout, done.stderr, done.returncode)

    return in_cache_state(run, in_process=False)
