"""The load: makes `calls` getuid(2) calls from one thread and prints nanoseconds per call."""

import itertools
import os
import sys
import time


def main() -> None:
    calls = int(sys.argv[1])
    getuid = os.getuid
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, calls):
        getuid()
    elapsed = time.perf_counter_ns() - start
    with open(sys.argv[2], "w") as result:
        result.write(f"{elapsed / calls}\n")


if __name__ == "__main__":
    main()
