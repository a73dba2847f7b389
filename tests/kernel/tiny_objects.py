"""Objects of a few hand-assembled instructions: what the tests of the kernel half load."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from trapline.abi.assembler import R0, R1, R2, R3, R4, R6, R7, R10, Assembler
from trapline.ir.spec import AttachPoint, MapRef, MapSpec, ObjectProgram, ObjectSpec
from trapline.kernel.object import LoadedObject, load_object
from trapline.kernel.target import LiveTarget
from trapline.syscall.ringbuf import RingBuffer

RING = MapSpec(".ring", "RINGBUF", 0, 0, 1 << 18)


@cache
def target() -> LiveTarget:
    """Return the running kernel, read once for all tests."""
    return LiveTarget()


def record_code(tag: int, *, cookie: bool = False, register: int | None = None, result: int = 0) -> bytes:
    """Return code that writes {u64 tag; u64 pid_tgid; u64 extra} to the ring (map reference at instruction 0).

    `extra` is the attach cookie, or the context's 8 bytes at offset `register`.
    """
    asm = Assembler()
    asm.load_imm64(R6, 0).mov_reg(R7, R1).store_imm(8, R10, -24, tag)
    asm.call("get_current_pid_tgid").store(8, R10, -16, R0).store_imm(8, R10, -8, 0)
    if cookie:
        asm.mov_reg(R1, R7).call("get_attach_cookie").store(8, R10, -8, R0)
    if register is not None:
        asm.load(8, R0, R7, register).store(8, R10, -8, R0)
    asm.mov_reg(R1, R6).mov_reg(R2, R10).alu("add", R2, -24).mov(R3, 24).mov(R4, 0).call("ringbuf_output")
    return asm.mov(R0, result).exit().assemble()


def program(
    tag: int,
    *points: AttachPoint,
    type: str = "KPROBE",
    cookie: bool = False,
    register: int | None = None,
    result: int = 0,
    **more: str,
) -> ObjectProgram:
    """Return a program that records `tag` at each of its attach points."""
    code = record_code(tag, cookie=cookie, register=register, result=result)
    return ObjectProgram(
        f"p{tag}", type, code, (MapRef(0, RING.name),), attach_points=points, label=points[0].label, **more
    )


def tiny_object(*programs: ObjectProgram, maps: tuple[MapSpec, ...] = ()) -> ObjectSpec:
    """Return an object with a ring and `programs`."""
    return ObjectSpec("test", "", programs, (RING, *maps))


class Running:
    """An attached object and its ring."""

    def __init__(self, loaded: LoadedObject, ring: RingBuffer, warnings: list[str]) -> None:
        self.loaded = loaded
        self.ring = ring
        self.warnings = warnings

    def records(self, pid: int | None = None) -> list[tuple[int, int, int]]:
        """Return (tag, tgid, extra) of what came since the last call, of process `pid` only when given."""
        found = []
        for raw in self.ring.records():
            tag, pid_tgid, extra = struct.unpack("<QQQ", raw)
            if pid is None or pid_tgid >> 32 == pid:
                found.append((tag, pid_tgid >> 32, extra))
        return found


@contextmanager
def attached(*programs: ObjectProgram, maps: tuple[MapSpec, ...] = ()) -> Iterator[Running]:
    """Load and attach `programs`; everything is closed at the end."""
    warnings: list[str] = []
    with load_object(tiny_object(*programs, maps=maps), target()) as loaded, loaded.maps[".ring"].open_ring() as ring:
        loaded.attach_all(warnings.append)
        yield Running(loaded, ring, warnings)
