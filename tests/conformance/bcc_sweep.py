"""``python -m tests.conformance.bcc_sweep``: run BCC's tools on the running kernel and say how each ended."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.conformance.bcc_run import Pipe, Run, preload, run_tool, trace_with_trapline
from tests.conformance.bcc_tools import FAILS, PACKAGES, TOOLS, BccTool, find_tools, fits, missing_patterns, verdict
from tests.harness.limits import scaled

_SHARED = Path("/usr/share/bpfcc-tools")


def load_modules(tools: Iterable[BccTool]) -> None:
    """Load the modules that tools probe. What `preload` then reads for all knows their functions."""
    for module in sorted({module for tool in tools for module in tool.modules}):
        if not Path(f"/sys/module/{module}").exists():
            subprocess.run(["modprobe", module], check=False, capture_output=True, timeout=scaled(10))


def prepare(tool: BccTool, package: str) -> None:
    """Load the modules that a tool probes, and put the files where the package has them."""
    load_modules([tool])
    # Only in a guest: what it writes is lost with it.
    if os.environ.get("TRAPLINE_GUEST"):
        _SHARED.mkdir(exist_ok=True)
        for source in (PACKAGES[package] / "share/bpfcc-tools").glob("*"):
            shared = _SHARED / source.name
            if not shared.exists() or shared.read_bytes() != source.read_bytes():  # a tool of the other package ran
                shutil.copyfile(source, shared)


def run(
    path: Path,
    tool: BccTool,
    package: str,
    folder: Path,
    trace: Callable[[list[str], Pipe], int] = trace_with_trapline,
) -> Run:
    """Run a tool with its workload; `folder` takes what it prints, and `trace` is as in `run_tool`."""
    prepare(tool, package)
    return run_tool(
        path,
        tool.arguments,
        tool.workload,
        folder,
        ends=tool.ends,
        terminal=tool.terminal,
        complete=lambda text, pid: not missing_patterns(tool, text, pid),
        trace=trace,
    )


def main() -> None:
    """Run tools and print how each ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.bcc_sweep", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="tools (default: all)")
    parser.add_argument("--package", action="append", choices=[*PACKAGES], help="default: both")
    parser.add_argument("--results", type=Path, help="append what was printed, for bcc_table.py")
    parser.add_argument("-v", action="store_true", help="show what was printed")
    options = parser.parse_args()
    begun = time.monotonic()
    load_modules(TOOLS)
    preload()
    print(f"preloaded in {time.monotonic() - begun:.1f} s", flush=True)
    for package in options.package or PACKAGES:
        for path, tool in find_tools(package):
            if options.names and tool.name not in options.names:
                continue
            with tempfile.TemporaryDirectory(dir="/tmp") as name:
                done = run(path, tool, package, Path(name))
            result, reason = verdict(tool, done.done, done.pid, fit=fits(tool))
            note = "" if done.ready else ", never waited"
            print(f"{package} {tool.name}: {result} ({done.seconds:.1f} s{note}) {reason[:200]}", flush=True)
            if options.v or result == FAILS:
                print(f"--- pid {done.pid}\n{done.done.stdout[-1500:]}\n{done.done.stderr[-1500:]}", flush=True)
            if options.results:
                record = {
                    "kernel": os.uname().release,
                    "package": package,
                    "tool": tool.name,
                    "code": done.done.code,
                    "pid": done.pid,
                    "ready": done.ready,
                    "fits": fits(tool),
                    "result": result,
                    "stdout": done.done.stdout[-20_000:],
                    "stderr": done.done.stderr[-4_000:],
                }
                with options.results.open("a") as results:
                    results.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
