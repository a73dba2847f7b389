"""The consumer's side of a perf event's ring: what PERF_EVENT_ARRAY maps deliver to."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

from trapline.abi import perf as abi
from trapline.abi.perf import PerfEventAttr
from trapline.errors import ClosedError, KernelError
from trapline.syscall.libc import Mapping
from trapline.syscall.perf import ioctl_perf, open_perf_event

_U32 = struct.Struct("=I")
_LOST = struct.Struct("=QQ")


class PerfBatch(NamedTuple):
    """What was read: the bytes of each sample in order, and how many the kernel dropped for want of space."""

    samples: list[bytes]
    lost: int


class PerfRing:
    """A BPF output event on one CPU and its ring.

    Args:
        cpu: the CPU.
        pages: size of the ring in pages, a power of two.
        wakeup_events: wake a waiting reader after so many samples.
        pid: only samples of this process, or -1.
        attr: another event than BPF output.

    Raises:
        KernelError: the event could not be opened or mapped (``kernel.perf_event_mlock_kb``).
    """

    def __init__(
        self, cpu: int, pages: int, *, wakeup_events: int = 1, pid: int = -1, attr: PerfEventAttr | None = None
    ) -> None:
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"the number of pages must be a power of two, not {pages}")
        page = os.sysconf("SC_PAGE_SIZE")
        attr = attr or PerfEventAttr(
            type=abi.PERF_TYPE_SOFTWARE,
            config=abi.PERF_COUNT_SW_BPF_OUTPUT,
            sample_type=abi.PERF_SAMPLE_RAW,
            sample_period=1,
            wakeup_events=wakeup_events,
        )
        self.cpu = cpu
        self.size = pages * page
        self.fd = open_perf_event(attr, pid=pid, cpu=cpu, what=f"perf ring on CPU {cpu}")
        try:
            self._map = Mapping(self.fd.fileno(), page + self.size, writable=True, what=f"perf ring on CPU {cpu}")
        except BaseException:
            self.fd.close()
            raise
        self._head = ctypes.c_uint64.from_address(self._map.address + abi.MMAP_PAGE_DATA_HEAD)
        self._tail = ctypes.c_uint64.from_address(self._map.address + abi.MMAP_PAGE_DATA_TAIL)
        self._data = self._map.view[page:]
        result = ioctl_perf(self.fd.fileno(), abi.PERF_EVENT_IOC_ENABLE)
        if result < 0:
            self.close()
            raise KernelError(f"cannot enable the perf ring on CPU {cpu}: {os.strerror(-result)}", errno=-result)

    def fileno(self) -> int:
        """Return the event's descriptor, for polling and for the map's element."""
        return self.fd.fileno()

    def pending(self) -> bool:
        """Whether there is anything to read."""
        self._check()
        return self._head.value != self._tail.value

    def take(self, limit: int = 0) -> PerfBatch:
        """Take the records out of the ring, up to what was there when the call began.

        Args:
            limit: at most so many records; 0 means all.
        """
        samples: list[bytes] = []
        lost = 0
        data, places = self._take(limit)
        length_of = _U32.unpack_from
        for kind, _, at, _ in places:
            if kind == abi.PERF_RECORD_SAMPLE:
                (length,) = length_of(data, at)
                samples.append(data[at + 4 : at + 4 + length])
            elif kind == abi.PERF_RECORD_LOST:
                lost += _LOST.unpack_from(data, at)[1]
        return PerfBatch(samples, lost)

    def records(self, limit: int = 0) -> list[tuple[int, int, bytes]]:
        """Take (type, misc, body) of the records out of the ring, as `take` does."""
        data, places = self._take(limit)
        return [(kind, misc, data[at:end]) for kind, misc, at, end in places]

    def _take(self, limit: int) -> tuple[bytes, list[tuple[int, int, int, int]]]:
        """Take records out: a copy of them, and type, misc, start and end of the body of each."""
        self._check()
        tail = self._tail.value
        data = self._bytes(tail, self._head.value - tail)
        places: list[tuple[int, int, int, int]] = []
        header, skip = abi.RECORD_HEADER.unpack_from, abi.RECORD_HEADER.size
        at, end = 0, len(data)
        while at < end and not (limit and len(places) >= limit):
            kind, misc, size = header(data, at)
            if size < skip:
                raise KernelError(f"perf ring on CPU {self.cpu} is corrupt: record of {size} bytes")
            places.append((kind, misc, at + skip, at + size))
            at += size
        self._tail.value = tail + at
        return data, places

    def _bytes(self, position: int, size: int) -> bytes:
        start = position & (self.size - 1)
        end = start + size
        if end <= self.size:
            return bytes(self._data[start:end])
        return bytes(self._data[start:]) + bytes(self._data[: end - self.size])

    def close(self) -> None:
        """Unmap the ring and close the event; closing twice is allowed."""
        if not self.fd.closed:
            self._data.release()
            self._map.close()
            self.fd.close()

    def _check(self) -> None:
        if self.fd.closed:
            raise ClosedError(f"perf ring on CPU {self.cpu} is closed")

    def __enter__(self) -> PerfRing:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
