"""BCC's own tools run as packaged, and print what their workload does.

A tool takes seconds in a guest, so the suite runs those that the table marks as ``often``, each on one kernel, of the
package of its time. ``python -m tests.conformance.bcc_sweep`` runs all, for docs/bcc-coverage.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conformance.bcc_run import Run, preload
from tests.conformance.bcc_sweep import run
from tests.conformance.bcc_tools import BROKEN, LACKS, WORKS, BccTool, find_tools, fits, verdict
from tests.conformance.in_process import changed_environment
from tests.harness.cache_states import in_cache_state
from tests.harness.features import has_feature


def _parameters() -> Iterator[object]:
    package = "0.37" if has_feature("kprobe_multi") else "0.26"
    alike = {tool.name for _, tool in find_tools("0.26")} & {tool.name for _, tool in find_tools("0.37")}
    kernels = ("6.12", "sid") if package == "0.37" else ("6.1",)
    for path, tool in find_tools(package):
        if tool.often:
            marks = pytest.mark.one_kernel(*(() if tool.name in alike else kernels), key=tool.name)
            yield pytest.param(package, path, tool, id=f"{package}-{tool.name}", marks=marks)


@pytest.fixture(scope="module")
def _preloaded() -> None:
    preload()


@pytest.mark.needs("bcc_tools", "btf", "tracefs", "kprobes", "uprobes", "module_tree")
@pytest.mark.limit(90)
@pytest.mark.usefixtures("_preloaded")
@pytest.mark.parametrize(("package", "path", "tool"), [*_parameters()])
def test_tool(package: str, path: Path, tool: BccTool, tmp_path: Path) -> None:
    def run_once(state: Mapping[str, str]) -> Run:
        with changed_environment(state):
            return run(path, tool, package, tmp_path)

    done = in_cache_state(run_once, in_process=False)
    result, reason = verdict(tool, done.done, done.pid, fit=fits(tool))
    shown = f"--- stdout\n{done.done.stdout}\n--- stderr\n{done.done.stderr}\n--- pid {done.pid}, {done.seconds:.1f} s"
    assert result in (WORKS, LACKS, BROKEN), f"{result}: {reason}\n{shown}"
