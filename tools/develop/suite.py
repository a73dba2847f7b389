"""Every check and test, on this machine and in a guest of every kernel side by side, then the sum."""

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

from tools.develop.environment import PEERS, TEST, compile_sources, mount_filesystems, set_up, venv_program
from tools.develop.run import REPO, StepError, clean_environment, run_step, say

# "sid" is Debian sid's, 7.2 or newer.
KERNELS = ("6.1", "6.12", "sid")
# Each run is one busy thread. The last kernel's tests are shared out so that no CPU idles while it ends.
_PARTS_OF_THE_LAST = 2
RESULTS = REPO / "build" / "guest"
# About twice what a slow machine (two threads of one core) takes: a run that hangs is stopped, none that is only slow.
_GUEST_TIMEOUT_S = 90 * 60
_HOST_TIMEOUT_S = 40 * 60
_GUEST_TESTS = ("tests/kernel", "tests/conformance")
_HOST_NEEDS = ("kernel/btf/vmlinux", "bus/event_source/devices/uprobe/type")


@dataclass
class Tally:
    """The outcomes of one pytest run, from its result file."""

    name: str
    kernel_tests: dict[str, int] = field(default_factory=dict)
    other_tests: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    lacks: dict[str, int] = field(default_factory=dict)
    skips: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """Return how many tests of any kind ended so."""
        return self.kernel_tests.get(outcome, 0) + self.other_tests.get(outcome, 0)

    def add(self, other: Tally) -> None:
        """Add what another part of the same kernel's tests counted."""
        for mine, theirs in (
            (self.kernel_tests, other.kernel_tests),
            (self.other_tests, other.other_tests),
            (self.lacks, other.lacks),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.elsewhere = max(self.elsewhere, other.elsewhere)
        self.skips += other.skips
        self.failures += other.failures


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


def run_suite(*, kernels: list[str], host: bool, each: bool) -> int:
    """Set up, check and test everything; print the counts; return 0 when all of it passed.

    Args:
        kernels: the guests.
        host: whether to run the checks, and the tests on this machine.
        each: run each test on each kernel; else the kernels share what shows the same on all (``one_kernel``).
    """
    begun = time.monotonic()
    set_up(TEST)
    if os.geteuid() != 0:
        raise StepError("the tests load probes, so make test needs root")
    RESULTS.mkdir(parents=True, exist_ok=True)
    compile_sources()
    mount_filesystems()
    failed_checks = run_checks() if host else []
    tallies = _run_side_by_side(kernels, host=host, each=each)
    return _report(tallies, failed_checks, time.monotonic() - begun)


def _environment(results: Path) -> dict[str, str]:
    return {"TRAPLINE_KERNEL_TESTS": "1", "TRAPLINE_RESULTS": str(results), "TRAPLINE_PEERS": str(PEERS)}


def _run_side_by_side(kernels: list[str], *, host: bool, each: bool) -> list[Tally]:
    """Run the tests here and in a guest per kernel, as many at once as there are CPUs: each is one busy thread."""
    running: list[subprocess.Popen[bytes]] = []
    # Guests cannot keep what they compile: let pytest write its rewritten modules here first.
    collect: list[str | Path] = [venv_program("pytest"), "-q", "--collect-only"]
    env = clean_environment({"PATH": f"{venv_program('')}:{os.environ['PATH']}", "TRAPLINE_PEERS": str(PEERS)})
    run_step("collect the tests", collect, env=env)
    pool = ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, len(kernels) + host)))
    try:
        jobs = [pool.submit(_run_on_host, running)] if host else []
        # The newest kernel takes the longest: it begins first.
        newest_first = kernels[::-1]
        plan = [(kernel, 1, 1) for kernel in newest_first[:-1]]
        shared_out = range(1, _PARTS_OF_THE_LAST + 1)
        plan += [(kernel, part, _PARTS_OF_THE_LAST) for kernel in newest_first[-1:] for part in shared_out]
        guests = []
        for kernel, part, parts in plan:
            selection = [f"--part={part}/{parts}"]
            if not each:
                # The machine takes part only if it has what HOST_HAS of tests/harness/shares.py says.
                hosts = ["host"] if host and all(Path("/sys", place).exists() for place in _HOST_NEEDS) else []
                selection.append(f"--share={kernel}:{','.join([*hosts, *kernels])}")
            name = kernel if parts == 1 else f"{kernel}-{part}"
            guests.append((kernel, pool.submit(_run_in_guest, kernel, name, selection, running)))
        tallies = [job.result() for job in jobs]
        return tallies + [_sum_up([job.result() for name, job in guests if name == kernel]) for kernel in kernels]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _sum_up(parts: list[Tally]) -> Tally:
    """Return the tally of one kernel whose tests ran in several guests."""
    whole, *others = parts
    for part in others:
        whole.add(part)
    return whole


def _run_on_host(running: list[subprocess.Popen[bytes]]) -> Tally:
    results, log = RESULTS / "host.json", RESULTS / "host.log"
    results.unlink(missing_ok=True)
    say(f"tests on this machine ({os.uname().release}); output in {log.relative_to(REPO)}")
    env = clean_environment({**_environment(results), "PATH": f"{venv_program('')}:{os.environ['PATH']}"})
    with log.open("wb") as file:
        process = subprocess.Popen(
            [venv_program("pytest"), "-v"],
            cwd=REPO,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    running.append(process)
    code = _wait_with_signs_of_life("host", process, log, _HOST_TIMEOUT_S)
    return _finish(f"{os.uname().release} (host)", code, results, log)


def _run_in_guest(kernel: str, name: str, selection: list[str], running: list[subprocess.Popen[bytes]]) -> Tally:
    results, log = RESULTS / f"{name}.json", RESULTS / f"{name}.log"
    results.unlink(missing_ok=True)
    environment = [f"--env={name}={value}" for name, value in _environment(results).items()]
    environment.append(f"--env=PATH={venv_program('')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    environment.append("--env=HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis")
    guest = [sys.executable, "-m", "tools.guest", "run", "-v", f"--kernel={kernel}", f"--timeout={_GUEST_TIMEOUT_S}"]
    pytest = ["--", str(venv_program("pytest")), "-v", "-p", "no:cacheprovider", "-rs", "--durations=40"]
    pytest += [*selection, *_GUEST_TESTS]
    say(f"tests in a guest with kernel {name}; output in {log.relative_to(REPO)}")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*guest, *environment, f"--cwd={REPO}", *pytest],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    running.append(process)
    code = _wait_with_signs_of_life(name, process, log, _GUEST_TIMEOUT_S + 60)
    return _finish(f"{name} (guest)", code, results, log)


def _finish(name: str, code: int, results: Path, log: Path) -> Tally:
    """Return what a run counted; of one that failed, print the end of its output."""
    tally = _read_tally(name, results)
    if code and not tally.failures:
        tally.failures.append(f"the run ended with exit code {code}")
    if tally.failures:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-160:])
        print(f"---- the end of {log.relative_to(REPO)}:\n{end}", flush=True)
    return tally


def _wait_with_signs_of_life(name: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> int:
    begun = time.monotonic()
    while True:
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            if time.monotonic() - begun > timeout_s:
                print(f"   {name}: stopped after {timeout_s} s", flush=True)
                process.kill()
            lines = log.read_text(errors="replace").splitlines()
            last = lines[-1][:100] if lines else ""
            print(f"   {name}: {time.monotonic() - begun:.0f} s, {last}", flush=True)


def _read_tally(name: str, results: Path) -> Tally:
    try:
        saved: dict[str, Any] = json.loads(results.read_text())
    except FileNotFoundError:
        return Tally(name, failures=["the test run wrote no results: it did not come to its end"])
    tally = Tally(
        f"{saved['kernel']} ({saved['where']})",
        saved["kernel_tests"],
        saved["other_tests"],
        saved["elsewhere"],
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
            f"{counts.get('lacking', 0)} skipped"
            + (f" (the kernel lacks {lacks})" if lacks else "")
            + (f", {tally.elsewhere} more run on another kernel" if tally.elsewhere else "")
        )
    failed += len(failed_checks)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or problems else 0
