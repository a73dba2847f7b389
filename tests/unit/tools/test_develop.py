from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tools.develop import examples, suite
from tools.develop.run import StepError, run_step


def write_results(path: Path, **changes: object) -> None:
    results = {
        "kernel": "6.1.0",
        "where": "guest",
        "kernel_tests": {"passed": 3, "lacking": 2},
        "other_tests": {"passed": 1},
        "elsewhere": 0,
        "lacks": {"kprobe_multi": 2},
        "skips": [],
        "failures": [],
        "exit": 0,
    }
    path.write_text(json.dumps({**results, **changes}))


def report(path: Path, capsys: pytest.CaptureFixture[str], checks: list[str] | None = None) -> tuple[int, list[str]]:
    code = suite._report([suite._read_tally("6.1", path)], checks or [], 60)
    return code, capsys.readouterr().out.splitlines()


def test_report_counts_what_passed_and_what_the_kernel_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "r.json")
    code, lines = report(tmp_path / "r.json", capsys)
    assert code == 0
    assert lines[-2:] == [
        "kernel tests on 6.1.0 (guest): 3 passed, 0 failed, 2 skipped (the kernel lacks kprobe_multi: 2)",
        "4 passed, 0 failed",
    ]


def test_parts_of_a_kernels_tests_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "1.json")
    write_results(tmp_path / "2.json", kernel_tests={"passed": 4, "failed": 1}, failures=["t::x"], exit=1, lacks={})
    tally = suite._sum_up([suite._read_tally(name, tmp_path / f"{name}.json") for name in ("1", "2")])
    assert suite._report([tally], [], 60) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "kernel tests on 6.1.0 (guest): 7 passed, 1 failed, 2 skipped (the kernel lacks kprobe_multi: 2)",
        "9 passed, 1 failed",
    ]


def test_the_report_says_what_another_kernel_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "r.json", elsewhere=5, lacks={})
    _, lines = report(tmp_path / "r.json", capsys)
    assert lines[-2].endswith("3 passed, 0 failed, 2 skipped, 5 more run on another kernel")


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel_tests": {"passed": 3, "failed": 1}, "failures": ["t::x"], "exit": 1},
        {"skips": ["t::x: no reason"]},
        {"exit": 2},
        {"exit": 3},
    ],
)
def test_report_fails_on_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    write_results(tmp_path / "r.json", **changes)
    code, lines = report(tmp_path / "r.json", capsys)
    assert code == 1
    assert lines[-1] == "4 passed, 1 failed"


def test_report_fails_when_a_run_wrote_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = report(tmp_path / "missing.json", capsys)
    assert code == 1
    assert lines[-1] == "0 passed, 1 failed"


def test_report_counts_a_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "r.json")
    code, lines = report(tmp_path / "r.json", capsys, ["ruff check"])
    assert code == 1
    assert lines[-1] == "4 passed, 1 failed"


def test_run_step_shows_the_end_of_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepError, match=r"making it: exit code 3 .* Try again"):
        run_step("making it", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], hint="Try again")
    assert "why" in capsys.readouterr().out


def test_run_step_names_a_missing_program() -> None:
    with pytest.raises(StepError, match="there is no /nonexistent/program"):
        run_step("making it", ["/nonexistent/program"])


@pytest.mark.parametrize(
    ("program", "good"),
    [
        ("print('an event 1')", True),
        ("print('nothing')", False),
        ("print('an event 1'); raise SystemExit(2)", False),
    ],
)
def test_example_is_good_when_its_event_came(program: str, good: bool) -> None:
    assert examples.run_example([sys.executable, "-c", program], "an event") is good


def test_endless_example_gets_sigint_after_its_events() -> None:
    program = "import itertools, time\nfor i in itertools.count():\n print('an event', i, flush=True); time.sleep(0.01)"
    assert examples.run_example([sys.executable, "-c", program], "an event", end_after=3)
