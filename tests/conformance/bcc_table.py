"""docs/bcc-coverage.md: what sweeps of ``tests.conformance.bcc_sweep --results`` found of each tool on each kernel.

build/guest/bcc/*.jsonl and the page   →   the page; what was not run again keeps its row
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.conformance.bcc_tools import BROKEN, FAILS, LACKS, PACKAGES, STARTS, WORKS, rows_of, verdict
from tests.conformance.in_process import Done

# (package, kernel, tool) → (result, reason)
Results = dict[tuple[str, str, str], tuple[str, str]]
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

What a tool must print is in the table of `tests/conformance/bcc_tools.py`; `make test` runs a part of it on every
kernel. The shell scripts that start `ucalls`, `uflow`, `ugc`, `uobjnew`, `ustat` and `uthreads` for a language
(`javacalls`, `pythonflow` …) are not in it, but for `cobjnew`: they run, too, and need a Java, Node.js, Perl, PHP,
Python, Ruby or Tcl that was built with USDT probes. `reset-trace` uses no BPF.

| result | meaning |
|---|---|
"""


def read_results(folder: Path) -> Results:
    """Return the result and its reason of each package, kernel and tool, by the last record of each."""
    rows = {package: rows_of(package) for package in PACKAGES}
    found: Results = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            kernel = re.sub(r"^(\d+\.\d+).*", r"\1", record["kernel"])
            done = Done(record["stdout"], record["stderr"], record["code"])
            result = verdict(rows[record["package"]][record["tool"]], done, record["pid"], fit=record.get("fits", True))
            # Of a long output, the record holds the end.
            found[record["package"], kernel, record["tool"]] = (WORKS, "") if record.get("result") == WORKS else result
    return found


def read_page(text: str) -> Results:
    """Return the results that stand in a page."""
    found: Results = {}
    package = ""
    for line in text.splitlines():
        if heading := re.fullmatch("## Tools of BCC (.+)", line):
            package = heading[1]
        elif package and (row := re.fullmatch(r"\| (\S+) \| ([\d.]+) \| ([^|]+) \|(?: (.*))? \|", line)):
            found[package, row[2], row[1]] = row[3], row[4] or ""
    return found


def format_table(results: Results) -> str:
    """Return the page."""
    sweeps = sorted({key[:2] for key in results}, key=lambda key: (key[0], [int(part) for part in key[1].split(".")]))
    text = _HEAD + "".join(f"| {name} | {meaning} |\n" for name, meaning in _MEANING.items())
    text += "\n| tools of | kernel | " + " | ".join(_MEANING) + " |\n|---|---|" + "---|" * len(_MEANING) + "\n"
    for sweep in sweeps:
        counts = [sum(key[:2] == sweep and result == name for key, (result, _) in results.items()) for name in _MEANING]
        text += f"| {sweep[0]} | {sweep[1]} | " + " | ".join(str(count or "") for count in counts) + " |\n"
    for package in dict.fromkeys(sweep[0] for sweep in sweeps):
        text += f"\n## Tools of BCC {package}\n\n| tool | kernel | result | |\n|---|---|---|---|\n"
        for key in sorted(results, key=lambda key: (key[2], sweeps.index(key[:2]))):
            if key[0] == package:
                result, reason = results[key]
                cell = re.sub(r"\s*[|]\s*", " ", _shorten(reason))
                text += f"| {key[2]} | {key[1]} | {result} | {cell} |\n".replace("|  |", "| |")
    return text


def _shorten(reason: str) -> str:
    """Return a reason without what differs from run to run."""
    reason = re.sub(r"^Failed to (load|attach) BPF program b'\w+'(?: to)?:? ?", "", reason.removeprefix("ERROR: "))
    return reason if len(reason) <= 160 else f"{reason[:157]}…"


if __name__ == "__main__":
    PAGE.write_text(format_table(read_page(PAGE.read_text()) | read_results(RESULTS)))
