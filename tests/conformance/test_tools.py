"""bpftrace's own tools run as packaged, and print what their workload does.

Each kernel runs tools of the package of its time: Debian 12's kernel those of bpftrace 0.17, newer ones those of 0.27.
A tool takes seconds in a guest, so that one kernel runs it, or only the host.
``python -m tests.conformance.tools --peer`` runs all beside bpftrace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.tools import PACKAGES, Tool, find_tools, missing_patterns, run_ours
from tests.harness.features import has_feature


def _packages() -> tuple[str, ...]:
    if not os.environ.get("TRAPLINE_GUEST"):
        return tuple(PACKAGES)
    return ("0.27",) if has_feature("kprobe_multi") else ("0.17",)


def _parameters() -> Iterator[object]:
    alike = set.intersection(*({tool.name for _, tool in find_tools(package)} for package in PACKAGES))
    kernels = {"0.17": ("6.1",), "0.27": ("6.12", "sid")}
    for package in _packages():
        for path, tool in find_tools(package):
            needs = ["bpftrace_peer", "btf", "tracefs"]
            if re.search(r"\bk(ret)?probe:", path.read_text()):
                needs.append("kprobes")
            needs += tool.needs
            # Of the same tool in both packages one runs.
            one = () if tool.name in alike else kernels[package]
            marks = [pytest.mark.needs(*needs), pytest.mark.one_kernel(*one, key=tool.name)]
            yield pytest.param(path, tool, id=f"{package}-{tool.name}", marks=marks)


@pytest.mark.limit(90)
@pytest.mark.parametrize(("path", "tool"), [*_parameters()])
def test_tool(path: Path, tool: Tool, tmp_path: Path) -> None:
    done = run_ours(path, tool, tmp_path)
    shown = f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}\n--- exit code {done.code}"
    assert "Traceback" not in done.stderr, shown
    absent = [words for words in tool.absent if words in done.stderr]
    if absent and done.code == 1:
        return  # The kernel has no such function; bpftrace says so too.
    assert done.code == 0, shown
    missing = missing_patterns(tool, done)
    assert not missing, f"no line matches {missing}\n{shown}"
