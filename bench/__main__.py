"""``python -m bench [--quick] [--write] [NAME …]``: run the benchmarks as root, both programs alternating.

What needs kprobes runs in a guest where this kernel has none. ``--write`` keeps the results in bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools.develop.environment import mount_filesystems

from bench.bench import Bench, Flood
from bench.measure import Comparison
from bench.report import write_report

if TYPE_CHECKING:
    from bench.limits import Limit

HERE = Path(__file__).parent
HOST = ("walls", "memory", "cost", "loss", "limits")
GUEST = ("guest-walls", "attach")


def main() -> int:
    """Run the chosen benchmarks; 0 when all ran."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once and small: a smoke test")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    parser.add_argument("--kernel", default="6.12", help="of the guest (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each program (default: %(default)s)")
    parser.add_argument("names", nargs="*", help=f"{', '.join(HOST + GUEST)} (default: all; with --quick: {HOST})")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
    inside = bool(os.environ.get("TRAPLINE_GUEST"))
    names = options.names or [*HOST, *(() if options.quick else GUEST)]
    mount_filesystems()  # the peer needs tracefs for all it does
    comparisons: list[Comparison] = []
    floods: list[Flood] = []
    bounds: list[Limit] = []
    ours, peer = [str(Path(sys.executable).parent / "trapline")], [str(HERE / "peer.sh")]
    with tempfile.TemporaryDirectory(prefix="trapline-bench-") as directory:
        bench = Bench(ours, peer, Path(directory), pairs=1 if options.quick else options.pairs, quick=options.quick)
        for name in names:
            if name == "limits":
                # Only here: a command's peak memory is never less than that of the process that started it.
                from bench.limits import limits

                bounds = limits()
                for limit in bounds:
                    print(limit.line(), flush=True)
            elif name == "loss":
                for flood in bench.floods():
                    print(flood.line(), flush=True)
                    floods.append(flood)
            elif name in GUEST and not inside:
                comparisons += _in_guest(options.kernel, name, options.pairs)
            else:
                for comparison in bench.run(name):
                    print(comparison.line(), flush=True)
                    comparisons.append(comparison)
    geometric = [c.ratio for c in comparisons if c.name.startswith("cost") and c.ratio > 0]
    if geometric:
        print(f"cost per event: geometric mean of the ratios {statistics.geometric_mean(geometric):.2f}")
    if options.write:
        write_report(HERE / "RESULTS.md", comparisons, floods, bounds, options.kernel)
    return 0


def _in_guest(kernel: str, name: str, pairs: int) -> list[Comparison]:
    guest = [sys.executable, "-m", "tools.guest", "run", f"--kernel={kernel}", "--timeout=3000", f"--cwd={HERE.parent}"]
    command = [*guest, "--", sys.executable, "-m", "bench", f"--pairs={pairs}", name]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if (comparison := Comparison.parse(line)) is not None:
                found.append(comparison)
    if process.returncode:
        raise SystemExit(f"the guest's run of {name} ended with exit code {process.returncode}")
    return found


if __name__ == "__main__":
    sys.exit(main())
