"""docs/bcc-coverage.md: what sweeps of ``tests.conformance.bcc_sweep --results`` found of each tool on each kernel.

build/guest/bcc/*.jsonl and the page   →   the page; what was not run again keeps its row
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.conformance.bcc_tools import BROKEN, FAILS, LACKS, PACKAGES, STARTS, WORKS, rows_of, verdict
from tests.conformance.in_process import Done
from tests.conformance.result_pages import Rows, format_page, read_records, read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bcc-coverage.md"
RESULTS = ROOT / "build" / "guest" / "bcc"
_MEANING = {
    WORKS: "runs, and prints of its workload what it should: process, name, file, size, port …",
    STARTS: "compiles, loads, attaches and prints its heading; the bench has no workload for it",
    LACKS: "the kernel, or the machine, has not what the tool needs",
    BROKEN: "the tool does not fit this kernel: BCC cannot run it either",
    FAILS: "the kernel has what it needs, and it does not run here",
}
_HEAD = """# BCC's own tools

How each tool of Debian's bpfcc-tools 0.26 and of sid's 0.37 ends with `trapline bcc TOOL ARGUMENT…`, byte for byte as
packaged, on a workload that triggers it (`tests/conformance/bcc_workload.py`); no kernel headers are installed.

Made from the results of sweeps by `python -m tests.conformance.bcc_table`: do not edit. Tools that were not run again
keep their rows. One sweep takes about ten minutes; names of tools at its end make it shorter:

    mkdir -p build/guest/bcc
    python3 -m tools.guest run --kernel 6.12 --nodes 2 --timeout 3000 -- \\
        python -m tests.conformance.bcc_sweep --package 0.37 --results build/guest/bcc/6.12.jsonl

What a tool must print is in the table of `tests/conformance/bcc_tools.py`; `make test` runs a part of it, each
tool on one kernel. The shell scripts that start `ucalls`, `uflow`, `ugc`, `uobjnew`, `ustat` and `uthreads` for a
language (`javacalls`, `pythonflow` …) are not in it, but for `cobjnew`: they run, too, and need a Java, Node.js,
Perl, PHP, Python, Ruby or Tcl that was built with USDT probes. `reset-trace` uses no BPF.
"""


def read_results(folder: Path) -> Rows:
    """Return the result and its reason of each package, kernel and tool, by the last record of each."""
    rows = {package: rows_of(package) for package in PACKAGES}
    found: Rows = {}
    for record in read_records(folder):
        done = Done(record["stdout"], record["stderr"], record["code"])
        result, reason = verdict(
            rows[record["package"]][record["tool"]], done, record["pid"], fit=record.get("fits", True)
        )
        if record.get("result") == WORKS:  # Of a long output, the record holds the end.
            result, reason = WORKS, ""
        found[record["package"], record["kernel"], record["tool"]] = result, _shorten(reason)
    return found


def format_table(rows: Rows) -> str:
    """Return the page."""
    return format_page(_HEAD, _MEANING, "BCC", rows)


def _shorten(reason: str) -> str:
    """Return a reason without what differs from run to run."""
    reason = re.sub(r"^Failed to (load|attach) BPF program b'\w+'(?: to)?:? ?", "", reason.removeprefix("ERROR: "))
    return reason if len(reason) <= 160 else f"{reason[:157]}…"


if __name__ == "__main__":
    PAGE.write_text(format_table(read_rows(PAGE.read_text()) | read_results(RESULTS)))
