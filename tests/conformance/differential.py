"""Run many small programs as one script, with trapline and with bpftrace, and tell their outputs apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.conformance.generated import Body
from tests.conformance.in_process import Done, run_command_line
from tests.harness.limits import scaled
from tests.harness.peers import run_peer

_MARK = "=#="
_MAP_NAME = re.compile(r"^@m(\d+)_", re.MULTILINE)
Runner = Callable[[str], Done]


def make_script(bodies: Sequence[Body]) -> str:
    """Return a script with a block for each body, and a mark before each one's output."""
    blocks = [f'BEGIN {{ printf("{_MARK}{n}\\n"); {body.prefixed(n)} }}' for n, body in enumerate(bodies)]
    preambles = [body.preamble for body in bodies if body.preamble]
    return "\n".join([*preambles, *blocks, f'BEGIN {{ printf("{_MARK}{len(bodies)}\\n"); exit(); }}'])


def split_output(stdout: str, count: int) -> list[str]:
    """Return the output of each body: what it printed, and its maps as they were printed at the end.

    What belongs to none (the empty lines before the maps) is the last element.
    """
    parts = re.split(rf"^{_MARK}\d+\n", stdout, flags=re.MULTILINE)
    found = [*parts[1 : count + 1], *[""] * (count + 1 - len(parts)), ""]
    tail = parts[count + 1] if len(parts) > count + 1 else ""
    starts = list(_MAP_NAME.finditer(tail))
    ends = [*(match.start() for match in starts[1:]), len(tail)][: len(starts)]
    found[-1] = tail[: starts[0].start()] if starts else tail
    for match, end in zip(starts, ends, strict=True):
        found[int(match[1])] += tail[match.start() : end]
    return found


def run_trapline(folder: Path) -> Runner:
    """Return what runs a script with trapline, in this process."""

    def run(script: str) -> Done:
        return run_command_line(["-e", script], folder)

    return run


@cache
def run_bpftrace(script: str, *options: str) -> Done:
    """Run a script with the peer, once: trapline may be run in several states of its cache."""
    done = run_peer(["bpftrace", *options, "-e", script], timeout_s=scaled(50))
    return Done(done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), done.returncode)


def run_bodies(run: Runner, bodies: Sequence[Body]) -> list[str]:
    """Return each body's output, or ``(code N) message`` for one that does not run.

    A script that fails is halved until it runs, so one bad body does not hide the others.
    """
    done = run(make_script(bodies))
    if done.code == 0:
        outputs = split_output(done.stdout, len(bodies))
        return [text + outputs[-1] if len(bodies) == 1 else text for text in outputs[:-1]]
    if len(bodies) == 1:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
        return [f"(code {done.code}) {' '.join(errors)}"]
    middle = len(bodies) // 2
    return run_bodies(run, bodies[:middle]) + run_bodies(run, bodies[middle:])
