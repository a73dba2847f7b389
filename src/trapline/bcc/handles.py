"""What the tables and readers need of kernel objects; `trapline.engine.dynamic` implements it, tests fake it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trapline.hints import Protocol

Run = tuple[int, int, int, int]  # records of one length in a row: first offset, step, count, length


class RingHandle(Protocol):
    """A mapped BPF ring buffer."""

    def batches(self) -> Iterator[tuple[bytes, Sequence[Run]]]:
        """Take all finished records out, some at a time: bytes, and where the records are in them."""

    def close(self) -> None:
        """Unmap it."""


class MapHandle(Protocol):
    """A BPF map by its bytes."""

    @property
    def fd(self) -> int:
        """Its file descriptor."""

    @property
    def type(self) -> str:
        """The kernel's spelling of its type (``HASH``)."""

    @property
    def key_size(self) -> int:
        """Bytes of a key."""

    @property
    def value_size(self) -> int:
        """Bytes of a value as the kernel counts it (one CPU's part for per-CPU maps)."""

    @property
    def max_entries(self) -> int:
        """Its capacity."""

    @property
    def flags(self) -> int:
        """``BPF_F_…`` that it was created with."""

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value (per-CPU: all CPUs' parts, 8-byte aligned), ``None`` when there is no such key."""

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set a value."""

    def delete(self, key: bytes) -> bool:
        """Delete a key; return whether it was there."""

    def next_key(self, key: bytes | None) -> bytes | None:
        """Return the key after `key` (the first for ``None``), ``None`` at the end."""

    def take(self, key: bytes) -> bytes | None:
        """Look up and delete at once; an empty key pops a queue or stack."""

    def lookup_batch(self, *, delete: bool = False) -> Sequence[tuple[bytes, bytes]]:
        """Return all elements, taking them out of the map when `delete`."""

    def delete_batch(self, keys: Sequence[bytes]) -> None:
        """Delete many keys at once."""

    def update_batch(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values at once."""

    def open_ring(self) -> RingHandle:
        """Map a ring buffer for reading."""


class PerfRingHandle(Protocol):
    """One CPU's ring of a perf buffer."""

    def fileno(self) -> int:
        """The descriptor to poll and to store in the map."""

    def batches(self) -> Iterator[tuple[bytes, Sequence[Run], int]]:
        """Take all samples out, some at a time: bytes, where the samples are in them, and how many were lost."""

    def close(self) -> None:
        """Unmap and close it."""


class LinkHandle(Protocol):
    """An attached program."""

    def close(self) -> None:
        """Detach it."""
