"""bench/RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bench import Flood
from bench.measure import Comparison

if TYPE_CHECKING:
    from bench.limits import Limit

_HEAD = """\
# Results of the benchmarks

Made by `python -m bench --write`: do not edit. Both programs alternate; a ratio is trapline's figure divided by
bpftrace's, the median of the pairs, with the least and the greatest.

- {date}, {cpus} CPUs ({cpu}), Linux {kernel}; kprobes in a guest with Linux {guest} (QEMU without KVM, one CPU)
- trapline at {commit} on Python {python}, bpftrace {bpftrace}

| what | trapline | bpftrace | | ratio | spread | goal | |
|---|---|---|---|---|---|---|---|
"""
_LOSSES = """
## Losses

One thread does nothing but the traced call, the output goes to a file.

| what | program | calls | printed | reported lost | neither | ns per call |
|---|---|---|---|---|---|---|
"""
_LIMITS = """
## What is left

The least that a tracer in Python can need here, and what it bounds:

| what | figure | bounds |
|---|---|---|
"""


def write_report(
    path: Path, comparisons: Sequence[Comparison], floods: Sequence[Flood], bounds: Sequence[Limit], guest: str
) -> None:
    """Write the results as a page."""
    text = _HEAD.format(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        cpus=os.cpu_count(),
        cpu=_cpu(),
        kernel=os.uname().release,
        guest=guest,
        commit=_output("git", "rev-parse", "--short", "HEAD"),
        python=platform.python_version(),
        bpftrace=_output(str(path.parent / "peer.sh"), "--version").removeprefix("bpftrace "),
    )
    for c in comparisons:
        met = "met" if c.ratio <= c.goal else "not met"
        text += (
            f"| {c.name} | {c.ours:.3g} | {c.peer:.3g} | {c.unit} | {c.ratio:.2f} | {c.low:.2f} to {c.high:.2f} "
            f"| {c.goal:.2f} | {met} |\n"
        )
    if floods:
        text += _LOSSES
    for flood in floods:
        for program, (printed, lost, ns) in (("trapline", flood.ours), ("bpftrace", flood.peer)):
            neither = max(0, flood.calls - printed - lost)  # others may call it, too
            text += f"| {flood.name} | {program} | {flood.calls} | {printed} | {lost} | {neither} | {ns:.0f} |\n"
    if bounds:
        text += _LIMITS
    for limit in bounds:
        text += f"| {limit.name} | {limit.figure:.3g} {limit.unit} | {limit.bounds} |\n"
    path.write_text(text)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
