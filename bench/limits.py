"""What no tracer in Python can do without: the least that each kind of cost can be on this machine."""

from __future__ import annotations

import itertools
import os
import re
import statistics
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping

from tests.unit.runtime.test_native import MemoryRing, header

from bench.bench import Bench
from bench.measure import run
from bench.results import Limit
from trapline.abi.assembler import R0, Assembler
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.ir.spec import ObjectProgram, ObjectSpec
from trapline.kernel.object import load_object
from trapline.kernel.target import LiveTarget
from trapline.runtime.format import make_printf
from trapline.runtime.names import Names
from trapline.runtime.native.drain import NativeReader
from trapline.runtime.native.plan import make_plan
from trapline.runtime.output.protocol import Framing
from trapline.syscall.bpf import run_program

_LINE = b"123456 123456 python3\n"
_EVENTS = 10_000
# Not all can be imported: a module may ask for those of other systems.
_OPEN_LLVM = "import trapline.codegen.llvm_library as llvm; llvm.version()"
_IMPORT = """
for name in {}:
    try:
        __import__(name)
    except ImportError:
        pass
"""


def limits(bench: Bench) -> Iterator[Limit]:
    """Measure all of them, and the parts of what trapline takes."""
    program = ["-e", "BEGIN { exit(); }"]
    start = _median([sys.executable, "-c", "pass"])
    yield Limit("Python's own start", start, "ms", "every start")
    for state, env in (("warm", bench.warm), ("cold", bench.cold)):
        command = [*bench.ours, *program]
        run(command, env=env)
        whole = _median(command, env)
        modules = _imported(command, env)
        imports = _median([sys.executable, "-c", _IMPORT.format(modules)], env) - start
        yield Limit(f"trapline's {state} start, start to exit", whole, "ms")
        yield Limit(f"imports of the {state} start ({len(modules)} modules)", imports, "ms", f"the {state} start")
    yield Limit(
        "opening llvmlite's library, with its back ends",
        _median([sys.executable, "-c", _OPEN_LLVM]) - _median([sys.executable, "-c", _OPEN_LLVM.partition(";")[0]]),
        "ms",
        "the cold start",
    )
    yield Limit("an empty BPF program, run by the kernel", _empty_program(), "ns", "every event")
    yield Limit("a system call that nobody traces, from Python", _call(), "ns", "the floods here")
    yield Limit("write(2) of a printed line, 64 KiB at a time", _write(), "ns", "a flood of printf")
    yield Limit("the native reader, a record of printf", _native(), "ns", "a flood of printf")
    yield Limit("the handlers in Python, a record of printf", _handlers(), "ns", "other events in a flood")
    yield Limit("a call of an empty Python function", _python_call(), "ns", "a BCC callback")


def _median(command: list[str], env: Mapping[str, str] | None = None) -> float:
    return statistics.median(run(command, env=env).wall for _ in range(9)) * 1000


def _imported(command: list[str], env: Mapping[str, str]) -> list[str]:
    """Return the modules that a command imports which an empty program does not."""

    def modules(command: list[str]) -> list[str]:
        told = run(command, env={**env, "PYTHONPROFILEIMPORTTIME": "1"}).stderr.decode()
        return [name for name in re.findall(r"^import time:.*\| +(\S+)$", told, re.MULTILINE) if name != "package"]

    known = set(modules([sys.executable, "-c", "pass"]))
    return [name for name in modules(command) if name not in known and "__main__" not in name]


def _empty_program() -> float:
    code = Assembler().mov(R0, 0).exit().assemble()
    spec = ObjectSpec("bench", "", (ObjectProgram("empty", "XDP", code),))
    with load_object(spec, LiveTarget()) as loaded:
        number = loaded.programs["empty"].fileno()
        return statistics.median(run_program(number, data=bytes(64), repeat=1_000_000)[1] for _ in range(5))


def _call(calls: int = 200_000) -> float:
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, calls):
        os.getuid()
    return (time.perf_counter_ns() - start) / calls


def _python_call(calls: int = 200_000) -> float:
    def empty(context: object, address: int, size: int) -> None:
        pass

    start = time.perf_counter_ns()
    deque(map(empty, itertools.repeat(None), range(calls), itertools.repeat(32)), maxlen=0)
    return (time.perf_counter_ns() - start) / calls


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
