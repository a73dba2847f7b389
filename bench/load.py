"""The load: makes system calls from one thread, and writes how many nanoseconds one takes.

    load.py getuid|openat CALLS RESULT [CHUNK [INTERVAL]]

With CHUNK, it is the least average over so many calls: what the call costs when nothing else disturbs it. The load
rests between them, so that a tracer can take what they left: to lose an event is cheaper than to deliver it.

With INTERVAL, a call begins no sooner than so many nanoseconds after the one before it.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable

_REST = 0.003


def _open() -> None:
    os.close(os.open("/dev/null", os.O_RDONLY))


def _paced(call: Callable[[], object], calls: int, interval: int) -> None:
    now = time.perf_counter_ns
    begin = now()
    for number in range(calls):
        while now() < begin + number * interval:
            pass
        call()


def main() -> None:
    call = {"getuid": os.getuid, "openat": _open}[sys.argv[1]]
    calls = int(sys.argv[2])
    chunk = int(sys.argv[4]) if len(sys.argv) > 4 else calls
    interval = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    least = float("inf")
    for _ in range(max(1, calls // chunk)):
        if chunk < calls:
            time.sleep(_REST)
        start = time.perf_counter_ns()
        if interval:
            _paced(call, chunk, interval)
        else:
            for _ in itertools.repeat(None, chunk):
                call()
        least = min(least, (time.perf_counter_ns() - start) / chunk)
    with open(sys.argv[3], "w") as result:
        result.write(f"{least}\n")


if __name__ == "__main__":
    main()
