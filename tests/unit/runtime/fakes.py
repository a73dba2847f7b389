"""Stand-ins for the kernel's maps and ring, and a namer with fixed answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from trapline.ir.buckets import BUCKET_BYTES
from trapline.ir.spec import MapSpec
from trapline.ir.values import HistV, LhistV, Value
from trapline.runtime.objects import Stack


class FakeNamer:
    """Answers that show what was asked."""

    def kernel_symbol(self, address: int, *, offset: bool = False) -> str:
        return f"k{address:x}" + ("+1" if offset else "")

    def user_symbol(self, address: int, pid: int, *, offset: bool = False) -> str:
        return f"u{address:x}@{pid}" + ("+1" if offset else "")

    def stack_text(self, stack: Stack) -> str:
        return "".join(f"\n        {symbol}" for symbol in stack.symbols) + "\n"

    def username(self, uid: int) -> str:
        return {0: "root"}.get(uid, "")

    def timestamp(self, nanoseconds: int, format: str, clock: str) -> str:
        return f"{format}:{nanoseconds}:{clock}"

    def cgroup_path(self, identifier: int) -> str:
        return f"unified:/{identifier}"

    def probe_name(self, index: int) -> str:
        return f"kprobe:p{index}"


NAMER = FakeNamer()


class FakeMap:
    """A map in memory."""

    def __init__(self, spec: MapSpec, items: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.spec = spec
        self.data = dict(items)

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.data.items())

    def packed(self) -> tuple[int, bytes, bytes] | None:
        return len(self.data), b"".join(self.data), b"".join(self.data.values())

    def lookup(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def update(self, key: bytes, value: bytes) -> None:
        self.data[key] = value

    def delete(self, key: bytes) -> bool:
        return self.data.pop(key, None) is not None

    def clear(self) -> None:
        self.data.clear()

    def zero(self) -> None:
        self.data = {key: bytes(len(value)) for key, value in self.data.items()}


class FakeRing:
    """A ring in memory: every `put` is one record."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.producer_position = 0
        self.consumer_position = 0
        self.busy = False
        self.size = 1 << 20

    def put(self, record: bytes) -> None:
        self.waiting.append(record)
        self.producer_position += len(record) + 8

    def take(self, limit: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
        if self.busy:
            return b"", []
        data, places = b"", []
        for record in self.waiting:
            data += b"HEADERxx"
            places.append((len(data), len(record)))
            data += record
        self.waiting.clear()
        self.consumer_position = self.producer_position
        return data, places


def map_spec(name: str, key: Value | None, value: Value, *, type: str = "HASH", scalar: bool = False) -> MapSpec:
    extra = BUCKET_BYTES if isinstance(value, HistV | LhistV) else 0
    key_size = (0 if scalar and extra else key.size if key is not None else 8) + extra
    return MapSpec(name, type, key_size, value.size, 64, key=key, value=value, printed=True, scalar=scalar)


def u64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *[n & (1 << 64) - 1 for n in numbers])
