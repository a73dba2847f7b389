"""The comparison with BCC lets pass what varies from run to run, and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from tests.conformance.bcc_comparison import BCC_FAILS, DIFFERS, NEITHER, OURS_FAILS, SAME, compare
from tests.conformance.bcc_tools import TOOLS

_HEADING = "TIME      PID    COMM             SIG  TPID   RESULT\n"
_ROW = "06:34:51  369    bccwork          28   369    0\n"
_OURS = _ROW.replace("369", "372")
_ERROR = "Exception: Failed to compile BPF module <text>"
_TRACEBACK = f"Traceback (most recent call last):\n  File …\n{_ERROR}\n"


def _record(theirs: str, ours: str, *, tool: str = "killsnoop", **more: dict[str, object]) -> dict[str, object]:
    run = {"stderr": "", "code": 0, "pid": 369}
    row = next(asdict(row) for row in TOOLS if row.name == tool)
    return {
        "tool": tool,
        "row": json.loads(json.dumps(row)),
        "bcc": {**run, "stdout": theirs, **more.get("bcc", {})},
        "trapline": {**run, "stdout": ours, "pid": 372, **more.get("trapline", {})},
    }


def test_processes_and_times_are_not_compared() -> None:
    other = _OURS.replace("06:34:51", "07:00:00")
    assert compare(_record(_HEADING + _ROW, _HEADING + other)).result == SAME


@pytest.mark.parametrize(
    ("heading", "row", "how"),
    [
        (_HEADING.replace("  COMM", " COMM "), _OURS, "headings"),
        (_HEADING, _OURS + _OURS.replace("28", "29"), "rows"),
        (_HEADING, _OURS * 2, "rows"),
        (_HEADING, _OURS.replace("bccwork     ", "bccwork  "), "columns"),
        (_HEADING, _OURS + "lost 7 events\n", "forms"),
    ],
)
def test_what_differs_is_named(heading: str, row: str, how: str) -> None:
    outcome = compare(_record(_HEADING + _ROW, heading + row))
    assert outcome.result == DIFFERS
    assert [text.split()[0] for text in outcome.how] == [how]


def test_a_column_after_a_wider_one_may_be_shifted() -> None:
    bcc, ours = (f"bccwork {pid} {time} 0 vfs_unlink\n" for pid, time in ((369, 1.5), (372, 12.5)))
    assert compare(_record(bcc, ours, tool="funcslower")).result == SAME


def test_warnings_of_the_headers_are_left_out_and_other_messages_are_not() -> None:
    warnings = "include/linux/compiler.h:5:1: warning: unused\n    5 | int x;\n      | ^\n1 warning generated.\n"
    bcc, ours = _HEADING + _ROW, _HEADING + _OURS
    assert compare(_record(bcc, ours, bcc={"stderr": warnings})).result == SAME
    outcome = compare(_record(bcc, ours, bcc={"stderr": warnings + "cannot attach kprobe\n"}))
    assert outcome.how == ("stderr ‘cannot attach kprobe’ and none",)


def test_what_a_terminal_shows_is_compared_by_its_lines() -> None:
    heading = "\x1b[H\x1b[J06:00:00 Buffers MB: 0\r\x1b[2dPID  UID  CMD  HITS\x1b[3;6H"
    bcc = heading + "369 root  bccwork\x1b[3;40H35\x1b[52G2\x1b[60G16\x1b[68G9.5%\x1b[4;1H"
    ours = bcc.replace("369", "372").replace("H35", "H41")
    assert compare(_record(bcc, ours, tool="cachetop")).result == SAME
    assert compare(_record(bcc, ours.replace("9.5", "9"), tool="cachetop")).how == (
        "rows ‘~ root bccwork ~ ~ 16 F1%’ and ‘~ root bccwork ~ ~ 16 9%’",
    )


def test_where_ctrl_c_came_is_not_compared() -> None:
    bcc, ours = (f'Traceback (most recent call last):\n  File "{at}"\n    main()\nKeyboardInterrupt\n' for at in "ab")
    runs = {"bcc": {"stderr": bcc, "code": 130}, "trapline": {"stderr": ours, "code": 130}}
    assert compare(_record(_HEADING + _ROW, _HEADING + _OURS, **runs)).result == SAME


def test_a_run_that_fails_says_how() -> None:
    failed = {"stdout": "", "stderr": _TRACEBACK, "code": 1}
    good, mine = _HEADING + _ROW, _HEADING + _OURS
    assert compare(_record(good, mine, bcc=failed)) == compare(_record("", mine, bcc=failed))
    assert compare(_record(good, mine, bcc=failed)).result == BCC_FAILS
    assert compare(_record(good, mine, trapline=failed)).how == (_ERROR,)
    assert compare(_record(good, mine, trapline=failed)).result == OURS_FAILS
    assert compare(_record(good, mine, trapline=failed, bcc=failed)).result == NEITHER
    assert compare(_record(good, mine, bcc={"code": 137})).how == ("BCC does not end at Ctrl-C",)
