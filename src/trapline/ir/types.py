"""Types of IR values: integers without sign, and pointers that carry their address space.

Signedness belongs to operations (as in LLVM), layouts of structs to the front ends: at this level a field is a byte
offset.  What the IR keeps of a pointer is the one thing that decides how it may be read: its space.
"""

from __future__ import annotations

from enum import Enum

from trapline.records import record


class Space(Enum):
    """Where a pointer points, and so how memory behind it is read.

    Direct loads and stores are legal in STACK, MAP, CTX, RECORD, PACKET (what the context of a network program points
    to: the verifier knows its bounds) and BTF (loads only); KERNEL, USER and UNKNOWN need a
    probe read, which `trapline.ir.passes.dereference` inserts.  INFER asks that pass to find the space out.  MAPREF is
    a map itself, FUNCTION a subprogram.
    """

    STACK = "stack"
    MAP = "map"
    CTX = "ctx"
    RECORD = "record"
    PACKET = "packet"
    BTF = "btf"
    KERNEL = "kernel"
    USER = "user"
    UNKNOWN = "unknown"
    INFER = "infer"
    MAPREF = "mapref"
    FUNCTION = "function"

    @property
    def direct(self) -> bool:
        """Whether a program may load from it without a helper."""
        return self in _DIRECT


_DIRECT = frozenset({Space.STACK, Space.MAP, Space.CTX, Space.RECORD, Space.PACKET, Space.BTF})


@record(frozen=True)
class Int:
    """An integer of `bits` (1, 8, 16, 32, 64, 128)."""

    bits: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return max(1, self.bits // 8)

    def __str__(self) -> str:
        return f"i{self.bits}"


@record(frozen=True)
class Ptr:
    """A 64-bit pointer into `space`."""

    space: Space

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 8

    def __str__(self) -> str:
        return f"ptr<{self.space.value}>"


@record(frozen=True)
class Void:
    """No value."""

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 0

    def __str__(self) -> str:
        return "void"


Type = Int | Ptr | Void

BOOL = Int(1)
I8 = Int(8)
I16 = Int(16)
I32 = Int(32)
I64 = Int(64)
I128 = Int(128)
VOID = Void()


def integer(size: int) -> Int:
    """Return the integer type of `size` bytes."""
    return Int(size * 8)
