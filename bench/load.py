"""The load: makes system calls from one thread, and writes how many nanoseconds one takes.

    load.py getuid|openat CALLS RESULT [CHUNK]

With CHUNK, it is the least average over so many calls: what the call costs when nothing else disturbs it.
"""

import itertools
import os
import sys
import time


def _open() -> None:
    os.close(os.open("/dev/null", os.O_RDONLY))


def main() -> None:
    call = {"getuid": os.getuid, "openat": _open}[sys.argv[1]]
    calls = int(sys.argv[2])
    chunk = int(sys.argv[4]) if len(sys.argv) > 4 else calls
    least = float("inf")
    for _ in range(max(1, calls // chunk)):
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, chunk):
            call()
        least = min(least, (time.perf_counter_ns() - start) / chunk)
    with open(sys.argv[3], "w") as result:
        result.write(f"{least}\n")


if __name__ == "__main__":
    main()
