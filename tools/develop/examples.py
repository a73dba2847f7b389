"""Run the three examples of the README one after the other, as root, with their output passed through live."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading

_SLEEPER = "while :; do sleep 0.2; done"
_EVENTS = 5
_LIMIT_S = 150.0

EXAMPLES = (
    ["trapline", "-e", r'kprobe:do_nanosleep {printf("sleep will be called by %d-%d\n", pid, tid)}', "-c", "sleep 0.1"],
    ["trapline", "-e", r'kretprobe:do_nanosleep { printf("%s %d\n", comm, retval) }', "-c", "sleep 0.1"],
)
ENDLESS = ["trapline", "bcc", "examples/hello.py"]
# What a line of the event itself has in it.
EXPECTED = ("sleep will be called by ", "sleep 0")
EXPECTED_ENDLESS = "executing program: "


def main() -> int:
    """Run them all; return 1 when one failed or its event did not come."""
    good = [run_example(argv, expected) for argv, expected in zip(EXAMPLES, EXPECTED, strict=True)]
    print(f"\n-- this one prints for ever; after {_EVENTS} events it gets SIGINT", flush=True)
    sleeper = subprocess.Popen(["sh", "-c", _SLEEPER], start_new_session=True)
    try:
        good.append(run_example(ENDLESS, EXPECTED_ENDLESS, end_after=_EVENTS))
    finally:
        sleeper.kill()
        sleeper.wait()
    print(flush=True)
    if not all(good):
        print(f"{good.count(False)} of {len(good)} examples failed", file=sys.stderr)
        return 1
    print(f"all {len(good)} examples printed their events")
    return 0


def run_example(argv: list[str], expected: str, end_after: int = 0) -> bool:
    """Run one example; return whether it ended well and a line had ``expected`` in it.

    Args:
        argv: the command.
        expected: what the line of an event contains.
        end_after: end the command with SIGINT, as Ctrl-C does, after so many events; 0 leaves it to end by itself.
    """
    print(f"\n$ {shlex.join(argv)}", flush=True)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    limit = threading.Timer(_LIMIT_S, process.kill)
    limit.start()
    seen = 0
    try:
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            seen += expected.encode() in line
            if end_after and seen == end_after:
                process.send_signal(signal.SIGINT)
        code = process.wait()
    finally:
        timed_out = not limit.is_alive()
        limit.cancel()
        process.stdout.close()
    if timed_out:
        print(f"-- failed: it did not end within {_LIMIT_S:g} s", flush=True)
    elif not seen:
        print(f"-- failed: no line with {expected!r} (exit code {code})", flush=True)
    elif code and not (end_after and code in (130, -signal.SIGINT)):
        print(f"-- failed: exit code {code}", flush=True)
    else:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
