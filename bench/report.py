"""bench/RESULTS.md and the picture beside it."""

from __future__ import annotations

import datetime
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench import chart
from bench.results import Comparison, Flood, GroupResult, Growth, Limit

_HEAD = """\
# Results of the benchmarks

Made by `python -m bench --write`: do not edit. Both programs alternate; a ratio is trapline's figure divided by the
other's, the median of the pairs, with the least and the greatest. What needs kprobes or kernel headers runs in a guest
(QEMU without KVM, one CPU), the rest natively. trapline is measured as it is installed, not as a checkout.

"""
_RUNS = """\
| group | run | commit | seconds | kernel | machine |
|---|---|---|---|---|---|
"""
_COMPARED = """
## Beside {peer}

| what | trapline | {peer} | | ratio | spread | goal | |
|---|---|---|---|---|---|---|---|
"""
_LOSSES = """
## Losses

One thread does nothing but the traced call, the output goes to a file.

| what | program | calls | printed | reported lost | neither | ns per call |
|---|---|---|---|---|---|---|
"""
_GROWTH = """
## How cost grows

![](growth.svg)

The last column tells how the cost on top of the least grows between the last two sizes: as size to this power, so 1 is
linear. The dotted lines in the picture rise as linear growth does.
"""
_LIMITS = """
The figures:

| what | figure | bounds |
|---|---|---|
"""


def facts(guest: str) -> dict[str, str]:
    """Return under which circumstances a group is measured now."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "kernel": f"guest with {guest}" if guest else os.uname().release,
        "machine": f"{os.cpu_count()} CPUs ({_cpu()})",
        "python": platform.python_version(),
        "bpftrace": _output(str(Path(__file__).with_name("peer.sh")), "--version").removeprefix("bpftrace "),
    }


def write_report(directory: Path, results: Mapping[str, GroupResult]) -> None:
    """Write the page and the picture."""
    rows = [row for result in results.values() for row in result.rows]
    comparisons = [row for row in rows if isinstance(row, Comparison)]
    growths = [row for row in rows if isinstance(row, Growth)]
    text = _HEAD + _runs(results)
    for peer in dict.fromkeys(c.beside for c in comparisons):
        text += _compared(peer, [c for c in comparisons if c.beside == peer])
    text += _losses([row for row in rows if isinstance(row, Flood)])
    text += _growth(growths)
    text += _left({row.name: row for row in rows if isinstance(row, Limit)}, {c.name: c for c in comparisons})
    (directory / "RESULTS.md").write_text(text)
    if growths:
        panels = [chart.Panel(g.name, g.size, g.unit, g.sizes, g.curves) for g in growths]
        (directory / "growth.svg").write_text(chart.draw(panels))


def _runs(results: Mapping[str, GroupResult]) -> str:
    text = ""
    versions = {(r.facts["bpftrace"], r.facts["python"]) for r in results.values()}
    for bpftrace, python in sorted(versions):
        text += f"trapline on Python {python}; bpftrace {bpftrace}; BCC 0.37, of Debian sid.\n"
    text += "\n" + _RUNS
    for name, result in results.items():
        told = result.facts
        text += (
            f"| {name} | {told['date']} | {told['commit']} | {result.seconds:.0f} | {told['kernel']} "
            f"| {told['machine']} |\n"
        )
    for name, result in results.items():
        if result.failure:
            text += f"\n**{name} ended early**: {result.failure.splitlines()[0]}\n"
    return text


def _compared(peer: str, comparisons: Iterable[Comparison]) -> str:
    text = _COMPARED.format(peer=peer)
    for c in comparisons:
        text += (
            f"| {c.name.removeprefix('BCC, ')} | {c.ours:.3g} | {c.peer:.3g} | {c.unit} | {c.ratio:.2f} "
            f"| {c.low:.2f} to {c.high:.2f} | {c.goal:.2f} | {'met' if c.met else 'not met'} |\n"
        )
    return text


def _losses(floods: Sequence[Flood]) -> str:
    text = _LOSSES if floods else ""
    for flood in floods:
        for program, (printed, lost, ns) in (("trapline", flood.ours), ("bpftrace", flood.peer)):
            neither = max(0, flood.calls - printed - lost)  # others may call it, too
            text += f"| {flood.name} | {program} | {flood.calls} | {printed} | {lost} | {neither} | {ns:.0f} |\n"
    return text


def _growth(growths: Sequence[Growth]) -> str:
    text = _GROWTH if growths else ""
    for growth in growths:
        heads = " | ".join(f"{size:,.0f}" for size in growth.sizes)
        text += f"\n| {growth.name}, {growth.unit}, for {growth.size}: | {heads} | power |\n"
        text += "|---" * (len(growth.sizes) + 2) + "|\n"
        for name, figures in growth.curves.items():
            cells = " | ".join(f"{figure:.3g}" for figure in figures)
            text += f"| {name} | {cells} | {growth.exponent(name):.2f} |\n"
    return text


def _left(limits: Mapping[str, Limit], compared: Mapping[str, Comparison]) -> str:
    """The three most expensive things that are left, beside what no tracer in Python gets below."""
    if not limits:
        return ""
    ms = {name: limit.figure for name, limit in limits.items()}

    def figure(start: str) -> float:
        return next((value for name, value in ms.items() if name.startswith(start)), math.nan)

    python, warm, cold = figure("Python's own"), figure("trapline's warm"), figure("trapline's cold")
    warm_imports, cold_imports = figure("imports of the warm"), figure("imports of the cold")
    text = "\n## What is left\n\nThe three most expensive things that are left, and their physical limits.\n\n"
    text += (
        f"1. **Starting.** A warm start takes {warm:.0f} ms. Python's own start, {python:.0f} ms, is its floor; "
        f"{warm_imports:.0f} ms are the imports of trapline, and {warm - python - warm_imports:.0f} ms all it does: "
        f"reading the cached object, loading it, running BEGIN and leaving. A cold start takes {cold:.0f} ms: "
        f"{cold_imports:.0f} ms are imports, {figure('opening llvmlite'):.0f} ms bring LLVM in, and "
        f"{cold - python - cold_imports:.0f} ms open, compile, load, run and leave.\n"
    )
    empty, printf = (compared.get(f"cost per event, {name}") for name in ("empty", "printf"))
    if empty and printf:
        own = max(0.0, printf.ours - empty.ours)
        text += (
            f"2. **An event in the kernel.** An empty BPF program takes {figure('an empty BPF'):.0f} ns when the "
            f"kernel runs it on its own, but a system call at whose tracepoint it sits takes {empty.ours:.0f} ns more "
            f"than an untraced one ({empty.peer:.0f} ns with bpftrace's): the rest is the kernel's way to the program, "
            f"which no tracer shortens. With `printf` of two numbers and a name it is {printf.ours:.0f} ns (bpftrace: "
            f"{printf.peer:.0f} ns), so {own:.0f} ns are what trapline's own program does.\n"
        )
    native, write = figure("the native reader"), figure("write(2)")
    text += (
        f"3. **An event on its way out.** In a flood, a bare write of the same line costs {write:.1f} ns. The native "
        f"reader makes it from its record in {native:.0f} ns, so both take {native + write:.0f} ns; one system call "
        f"from Python takes {figure('a system call'):.0f} ns. Where a handler in Python is needed, an event costs "
        f"{figure('the handlers'):.0f} ns; a callback of a BCC script costs at least the call of a Python function, "
        f"{figure('a call of an empty'):.0f} ns.\n"
    )
    if "nan" in text:  # the group ended early
        text = "\n## What is left\n"
    text += _LIMITS
    for limit in limits.values():
        text += f"| {limit.name} | {limit.figure:.3g} {limit.unit} | {limit.bounds} |\n"
    return text


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
