"""What no tracer in Python can do without: the least that each kind of cost can be on this machine."""

from __future__ import annotations

import os
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import dataclass

from tests.unit.runtime.test_native import MemoryRing, header

from bench.measure import run
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.runtime.format import make_printf
from trapline.runtime.names import Names
from trapline.runtime.native.drain import NativeReader
from trapline.runtime.native.plan import make_plan
from trapline.runtime.output.protocol import Framing

_LINE = b"123456 123456 python3\n"
_EVENTS = 10_000


@dataclass(frozen=True)
class Limit:
    """A figure and what it bounds."""

    name: str
    figure: float
    unit: str
    bounds: str

    def line(self) -> str:
        """Return the row that is printed."""
        return f"limit: {self.name:<60} {self.figure:>9.3g} {self.unit}"


def limits() -> list[Limit]:
    """Measure all of them."""
    return [
        Limit("Python's own start (python -c pass)", _python(), "ms", "start, listings"),
        Limit("import of llvmlite.binding", _python("import llvmlite.binding"), "ms", "the cold start"),
        Limit("write(2) of a printed line, 64 KiB at a time", _write(), "ns", "a flood of printf"),
        Limit("the native reader, a record of printf", _native(), "ns", "a flood of printf"),
        Limit("the handlers in Python, a record of printf", _handlers(), "ns", "other events in a flood"),
    ]


def _python(code: str = "pass") -> float:
    def median(program: str) -> float:
        return statistics.median(run([sys.executable, "-c", program]).wall for _ in range(9)) * 1000

    return median(code) - (0 if code == "pass" else median("pass"))


def _write() -> float:
    chunk = _LINE * ((64 << 10) // len(_LINE))
    rounds = 500
    with tempfile.TemporaryFile() as file:
        start = time.perf_counter_ns()
        for _ in range(rounds):
            os.write(file.fileno(), chunk)
        return (time.perf_counter_ns() - start) / (rounds * len(chunk) / len(_LINE))


def _event() -> tuple[s.PrintfEvent, bytes]:
    fields = (s.Field(8, v.IntV(4)), s.Field(12, v.IntV(4)), s.Field(16, v.StrV(16)))
    return s.PrintfEvent("%d %d %s\n", fields, 32), header() + struct.pack("<II16s", 123456, 123456, b"python3")


def _native() -> float:
    event, record = _event()
    ring = MemoryRing(1 << 20)
    for _ in range(_EVENTS):
        ring.put(record)
    reader = NativeReader.for_this_machine(make_plan([event], Framing(), b"..", Names()), ring)
    if reader is None:
        return float("nan")
    reader.read()  # the first call maps the code
    done, start = 0, time.perf_counter_ns()
    while batch := reader.read()[1]:
        done += batch
    return (time.perf_counter_ns() - start) / done


def _handlers() -> float:
    event, record = _event()
    show = make_printf(event.format, event.args, Names())
    start = time.perf_counter_ns()
    for _ in range(_EVENTS):
        show(record, 0)
    return (time.perf_counter_ns() - start) / _EVENTS
