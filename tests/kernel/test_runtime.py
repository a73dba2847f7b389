"""The event loop on a real ring and real maps, fed by a hand-written tracepoint program."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

from trapline.abi.assembler import R0, R1, R2, R3, R4, R6, R7, R10, Assembler
from trapline.ir import spec as s
from trapline.ir import values as v
from trapline.kernel.object import load_object
from trapline.kernel.target import LiveTarget
from trapline.runtime.loop import EventLoop
from trapline.runtime.names import Names
from trapline.runtime.output import Sink, TextOutput
from trapline.syscall.ringbuf import RingBuffer

U32, STR = v.IntV(4, False), v.StrV(16)
PAGE = os.sysconf("SC_PAGE_SIZE")


def getuid_program() -> s.ObjectProgram:
    """Send {u32 event; u32 probe; u32 tgid; u32 tid; char comm[16]}; count in ``.lost`` what does not fit."""
    asm = Assembler()
    refs = []

    def load_map(register: int, name: str) -> None:
        refs.append(s.MapRef(asm.slot, name))
        asm.load_imm64(register, 0)

    asm.store_imm(8, R10, -32, 0)
    asm.call("get_current_pid_tgid")
    asm.mov_reg(R6, R0).alu("rsh", R6, 32)
    asm.store(4, R10, -24, R6).store(4, R10, -20, R0)
    asm.mov_reg(R1, R10).alu("add", R1, -16).mov(R2, 16).call("get_current_comm")
    load_map(R1, s.RING)
    asm.mov_reg(R2, R10).alu("add", R2, -32).mov(R3, 32).mov(R4, 0).call("ringbuf_output")
    asm.jump("eq", R0, 0, "end")
    asm.store_imm(4, R10, -36, 0)
    load_map(R1, s.LOST)
    asm.mov_reg(R2, R10).alu("add", R2, -36).call("map_lookup_elem")
    asm.jump("eq", R0, 0, "end")
    asm.mov(R7, 1).atomic_add(8, R0, 0, R7)
    asm.label("end").mov(R0, 0).exit()
    point = s.AttachPoint(s.TracepointAttach("syscalls", "sys_enter_getuid"), "tracepoint:syscalls:sys_enter_getuid")
    return s.ObjectProgram(
        "getuid", "TRACEPOINT", asm.assemble(), map_refs=tuple(refs), attach_points=(point,), label=point.label
    )


def object_spec(ring_size: int) -> s.ObjectSpec:
    event = s.PrintfEvent("%d %d %s\n", (s.Field(8, U32), s.Field(12, U32), s.Field(16, STR)), 32)
    maps = (s.MapSpec(s.RING, "RINGBUF", 0, 0, ring_size), s.MapSpec(s.LOST, "PERCPU_ARRAY", 4, 8, 1))
    return s.ObjectSpec("stdin", "", (getuid_program(),), maps=maps, events=(event,))


class Tracing:
    """The program loaded, with a loop that writes to memory."""

    def __init__(self, ring_size: int) -> None:
        self.spec = object_spec(ring_size)
        self.out, self.err = io.BytesIO(), io.BytesIO()
        self.object = load_object(self.spec, LiveTarget())
        self.ring = RingBuffer(self.object.maps[s.RING].fileno(), ring_size)
        self.loop = EventLoop(
            self.spec,
            ring=self.ring,
            ring_fd=self.object.maps[s.RING].fileno(),
            maps=self.object.maps,
            output=TextOutput(Sink(self.out), Sink(self.err)),
            namer=Names(),
        )

    def __enter__(self) -> Tracing:
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.close()
        self.ring.close()
        self.object.close()

    def mine(self) -> int:
        """How many lines this thread made."""
        prefix = f"{os.getpid()} {threading.get_native_id()} ".encode()
        return sum(line.startswith(prefix) for line in self.out.getvalue().splitlines())


def test_events_arrive_in_order_and_complete() -> None:
    with Tracing(64 * PAGE) as tracing:
        tracing.object.attach_all()
        for _ in range(1000):
            os.getuid()
        tracing.object.detach()
        tracing.loop.settle()
        tracing.loop.finish()
        assert tracing.mine() == 1000
        comm = Path("/proc/thread-self/comm").read_bytes().strip()
        assert b"%d %d %b\n" % (os.getpid(), threading.get_native_id(), comm) in tracing.out.getvalue()
        assert tracing.err.getvalue() == b""


def test_the_ring_wakes_a_waiting_loop() -> None:
    with Tracing(64 * PAGE) as tracing:
        tracing.object.attach_all()
        timer = threading.Timer(0.05, os.getuid)
        timer.start()
        end = time.monotonic() + 20
        while tracing.ring.consumer_position == 0 and time.monotonic() < end:
            tracing.loop.step(5.0)
        timer.join()
        assert tracing.ring.consumer_position > 0
        assert time.monotonic() < end


def test_every_lost_event_is_counted() -> None:
    with Tracing(PAGE) as tracing:
        tracing.object.attach_all()
        for _ in range(1000):  # nobody reads meanwhile
            os.getuid()
        tracing.object.detach()
        tracing.loop.settle()
        tracing.loop.finish()
        shown = len(tracing.out.getvalue().splitlines()) - 2
        text = tracing.err.getvalue().decode()
    lost = int(text.splitlines()[0].split()[1])
    assert shown == PAGE // 40  # 32 bytes and a header of 8
    assert shown + lost >= 1000
    assert text == (
        f"Lost {lost} events\nWARNING: Total lost event count: {lost}\n"
        f"WARNING: Lost events of tracepoint:syscalls:sys_enter_getuid: {lost}\n"
    )
