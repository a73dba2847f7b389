"""docs/tools-coverage.md: what a sweep of ``tests.conformance.tools --results`` found of each tool on each kernel.

build/guest/tools/*.jsonl and the page   →   the page; what was not run again keeps its row
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

from tests.conformance.in_process import Done
from tests.conformance.result_pages import Rows, format_page, read_records, read_rows
from tests.conformance.tools import TOOLS, Tool, missing_patterns

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tools-coverage.md"
RESULTS = ROOT / "build" / "guest" / "tools"
SAME, ALONE, OURS_ONLY, PEER_LACKS = "same rows", "works", "bpftrace fails", "bpftrace prints less"
BOTH, LACKS, QUIET, FAILS = "bpftrace fails too", "kernel lacks it", "attaches only", "ours fails"
_MEANING = {
    SAME: "runs, and prints of its workload what bpftrace prints",
    ALONE: "runs and prints of its workload what it should; bpftrace was not run beside it",
    OURS_ONLY: "runs and prints what it should; bpftrace 0.27.1 does not run it",
    PEER_LACKS: "runs and prints what it should; bpftrace prints less",
    QUIET: "attaches, as with bpftrace, and prints nothing",
    LACKS: "neither runs it: the kernel or the machine has not what it probes",
    BOTH: "neither runs it, for another reason",
    FAILS: "bpftrace runs it, trapline does not",
}
_PLACE = re.compile(r"^.*?\b(ERROR|error): (cannot attach to \S+: )?|\.$| \(or it was inlined into its callers\)$")
_LENIENT = "with BPFTRACE_MISSING_PROBES=warn"
_HEAD = """# bpftrace's own tools

How each `*.bt` tool of Debian's bpftrace 0.17 and of sid's bpftrace 0.27.1 ends here, on a workload that triggers it
(`tests/conformance/tool_workload.py`), beside Debian sid's bpftrace 0.27.1 in the same guest. That bpftrace also runs
the tools of 0.17, for 0.17 itself is not among the peers: what it refuses of them may have run with 0.17. It has the C
library's headers and no kernel headers, as trapline.

Made from the results of sweeps by `python -m tests.conformance.tools_table`: do not edit. Tools that were not run again
keep their rows. One guest of the sweep (6 minutes):

    mkdir -p build/guest/tools
    python3 -m tools.guest run --kernel 6.12 --timeout 3000 -- \\
        python -m tests.conformance.tools --peer --package 0.27 --results build/guest/tools/6.12.jsonl

"Same rows" means: the same heading, and all rows that the table in `tests/conformance/tools.py` asks for, from both.
"""


def _done(record: dict[str, Any], who: str) -> Done | None:
    found = record.get(who)
    return Done(found["stdout"], found["stderr"], found["code"]) if found else None


def _heading(done: Done) -> list[str]:
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return [*takewhile(lambda line: not re.search(r"\d|^@", line), lines)][:2]


def _reason(done: Done) -> str:
    """Return what an error says, without its place."""
    lines = done.stderr.splitlines()
    errors = (
        [line for line in lines if re.search(r"\bERROR: (?!expanded)|error: ", line)]
        or lines[:1]
        or [f"exit {done.code}"]
    )
    reasons = list(dict.fromkeys(_PLACE.sub("", line) for line in errors))
    return re.sub(r"\s*[|]\s*", " ", "; ".join(reasons[:2]))[:160]


def _prints(tool: Tool, done: Done) -> bool:
    return not done.code and not missing_patterns(tool, done)


def classify(tool: Tool, record: dict[str, Any]) -> tuple[str, str]:
    """Return the result of a record and a note."""
    ours, theirs, note = _done(record, "ours"), _done(record, "theirs"), ""
    assert ours is not None
    lenient, their_lenient = _done(record, "ours_lenient"), _done(record, "theirs_lenient")
    # What a tool prints without some of its probes counts; that it prints nothing without them does not.
    if ours.code and any(done is not None and _prints(tool, done) for done in (lenient, their_lenient)):
        assert lenient is not None
        ours, theirs, note = lenient, their_lenient, _LENIENT
    bare = not tool.patterns
    if ours.code:
        if theirs is not None and not theirs.code:
            return FAILS, _reason(ours)
        lacks = re.search(r"no function|No matches|field named|no file|no probe", ours.stderr)
        return (LACKS if lacks else BOTH), "; ".join(filter(None, (_reason(ours), tool.why)))
    if missing := missing_patterns(tool, ours):
        if theirs is not None and not theirs.code and missing_patterns(tool, theirs):
            return QUIET, f"neither prints {missing[0]}"
        return FAILS, f"does not print {missing[0]}"
    if bare:
        return QUIET, "; ".join(filter(None, (note, tool.why)))
    if theirs is None:
        return ALONE, note
    if theirs.code:
        return OURS_ONLY, "; ".join(filter(None, (note, _reason(theirs))))
    if missing_patterns(tool, theirs):
        return PEER_LACKS, "; ".join(filter(None, (note, tool.peer)))
    if _heading(ours) != _heading(theirs):
        return FAILS, f"heading {_heading(ours)}, not {_heading(theirs)}"
    return SAME, note


def read_results(folder: Path) -> Rows:
    """Return the result and a note of each package, kernel and tool, by the last record of each."""
    tools = {tool.name: tool for tool in TOOLS}
    found: Rows = {}
    for record in read_records(folder):
        found[record["package"], record["kernel"], record["tool"]] = classify(tools[record["tool"]], record)
    return found


def format_table(rows: Rows) -> str:
    """Return the page."""
    return format_page(_HEAD, _MEANING, "bpftrace", rows)


if __name__ == "__main__":
    PAGE.write_text(format_table(read_rows(PAGE.read_text()) | read_results(RESULTS)))
