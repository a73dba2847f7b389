"""The consumer's side of a BPF_MAP_TYPE_RINGBUF."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from itertools import repeat

from trapline.abi.bpf import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ
from trapline.errors import ClosedError
from trapline.hints import NamedTuple
from trapline.records import record
from trapline.syscall.alike import ALIKE, LOOK, Run, count_alike
from trapline.syscall.libc import Mapping

_LENGTH = struct.Struct("=I")
_FLAGS = BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FIRST_REACH = 256 << 10
_BATCH = 256 << 10
SLACK = bytes(4096)


class RingChunk(NamedTuple):
    """Records that were taken out of the ring: `records` are (offset, length) in `data`, which is a copy."""

    data: bytes
    records: list[tuple[int, int]]


class RingBatch(NamedTuple):
    """Records that were taken out of the ring: `runs` of records of the same length in `data`, which is a copy."""

    data: bytes
    runs: list[Run]


@record(frozen=True)
class RingAddresses:
    """Where native code finds the ring.

    `consumer` and `producer` are the addresses of the two u64 positions, `data` of the data, which is mapped twice in a
    row, `mask` is its size minus 1.
    """

    consumer: int
    producer: int
    data: int
    mask: int


class WakeFlag:
    """A word that a program and the reader of its ring share: not 0 while the reader wants to be woken.

    To be woken by each record costs the traced program much more than the record itself.  A reader that sleeps sets
    the flag, and then looks at the ring once more; a program looks at the flag after it reserved a record.

    Args:
        map_fd: an ARRAY with ``BPF_F_MMAPABLE``.
    """

    def __init__(self, map_fd: int) -> None:
        self._mapping = Mapping(map_fd, _PAGE, 0, writable=True, what="wake flag")
        self._word = ctypes.c_uint64.from_address(self._mapping.address)

    def set(self, sleeping: bool) -> None:
        """Say whether the reader sleeps."""
        self._word.value = sleeping

    def close(self) -> None:
        """Unmap it; closing twice is allowed."""
        self._mapping.close()


class RingBuffer:
    """A mapped ring buffer; one consumer at a time.

    The kernel publishes a record by clearing the busy bit of its length, and frees space by our consumer position.
    The data is mapped twice in a row, so a record is always contiguous; all of it counts as our memory, so the whole
    is mapped only when records come beyond its first part, which those of most programs never do.

    Args:
        map_fd: the map; it must stay open as long as the ring is read.
        size: its ``max_entries``, in bytes: a power of two and a multiple of the page size.
    """

    def __init__(self, map_fd: int, size: int) -> None:
        self.size = size
        self._map_fd = map_fd
        self._mask = size - 1
        self._consumer_map = Mapping(map_fd, _PAGE, 0, writable=True, what="ring buffer")
        # One aligned 8-byte store or load each: ctypes and a cast memoryview do no more than that.
        self._consumer = ctypes.c_uint64.from_address(self._consumer_map.address)
        try:
            self._map_data(min(_FIRST_REACH, 2 * size))
        except BaseException:
            self._consumer_map.close()
            raise
        self._closed = False

    def _map_data(self, reach: int) -> None:
        """Map the producer's position and so many bytes of the data (twice the ring's size is all)."""
        self._producer_map = Mapping(self._map_fd, _PAGE + reach, _PAGE, what="ring buffer")
        self._producer = ctypes.c_uint64.from_address(self._producer_map.address)
        self._data = self._producer_map.view[_PAGE:]
        self._reach = reach

    def _map_everything(self) -> None:
        if self._reach < 2 * self.size:
            data, mapping = self._data, self._producer_map
            self._map_data(2 * self.size)
            data.release()
            mapping.close()

    @property
    def addresses(self) -> RingAddresses:
        """The ring for native readers; valid until `close`."""
        self._check()
        self._map_everything()
        return RingAddresses(
            consumer=self._consumer_map.address,
            producer=self._producer_map.address,
            data=self._producer_map.address + _PAGE,
            mask=self._mask,
        )

    def pending(self) -> bool:
        """Whether the producer is ahead of us: a record is there, or is just being written."""
        self._check()
        return self._consumer.value != self._producer.value

    @property
    def producer_position(self) -> int:
        """How many bytes were ever reserved (u64)."""
        self._check()
        return self._producer.value

    @property
    def consumer_position(self) -> int:
        """How many bytes were ever taken out (u64)."""
        self._check()
        return self._consumer.value

    def take(self, limit: int = 0) -> RingChunk:
        """Take all finished records out of the ring, in order, up to the first that is still being written.

        Args:
            limit: at most so many records; 0 means all that were there when the call began.

        Returns:
            A copy of their bytes, and where each record is in it.  Discarded records are skipped.
        """
        self._check()
        end = self._producer.value
        if self._consumer.value == end:
            return RingChunk(b"", [])
        data, runs = self._take(end, limit)
        records: list[tuple[int, int]] = []
        for offset, step, count, length in runs:
            if count == 1:
                records.append((offset, length))
            else:
                records.extend(zip(range(offset, offset + count * step, step), repeat(length), strict=False))
        return RingChunk(data, records)

    def batches(self) -> Iterator[RingBatch]:
        """Take the finished records that are in the ring now out of it, some at a time.

        Whoever iterates may close the ring.

        Yields:
            The records; `data` is followed by 4096 zero bytes, for readers that read too far.
        """
        self._check()
        end = self._producer.value
        while not self._closed and (start := self._consumer.value) < end:
            batch = self._take(min(end, start + _BATCH), slack=SLACK)
            if self._consumer.value == start:
                return
            yield batch

    def _take(self, end: int, limit: int = 0, slack: bytes = b"") -> RingBatch:
        """Take records out that start before `end`, a position that the producer has reached."""
        start = position = self._consumer.value
        base = start & self._mask
        if base + (self._producer.value - start) > self._reach:
            self._map_everything()
        data, unpack = self._data, _LENGTH.unpack_from
        runs: list[Run] = []
        alike, before, look, taken = 0, -1, LOOK, 0
        while position < end:
            offset = base + (position - start)
            (length,) = unpack(data, offset if offset <= self._mask else offset - self.size)
            if length & BPF_RINGBUF_BUSY_BIT:
                break
            size = length & ~_FLAGS
            step = (size + BPF_RINGBUF_HDR_SZ + 7) & ~7
            alike = alike + 1 if length == before else 0
            before = length
            count = 1
            if not length & BPF_RINGBUF_DISCARD_BIT:
                if alike >= ALIKE:
                    asked = min(look, (end - position) // step, limit - taken if limit else look)
                    if asked > 1:
                        count = count_alike(data, offset, step, asked, "I", length)
                        look, alike = (4 * look, alike) if count == asked else (LOOK, 0)
                runs.append(Run(position - start + BPF_RINGBUF_HDR_SZ, step, count, size))
                taken += count
            position += count * step
            if limit and taken >= limit:
                break
        place = data[base : base + (position - start)]
        copied = b"".join((place, slack)) if slack else bytes(place)
        self._consumer.value = position
        return RingBatch(copied, runs)

    def records(self, limit: int = 0) -> Iterator[bytes]:
        """Take finished records out of the ring and yield the bytes of each."""
        data, places = self.take(limit)
        for offset, length in places:
            yield data[offset : offset + length]

    def close(self) -> None:
        """Unmap the ring; closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._data.release()
            self._consumer_map.close()
            self._producer_map.close()

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("ring buffer is closed")

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
