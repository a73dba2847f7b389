"""``--test`` and ``--bench``: run the blocks of that kind and report."""

from __future__ import annotations

import io
from contextlib import ExitStack

from trapline.engine.probe_tests import run_benchmarks, run_tests
from trapline.hints import TYPE_CHECKING
from trapline.runtime.output.reports import JsonReport, TestOutput, TextReport
from trapline.runtime.output.sink import Sink

if TYPE_CHECKING:
    from trapline.api import Session
    from trapline.cli.options import Arguments

EXIT_FAILED = 1


class ModeRun:
    """The outputs of a run of tests or benchmarks.

    Args:
        found: the command line; its ``mode`` is ``test`` or ``bench``.
        stack: closes the file of ``-o``.
    """

    def __init__(self, found: Arguments, stack: ExitStack) -> None:
        from trapline.cli.run import open_output

        self._mode = found.mode
        self._out = Sink(open_output(found, stack), found.buffering or "line")
        if found.format == "json":
            printed = io.BytesIO()
            sink = Sink(printed, "none")
            self.output = TestOutput(sink, sink, quiet=True)
            self._report: TextReport | JsonReport = JsonReport(self._out, printed)
        else:
            self.output = TestOutput(self._out, Sink(2, "none"), quiet=True)
            self._report = TextReport(self._out)

    def run(self, session: Session) -> int:
        """Run all blocks; returns the exit code."""
        session.engine.attach()
        report, passed = self._report, True
        if self._mode == "bench":
            if any(session.engine.specials("bench")):
                report.begin_benchmarks()
            run_benchmarks(session.engine, report.benchmark)
        else:
            passed = run_tests(session.engine, report, lambda: self.output.errors)
        session.engine.finish()
        if isinstance(report, JsonReport):
            rest = report.take().removesuffix(b"\n\n")
            if rest:
                from trapline.runtime.output.json import JsonOutput

                JsonOutput(self._out).printf(rest)
        self._out.drain()
        return 0 if passed else EXIT_FAILED
