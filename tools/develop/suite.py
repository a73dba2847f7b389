"""Every check and test: on this machine, then in a guest of every kernel, then the sum."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.develop.environment import PEERS, TEST, compile_sources, mount_tracefs, set_up, venv_program
from tools.develop.run import REPO, StepError, clean_environment, run_step, say

# "sid" is whatever kernel Debian sid had at set-up: 7.2 or newer.
KERNELS = ("6.1", "6.12", "sid")
RESULTS = REPO / "build" / "guest"
_GUEST_TIMEOUT_S = 35 * 60
_HOST_TIMEOUT_S = 20 * 60
_GUEST_TESTS = ("tests/kernel", "tests/conformance")


@dataclass
class Tally:
    """The outcomes of one pytest run, from its result file."""

    name: str
    kernel_tests: dict[str, int] = field(default_factory=dict)
    other_tests: dict[str, int] = field(default_factory=dict)
    lacks: dict[str, int] = field(default_factory=dict)
    skips: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """Return how many tests of any kind ended so."""
        return self.kernel_tests.get(outcome, 0) + self.other_tests.get(outcome, 0)


def run_checks() -> list[str]:
    """Run lint, types and layers; return the titles of those that failed."""
    checks: list[tuple[str, list[str | Path]]] = [
        ("ruff check", [venv_program("ruff"), "check", "."]),
        ("ruff format --check", [venv_program("ruff"), "format", "--check", "."]),
        ("mypy --strict", [venv_program("mypy")]),
        ("import-linter", [venv_program("lint-imports"), "--no-logo"]),
    ]
    failed = []
    for title, argv in checks:
        try:
            run_step(title, argv)
        except StepError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed.append(title)
    return failed


def run_suite(*, kernels: list[str], host: bool) -> int:
    """Set up, check and test everything; print the counts; return 0 when all of it passed."""
    begun = time.monotonic()
    set_up(TEST)
    if os.geteuid() != 0:
        raise StepError("the tests load probes, so make test needs root")
    RESULTS.mkdir(parents=True, exist_ok=True)
    compile_sources()
    mount_tracefs()
    failed_checks = run_checks() if host else []
    tallies = [_run_on_host()] if host else []
    tallies += _run_in_guests(kernels)
    return _report(tallies, failed_checks, time.monotonic() - begun)


def _environment(results: Path) -> dict[str, str]:
    return {"TRAPLINE_KERNEL_TESTS": "1", "TRAPLINE_RESULTS": str(results), "TRAPLINE_PEERS": str(PEERS)}


def _run_on_host() -> Tally:
    results = RESULTS / "host.json"
    results.unlink(missing_ok=True)
    say(f"tests on this machine ({os.uname().release})")
    env = clean_environment({**_environment(results), "PATH": f"{venv_program('')}:{os.environ['PATH']}"})
    try:
        subprocess.run(
            [venv_program("pytest"), "-q"],
            cwd=REPO,
            env=env,
            stdin=subprocess.DEVNULL,
            timeout=_HOST_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Tally("host", failures=[f"the tests on the host took longer than {_HOST_TIMEOUT_S} s"])
    return _read_tally(f"{os.uname().release} (host)", results)


def _run_in_guests(kernels: list[str]) -> list[Tally]:
    """Run the kernel tests in one guest per kernel, as many side by side as there are CPUs: each is one busy thread."""
    tests = [name for name in _GUEST_TESTS if any((REPO / name).rglob("test_*.py"))]
    if not tests:
        say("there are no kernel tests")
        return []
    running: list[subprocess.Popen[bytes]] = []
    pool = ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(kernels))))
    try:
        return list(pool.map(lambda kernel: _run_in_guest(kernel, tests, running), kernels))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _run_in_guest(kernel: str, tests: list[str], running: list[subprocess.Popen[bytes]]) -> Tally:
    results, log = RESULTS / f"{kernel}.json", RESULTS / f"{kernel}.log"
    results.unlink(missing_ok=True)
    environment = [f"--env={name}={value}" for name, value in _environment(results).items()]
    environment.append(f"--env=PATH={venv_program('')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    environment.append("--env=HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis")
    guest = [sys.executable, "-m", "tools.guest", "run", "-v", f"--kernel={kernel}", f"--timeout={_GUEST_TIMEOUT_S}"]
    pytest = ["--", str(venv_program("pytest")), "-v", "-p", "no:cacheprovider", "-rs", *tests]
    say(f"tests in a guest with kernel {kernel}; output in {log.relative_to(REPO)}")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*guest, *environment, f"--cwd={REPO}", *pytest],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    running.append(process)
    code = _wait_with_signs_of_life(kernel, process, log)
    tally = _read_tally(f"{kernel} (guest)", results)
    if code and not tally.failures:
        tally.failures.append(f"the run in the guest ended with exit code {code}")
    if tally.failures:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-120:])
        print(f"---- the end of {log.relative_to(REPO)}:\n{end}", flush=True)
    return tally


def _wait_with_signs_of_life(kernel: str, process: subprocess.Popen[bytes], log: Path) -> int:
    begun = time.monotonic()
    while True:
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            lines = log.read_text(errors="replace").splitlines()
            last = lines[-1][:100] if lines else ""
            print(f"   {kernel}: {time.monotonic() - begun:.0f} s, {last}", flush=True)


def _read_tally(name: str, results: Path) -> Tally:
    try:
        saved: dict[str, Any] = json.loads(results.read_text())
    except FileNotFoundError:
        return Tally(name, failures=["the test run wrote no results: it did not come to its end"])
    tally = Tally(
        f"{saved['kernel']} ({saved['where']})",
        saved["kernel_tests"],
        saved["other_tests"],
        saved["lacks"],
        saved["skips"],
        saved["failures"],
    )
    if saved["exit"] not in (0, 1, 5):
        tally.failures.append(f"pytest ended with exit code {saved['exit']}")
    return tally


def _report(tallies: list[Tally], failed_checks: list[str], seconds: float) -> int:
    problems = [f"check: {title}" for title in failed_checks]
    passed = failed = 0
    print(f"\n== summary after {seconds / 60:.1f} minutes")
    for tally in tallies:
        passed += tally.count("passed") + tally.count("xfailed")
        failed += max(tally.count("failed"), len(tally.failures))
        problems += [f"{tally.name}: {failure}" for failure in tally.failures]
        problems += [f"{tally.name}: skipped without a feature that the kernel lacks: {skip}" for skip in tally.skips]
        failed += len(tally.skips)
    problems_text = "\n".join(f"FAILED {problem}" for problem in problems)
    if problems_text:
        print(problems_text)
    for tally in tallies:
        lacks = ", ".join(f"{name}: {count}" for name, count in sorted(tally.lacks.items()))
        counts = tally.kernel_tests
        print(
            f"kernel tests on {tally.name}: {counts.get('passed', 0)} passed, {counts.get('failed', 0)} failed, "
            f"{counts.get('lacking', 0)} skipped" + (f" (the kernel lacks {lacks})" if lacks else "")
        )
    failed += len(failed_checks)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or problems else 0
