"""docs/bcc-differential.md: what the runs of ``tests.conformance.bcc_differential --results`` say, tool by tool.

build/guest/bcc-differential/*.jsonl and the page   →   the page; what was not run again keeps its row
"""

from __future__ import annotations

from pathlib import Path

from tests.conformance.bcc_comparison import BCC_FAILS, DIFFERS, NEITHER, OURS_FAILS, SAME, compare
from tests.conformance.bcc_differential import PACKAGE
from tests.conformance.result_pages import Rows, format_page, read_records, read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bcc-differential.md"
RESULTS = ROOT / "build" / "guest" / "bcc-differential"
_MEANING = {
    SAME: "both print the same of the workload",
    DIFFERS: "both run, and the output is not the same: the table says how, and who is right",
    BCC_FAILS: "trapline prints what the tool should, BCC does not",
    NEITHER: "the kernel, or the machine, has not what the tool needs; both say so",
    OURS_FAILS: "BCC prints what the tool should, trapline does not",
}
_LOST = "BCC loses a Ctrl-C that comes with an event: Python drops what a callback of C raises. trapline ends"
# Why a tool differs, and who is right; what has no reason here is not understood yet.
_REASONS: dict[str, str] = {
    "killsnoop": _LOST,
    "runqslower": _LOST,
    "softirqslower": _LOST,
    "fileslower": "BCC's library writes to stderr of a function that the tool tries first and does without. "
    "trapline leaves it at the exception that the tool catches",
}
_HEAD = """# BCC's tools, beside BCC

The tools of BCC 0.37 (Debian sid's bpfcc-tools), run in one guest with BCC 0.37, which has the kernel's headers, and
with `trapline bcc`, which needs none: same file, arguments and workload, one after the other.

Compared are the exit code, stderr but for the compiler's warnings of the kernel's headers, the headings byte for byte,
the rows of the workload (values and columns), what `tests/conformance/bcc_tools.py` wants to see, and the form of all
other lines. Masked are processes, times, addresses, ports of clients, and what `tests/conformance/bcc_comparison.py`
lists for a tool.

Made from the results by `python -m tests.conformance.bcc_differential_table`: do not edit. What was not run again
keeps its row. A run takes two hours, most of it BCC's compiler under emulation, and goes on where it ended:

    python3 -m tools.develop headers --kernel 6.12
    mkdir -p build/guest/bcc-differential
    python3 -m tools.guest run --kernel 6.12 --timeout 9000 --env TRAPLINE_TIME_SCALE=16 -- \\
        python -m tests.conformance.bcc_differential --results build/guest/bcc-differential/6.12.jsonl
"""


def read_results(folder: Path) -> Rows:
    """Return the result and the differences of each kernel and tool, by the last record of each."""
    found: Rows = {}
    for record in read_records(folder):
        outcome = compare(record)
        why = [_REASONS[record["tool"]]] if record["tool"] in _REASONS and outcome.result != SAME else []
        note = ". ".join([*why, *map(_shorten, outcome.how)])
        found[PACKAGE, record["kernel"], record["tool"]] = outcome.result, note
    return found


def format_table(rows: Rows) -> str:
    """Return the page."""
    return format_page(_HEAD, _MEANING, "BCC", rows)


def _shorten(how: str) -> str:
    return how if len(how) <= 200 else f"{how[:197]}…"


if __name__ == "__main__":
    PAGE.write_text(format_table(read_rows(PAGE.read_text()) | read_results(RESULTS)))
