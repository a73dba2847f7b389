"""``python -m bench [--quick] [NAME …]``: run the benchmarks on this machine, natively, as root."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from tools.develop.environment import mount_filesystems

from bench.measure import Comparison, compare, run, run_traced

HERE = Path(__file__).parent
GETUID = "tracepoint:syscalls:sys_enter_getuid"
COSTS = {
    "empty": f"{GETUID} {{ }}",
    "count": f"{GETUID} {{ @ = count(); }}",
    "count-comm": f"{GETUID} {{ @[comm] = count(); }}",
    "hist": f"{GETUID} {{ @[pid] = hist(nsecs % 1000); }}",
    "printf": f'{GETUID} {{ printf("%d %d %s\\n", pid, tid, comm) }}',
}


class Bench:
    """Both programs, and a directory for results."""

    def __init__(self, ours: list[str], peer: list[str], work: Path, *, quick: bool) -> None:
        self.ours = ours
        self.peer = peer
        self.work = work
        self.pairs = 1 if quick else 7
        self.calls = 20_000 if quick else 1_000_000
        self.warm = {"TRAPLINE_CACHE": str(work / "cache")}

    def start_up(self, *, cold: bool) -> Comparison:
        """Wall time of ``BEGIN { exit(); }``."""
        env = {"TRAPLINE_CACHE": "off"} if cold else self.warm
        program = ["-e", "BEGIN { exit(); }"]
        return compare(
            f"start to exit, {'cold' if cold else 'warm'}",
            "s",
            lambda: run(self.ours + program, env=env).wall,
            lambda: run(self.peer + program).wall,
            pairs=self.pairs,
        )

    def memory(self, *, cold: bool) -> Comparison:
        """Peak resident memory of a printf one-liner."""
        env = {"TRAPLINE_CACHE": "off"} if cold else self.warm
        program = ["-e", 'BEGIN { printf("%d\\n", pid); exit(); }']
        return compare(
            f"peak resident memory, {'cold' if cold else 'warm'}",
            "MiB",
            lambda: run(self.ours + program, env=env).peak_kib / 1024,
            lambda: run(self.peer + program).peak_kib / 1024,
            pairs=self.pairs,
        )

    def _load(self, tool: list[str], program: str) -> tuple[float, bytes, bytes]:
        """Run the load under a tool; return ns per call, and the tool's stdout and stderr."""
        out, err = run_traced([*tool, "-e", program], self._command(), env=self.warm)
        return float(self._result.read_text()), out, err

    @property
    def _result(self) -> Path:
        return self.work / "ns"

    def _command(self) -> list[str]:
        return [sys.executable, str(HERE / "load.py"), str(self.calls), str(self._result)]

    def cost(self, name: str) -> Comparison:
        """Added nanoseconds per traced call."""

        def added(tool: list[str]) -> float:
            run(self._command())
            base = float(self._result.read_text())
            return self._load(tool, COSTS[name])[0] - base

        return compare(
            f"cost per event, {name}", "ns", lambda: added(self.ours), lambda: added(self.peer), pairs=self.pairs
        )

    def loss(self) -> str:
        """Events printed and lost of a flood of printf."""
        rows = []
        for label, tool in (("trapline", self.ours), ("bpftrace", self.peer)):
            ns, out, err = self._load(tool, COSTS["printf"])
            printed = sum(1 for line in out.splitlines() if line.strip())
            reported = sum(int(n) for n in re.findall(rb"Lost (\d+) event", err))
            rows.append(f"{label}: {printed} printed, {reported} reported lost, {ns:.0f} ns per call")
        return f"loss, {self.calls} printf events\n    " + "\n    ".join(rows)


def main() -> int:
    """Run the chosen benchmarks; 0 when all ran."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once and small: a smoke test")
    parser.add_argument("--trapline", default="", help="command of trapline (default: the one beside this Python)")
    parser.add_argument("--bpftrace", default="", help="command of the peer (default: bench/peer.sh)")
    parser.add_argument("names", nargs="*", help="start-up, memory, cost, loss (default: all)")
    options = parser.parse_args()
    ours = options.trapline.split() or [str(Path(sys.executable).parent / "trapline")]
    peer = options.bpftrace.split() or [str(HERE / "peer.sh")]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
    mount_filesystems()  # the peer needs tracefs for all it does
    names = options.names or ["start-up", "memory", "cost", "loss"]
    with tempfile.TemporaryDirectory(prefix="trapline-bench-") as directory:
        bench = Bench(ours, peer, Path(directory), quick=options.quick)
        if "start-up" in names:
            print(bench.start_up(cold=True).line(), flush=True)
            print(bench.start_up(cold=False).line(), flush=True)
        if "memory" in names:
            print(bench.memory(cold=True).line(), flush=True)
            print(bench.memory(cold=False).line(), flush=True)
        if "cost" in names:
            for name in COSTS:
                print(bench.cost(name).line(), flush=True)
        if "loss" in names:
            print(bench.loss(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
