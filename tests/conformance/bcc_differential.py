"""``python -m tests.conformance.bcc_differential``: run BCC's tools with BCC and with trapline on the same workload.

Each tool runs twice in this guest, with the same file and arguments: first with BCC 0.37 and the kernel's headers, then
with trapline. What both printed is appended to the results, a line of JSON for each tool; bcc_comparison.py judges it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.conformance.bcc_peer import prepare_bcc, trace_with_bcc
from tests.conformance.bcc_run import preload, trace_with_trapline
from tests.conformance.bcc_sweep import load_modules, run
from tests.conformance.bcc_tools import TOOLS, BccTool, find_tools

PACKAGE = "0.37"
TRACERS = {"bcc": trace_with_bcc, "trapline": trace_with_trapline}
_LONGEST = 60_000  # characters of an output that are kept


def run_both(path: Path, tool: BccTool) -> dict[str, Any]:
    """Run a tool with BCC and with trapline; return the record of both."""
    record: dict[str, Any] = {"kernel": os.uname().release, "tool": tool.name, "row": asdict(tool)}
    for label, trace in TRACERS.items():
        with tempfile.TemporaryDirectory(dir="/tmp") as name:
            done = run(path, tool, PACKAGE, Path(name), trace)
        record[label] = {
            "stdout": done.done.stdout[-_LONGEST:],
            "stderr": done.done.stderr[-_LONGEST:],
            "code": done.done.code,
            "pid": done.pid,
            "ready": done.ready,
            "seconds": round(done.seconds, 1),
        }
    return record


def main() -> None:
    """Run tools with both, and append what they printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.bcc_differential", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="tools (default: all that have no result yet)")
    parser.add_argument("--results", type=Path, required=True, help="the file to append to")
    options = parser.parse_args()
    prepare_bcc()
    load_modules(TOOLS)
    preload()
    have = set()
    if options.results.exists():
        have = {json.loads(line)["tool"] for line in options.results.read_text().splitlines()}
    # Shell scripts start their tool with the Python of the machine: there is no BCC of that.
    tools = [(path, tool) for path, tool in find_tools(PACKAGE) if not path.read_bytes().startswith(b"#!/bin/bash")]
    # Those that the bench knows a workload for come first.
    tools.sort(key=lambda row: not row[1].patterns)
    rows = {tool.name: (path, tool) for path, tool in tools}
    for name in options.names or [name for name in rows if name not in have]:
        record = run_both(*rows[name])
        with options.results.open("a") as results:
            results.write(json.dumps(record) + "\n")
        print(
            name,
            json.dumps({label: (record[label]["code"], record[label]["seconds"]) for label in TRACERS}),
            flush=True,
        )


if __name__ == "__main__":
    main()
