"""How tests and benchmarks of a program are reported: as googletest and google-benchmark do, or as JSON lines."""

from __future__ import annotations

import io

from trapline.runtime.display import json_string
from trapline.runtime.output.protocol import Location
from trapline.runtime.output.sink import Sink
from trapline.runtime.output.text import TextOutput

_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_NAME_WIDTH, _TIME_WIDTH = 41, 15


class TestOutput(TextOutput):
    """Text that also counts the errors which the program reports: they make a test fail."""

    errors = 0

    def message(self, text: bytes, *, error: bool, location: Location | None) -> None:
        """Write ``errorf`` or ``warnf``."""
        self.errors += error
        super().message(text, error=error, location=location)


class TextReport:
    """Tests and benchmarks as text, always in colours, as bpftrace does.

    Args:
        out: where the tests' own output goes, too.
    """

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._failed: list[str] = []
        self._count = 0

    def begin(self, count: int) -> None:
        """``[==========] Running 5 tests.``."""
        self._count = count
        self._line("==========", f"Running {count} tests.")

    def begin_test(self, name: str) -> None:
        """``[ RUN      ] name``."""
        self._line(" RUN      ", name)
        self._out.flush()

    def end_test(self, name: str, passed: bool, duration_ns: int) -> None:
        """``[       OK ] name (5 μs)``."""
        took = f"{name} ({_duration(duration_ns)})"
        if passed:
            self._line("       OK ", took)
        else:
            self._failed.append(name)
            self._line("  FAILED  ", took, _RED)

    def end(self) -> None:
        """Count, and name what failed."""
        self._line("==========", f"{_tests(self._count)} ran.")
        passed = self._count - len(self._failed)
        self._line("  PASSED  ", f"{passed} test{'' if passed == 1 else 's'}.")
        if self._failed:
            self._line("  FAILED  ", f"{_tests(len(self._failed))}, listed below:", _RED)
            for name in self._failed:
                self._line("  FAILED  ", name, _RED)

    def begin_benchmarks(self) -> None:
        """Write the head of the table."""
        head = f"{'Benchmark':<{_NAME_WIDTH}}{'Time(ns)':<{_TIME_WIDTH}}Iterations\n"
        self._out.write(f"{head}{'-' * (len(head) - 1)}\n".encode())

    def benchmark(self, name: str, average_ns: int, count: int) -> None:
        """Write a row."""
        self._out.write(f"{name:<{_NAME_WIDTH}}{average_ns:<{_TIME_WIDTH}}{count}\n".encode())

    def _line(self, mark: str, text: str, colour: str = _GREEN) -> None:
        self._out.write(f"{colour}[{mark}]{_PLAIN} {text}\n".encode("utf-8", "surrogateescape"))


class JsonReport:
    """Tests and benchmarks as JSON lines; what a test prints is a member of its line.

    Args:
        out: where the lines go.
        printed: what the program printed since it was last emptied.
    """

    def __init__(self, out: Sink, printed: io.BytesIO) -> None:
        self._out = out
        self._printed = printed

    def begin(self, count: int) -> None:
        """Write nothing."""

    def begin_test(self, name: str) -> None:
        """Write nothing."""

    def end_test(self, name: str, passed: bool, duration_ns: int) -> None:
        """Write ``test_result``."""
        text = self.take().decode("utf-8", "surrogateescape")
        data = f'{{"duration": {duration_ns}, "passed": {str(passed).lower()}, "output": {json_string(text)}}}'
        self._out.write(f'{{"type": "test_result", "data": {{{json_string(name)}: {data}}}}}\n'.encode())

    def end(self) -> None:
        """Write nothing."""

    def take(self) -> bytes:
        """Return what the program printed since the last time."""
        text = self._printed.getvalue()
        self._printed.seek(0)
        self._printed.truncate()
        return text

    def begin_benchmarks(self) -> None:
        """Write nothing."""

    def benchmark(self, name: str, average_ns: int, count: int) -> None:
        """Write ``benchmark_result``."""
        data = f'{{"average": {average_ns}, "iters": {count}}}'
        self._out.write(f'{{"type": "benchmark_result", "data": {{{json_string(name)}: {data}}}}}\n'.encode())


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _duration(nanoseconds: int) -> str:
    for limit, unit in ((1_000, "ns"), (1_000_000, "μs"), (1_000_000_000, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds * 1000 // limit} {unit}"
    return f"{nanoseconds // 1_000_000_000} s"
