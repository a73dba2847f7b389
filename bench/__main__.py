"""``python -m bench [--quick] [--write] [NAME …]``: run the benchmarks as root, both programs alternating.

What needs kprobes runs in a guest where this kernel has none. ``--write`` keeps the chosen groups' results beside the
others' in bench/results.json, and makes bench/RESULTS.md and bench/growth.svg of all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.develop.environment import mount_filesystems

from bench.bench import Bench
from bench.groups import GROUPS, Group
from bench.installed import PACKAGES, install
from bench.results import Comparison, GroupResult, Row, encode_row, read_results, read_rows, write_results

HERE = Path(__file__).parent
REPO = HERE.parent
GUEST_RESULTS = REPO / "build" / "guest"  # what a guest writes there is seen here


def main() -> int:
    """Run the chosen benchmarks; 0 when all ran to their end."""
    host = [name for name, group in GROUPS.items() if not group.guest]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once and small: a smoke test")
    parser.add_argument("--write", action="store_true", help="keep the results in bench/RESULTS.md")
    parser.add_argument("--kernel", default="6.12", help="of the guest (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each program (default: %(default)s)")
    parser.add_argument("--rows", type=Path, help="also write each row to this file, as a line of JSON")
    parser.add_argument("names", nargs="*", help=f"{', '.join(GROUPS)} (default: all; with --quick: {', '.join(host)})")
    options = parser.parse_args()
    # What ends the tracers is ignored by default in what a shell started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
    if not os.environ.get("TRAPLINE_GUEST"):  # which sees it, and cannot write there
        install()
    os.environ["PYTHONPATH"] = str(PACKAGES)
    names = options.names or (host if options.quick else list(GROUPS))
    if unknown := set(names) - set(GROUPS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    mount_filesystems()  # the peer needs tracefs for all it does
    failed = []
    for name in names:
        result = _run(GROUPS[name], options)
        if result.failure:
            failed.append(name)
            print(f"{name} ended early: {result.failure}", file=sys.stderr, flush=True)
        if options.write:
            _keep(name, result, options.kernel)
    return 1 if failed else 0


def _run(group: Group, options: argparse.Namespace) -> GroupResult:
    """Run a group here or in a guest; what it measured before it failed is kept."""
    result = GroupResult()
    start = time.monotonic()
    inside = bool(os.environ.get("TRAPLINE_GUEST"))
    try:
        for row in _in_guest(group, options) if group.guest and not inside else _here(group, options):
            result.rows.append(row)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        result.failure = str(error)
    result.seconds = time.monotonic() - start
    if geometric := [c.ratio for c in result.of_kind(Comparison) if c.name.startswith("cost") and c.ratio > 0]:
        print(f"cost per event: geometric mean of the ratios {statistics.geometric_mean(geometric):.2f}")
    return result


def _here(group: Group, options: argparse.Namespace) -> Iterator[Row]:
    ours, peer = [str(Path(sys.executable).parent / "trapline")], [str(HERE / "peer.sh")]
    with tempfile.TemporaryDirectory(prefix="trapline-bench-") as directory:
        pairs = 1 if options.quick else options.pairs
        bench = Bench(ours, peer, Path(directory), pairs=pairs, quick=options.quick)
        for row in group.run(bench):
            print(row.line(), flush=True)
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps(encode_row(row)) + "\n")
            yield row


def _in_guest(group: Group, options: argparse.Namespace) -> Iterator[Row]:
    GUEST_RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("r", dir=GUEST_RESULTS, prefix=f"bench-{group.name}-") as rows:
        guest = [sys.executable, "-m", "tools.guest", "run", f"--kernel={options.kernel}", "--timeout=3000"]
        command = [sys.executable, "-m", "bench", f"--pairs={options.pairs}", f"--rows={rows.name}", group.name]
        quick = ["--quick"] if options.quick else []
        done = subprocess.run([*guest, f"--cwd={REPO}", "--", *command, *quick], cwd=REPO, check=False)
        yield from read_rows(Path(rows.name).read_text().splitlines())
    if done.returncode:
        raise RuntimeError(f"the guest's run ended with exit code {done.returncode}")


def _keep(name: str, result: GroupResult, guest: str) -> None:
    from bench.report import facts, write_report

    path = HERE / "results.json"
    results = read_results(path)
    if result.failure and not result.rows and name in results:
        return  # an earlier run measured more
    result.facts = facts(guest if GROUPS[name].guest else "")
    results[name] = result
    write_results(path, {group: results[group] for group in GROUPS if group in results})
    write_report(HERE, results)


if __name__ == "__main__":
    sys.exit(main())
