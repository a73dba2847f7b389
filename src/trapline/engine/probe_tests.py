"""Run ``test`` and ``bench`` blocks: each is a program that is run at once, not attached."""

from __future__ import annotations

import time
from collections.abc import Callable

from trapline.hints import TYPE_CHECKING, Protocol
from trapline.syscall import bpf

if TYPE_CHECKING:
    from trapline.engine.session import EngineSession

_LONG_ENOUGH_NS = 1_000_000
_FIRST_REPEAT = 10_000
_MOST_REPEATS = 1 << 30
_PACKET = bytes(64)  # what an XDP program runs on


class TestReport(Protocol):
    """Shows how tests end."""

    def begin(self, count: int) -> None:
        """Tell how many tests there are."""

    def begin_test(self, name: str) -> None:
        """Tell which test runs now."""

    def end_test(self, name: str, passed: bool, duration_ns: int) -> None:
        """Tell how it ended."""

    def end(self) -> None:
        """Sum up."""


def run_tests(session: EngineSession, report: TestReport, count_errors: Callable[[], int]) -> bool:
    """Run all ``test`` blocks in source order; the session is attached, and not finished here.

    A test passes when it returns 0, calls no ``exit()`` but ``exit(0)``, and reports no error.

    Args:
        session: the compiled program.
        report: shows how they end.
        count_errors: returns how many errors the program reported so far.

    Returns:
        Whether all passed.
    """
    tests = list(session.specials("test"))
    if not tests:
        return True
    report.begin(len(tests))
    good = True
    for program, point in tests:
        name = point.label.partition(":")[2]
        report.begin_test(name)
        errors = count_errors()
        begun = time.monotonic_ns()
        result = program.run()
        duration = time.monotonic_ns() - begun
        code = session.catch_up()
        passed = not result and not code and count_errors() == errors
        good = good and passed
        report.end_test(name, passed, duration)
    report.end()
    return good


def run_benchmarks(session: EngineSession, report: Callable[[str, int, int], object]) -> None:
    """Run all ``bench`` blocks, each often enough to be measured; one that returns 1 is left out.

    Args:
        session: the compiled program.
        report: called with name, nanoseconds of a run, and number of runs.
    """
    for program, point in session.specials("bench"):
        repeat = _FIRST_REPEAT
        while True:
            result, average = bpf.run_program(program.fileno(), data=_PACKET, repeat=repeat)
            if result or average * repeat >= _LONG_ENOUGH_NS or repeat >= _MOST_REPEATS:
                break
            repeat *= 2
        session.catch_up()
        if not result:
            report(point.label.partition(":")[2], average, repeat)
