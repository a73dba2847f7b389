"""docs/tools-coverage.md says of every tool of bpftrace how it runs, and the sweep's results are read as they are."""

from __future__ import annotations

import re

import pytest
from tests.conformance.tools import TOOLS, Tool
from tests.conformance.tools_table import (
    FAILS,
    LACKS,
    OURS_ONLY,
    PAGE,
    PEER_LACKS,
    QUIET,
    SAME,
    classify,
)

_TOOL = Tool("it", patterns=(r"^\d+ row$",))
_GOOD = {"code": 0, "stdout": "HEAD\n1 row\n", "stderr": ""}
_QUIET = {"code": 0, "stdout": "HEAD\n", "stderr": ""}
_OTHER = {"code": 0, "stdout": "OTHER\n1 row\n", "stderr": ""}
_ERROR = {"code": 1, "stdout": "", "stderr": "it.bt:1:2-3: ERROR: the kernel has no function f.\n"}


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        (_GOOD, _GOOD, SAME),
        (_GOOD, _ERROR, OURS_ONLY),
        (_GOOD, _QUIET, PEER_LACKS),
        (_GOOD, _OTHER, FAILS),
        (_QUIET, _QUIET, QUIET),
        (_QUIET, _GOOD, FAILS),
        (_ERROR, _ERROR, LACKS),
        (_ERROR, _GOOD, FAILS),
    ],
)
def test_a_result_is_named(ours: object, theirs: object, result: str) -> None:
    assert classify(_TOOL, {"ours": ours, "theirs": theirs})[0] == result


def test_lenient_runs_count_where_the_others_fail() -> None:
    record = {"ours": _ERROR, "theirs": _ERROR, "ours_lenient": _GOOD, "theirs_lenient": _GOOD}
    assert classify(_TOOL, record) == (SAME, "with BPFTRACE_MISSING_PROBES=warn")


def test_the_page_has_every_tool_and_none_that_fails_here() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| [\d.]+ \| ([\w ]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {tool.name for tool in TOOLS}
    assert not [name for name, result in rows if result == FAILS]
