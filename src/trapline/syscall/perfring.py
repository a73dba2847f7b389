"""The consumer's side of a perf event's ring: what PERF_EVENT_ARRAY maps deliver to."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from trapline.abi import perf as abi
from trapline.abi.perf import PerfEventAttr
from trapline.errors import ClosedError, KernelError
from trapline.hints import NamedTuple
from trapline.syscall.alike import ALIKE, LOOK, Run, count_alike
from trapline.syscall.libc import Mapping
from trapline.syscall.perf import ioctl_perf, open_perf_event
from trapline.syscall.ringbuf import SLACK

_U32 = struct.Struct("=I")
_WORD = struct.Struct("=Q")
_SAMPLE = abi.RECORD_HEADER.size + _U32.size  # from a record to its sample
_LOST = struct.Struct("=QQ")
_BATCH = 256 << 10  # more than any record


class PerfBatch(NamedTuple):
    """What was read: the bytes of each sample in order, and how many the kernel dropped for want of space."""

    samples: list[bytes]
    lost: int


class PerfChunk(NamedTuple):
    """What was read: `runs` of samples of the same length in `data`; `lost` is how many the kernel dropped."""

    data: bytes
    runs: list[Run]
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

    def take(self) -> PerfBatch:
        """Take the samples out of the ring that were there when the call began."""
        self._check()
        data, runs, lost = self._samples(self._head.value)
        samples = [
            data[at : at + run.length]
            for run in runs
            for at in range(run.offset, run.offset + run.number * run.step, run.step)
        ]
        return PerfBatch(samples, lost)

    def batches(self) -> Iterator[PerfChunk]:
        """Take the records that are in the ring now out of it, some at a time.

        Whoever iterates may close the ring.

        Yields:
            The samples; `data` is followed by 4096 zero bytes, for readers that read too far.
        """
        self._check()
        end = self._head.value
        while not self.fd.closed and (tail := self._tail.value) < end:
            yield self._samples(min(end, tail + _BATCH), slack=SLACK)

    def _samples(self, end: int, slack: bytes = b"") -> PerfChunk:
        """Take the samples out of the ring whose records end before `end`, a position."""
        tail = self._tail.value
        stop = end - tail
        data = self._copy(tail, stop, slack)
        view = memoryview(data)
        runs: list[Run] = []
        lost = at = alike = before = 0
        look = LOOK
        while at < stop:
            kind, _, size = self._header(data, at)
            if at + size > stop:
                break
            count = 1
            if kind == abi.PERF_RECORD_SAMPLE:
                (length,) = _U32.unpack_from(data, at + abi.RECORD_HEADER.size)
                # The length follows from the record's size: the kernel rounds it up to that.
                (word,) = _WORD.unpack_from(data, at)
                alike = alike + 1 if word == before else 0
                before = word
                if alike >= ALIKE and (asked := min(look, (stop - at) // size)) > 1:
                    count = count_alike(view, at, size, asked, "Q", word)
                    look, alike = (4 * look, alike) if count == asked else (LOOK, 0)
                runs.append(Run(at + _SAMPLE, size, count, length))
            elif kind == abi.PERF_RECORD_LOST:
                lost += _LOST.unpack_from(data, at + abi.RECORD_HEADER.size)[1]
            at += count * size
        self._tail.value = tail + at
        return PerfChunk(data, runs, lost)

    def records(self) -> list[tuple[int, int, bytes]]:
        """Take (type, misc, body) of the records out of the ring that were there when the call began."""
        self._check()
        tail = self._tail.value
        data = self._copy(tail, self._head.value - tail)
        found = []
        at = 0
        while at < len(data):
            kind, misc, size = self._header(data, at)
            found.append((kind, misc, data[at + abi.RECORD_HEADER.size : at + size]))
            at += size
        self._tail.value = tail + at
        return found

    def _header(self, data: bytes, at: int) -> tuple[int, int, int]:
        kind, misc, size = abi.RECORD_HEADER.unpack_from(data, at)
        if size < abi.RECORD_HEADER.size:
            raise KernelError(f"perf ring on CPU {self.cpu} is corrupt: record of {size} bytes")
        return kind, misc, size

    def _copy(self, position: int, size: int, slack: bytes = b"") -> bytes:
        start = position & (self.size - 1)
        end = start + size
        if end <= self.size:
            return b"".join((self._data[start:end], slack))
        return b"".join((self._data[start:], self._data[: end - self.size], slack))

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
