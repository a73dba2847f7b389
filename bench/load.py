"""The load: makes system calls from one thread, and writes how many nanoseconds one takes.

    load.py getuid|openat CALLS RESULT [CHUNK]

With CHUNK, it is the least average over so many calls: what the call costs when nothing else disturbs it. The load
rests between them, so that a tracer can take what they left: to lose an event is cheaper than to deliver it.
"""

import itertools
import os
import sys
import time

_REST = 0.003


def _open() -> None:
    os.close(os.open("/dev/null", os.O_RDONLY))


def main() -> None:
    call = {"getuid": os.getuid, "openat": _open}[sys.argv[1]]
    calls = int(sys.argv[2])
    chunk = int(sys.argv[4]) if len(sys.argv) > 4 else calls
    least = float("inf")
    for _ in range(max(1, calls // chunk)):
        if chunk < calls:
            time.sleep(_REST)
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, chunk):
            call()
        least = min(least, (time.perf_counter_ns() - start) / chunk)
    with open(sys.argv[3], "w") as result:
        result.write(f"{least}\n")


if __name__ == "__main__":
    main()
