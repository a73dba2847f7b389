"""Perf buffers: ``BPF_PERF_OUTPUT`` tables, their rings, and polling them."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

from trapline.bcc.ctypes_types import CType
from trapline.bcc.failures import BccError, NotOfferedError
from trapline.bcc.samples import Samples, SubmitsEvents, ended_by_closed_pipe
from trapline.bcc.table_kinds import ArrayBase
from trapline.bcc.utils import get_online_cpus
from trapline.errors import TraplineError
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle, PerfRingHandle

SampleCallback = Callable[[int, Any, int], Any]  # (cpu, address of the data, its size)
LostCallback = Callable[[int], Any]
RingOpener = Callable[[int, int, int], "PerfRingHandle"]  # (cpu, pages, wakeup_events)
CounterOpener = Callable[[int, int, int, int], Any]  # (type, config, pid, cpu) -> something with fileno() and close()


def report_lost(count: int) -> None:
    """Say on stderr that samples were lost, as BCC does when the script has no callback for it."""
    print(f"Possibly lost {count} samples", file=sys.stderr)


class _Reader:
    """One CPU's ring and what was taken out of it but not yet delivered."""

    def __init__(self, cpu: int, ring: PerfRingHandle, table: PerfEventArray) -> None:
        self.cpu = cpu
        self.ring = ring
        self.table = table
        self.on_sample: SampleCallback = lambda cpu, data, size: None
        self.on_lost: LostCallback = report_lost
        self._samples = Samples()

    def deliver(self) -> None:
        """Hand all samples to the callbacks; if one raises, those after it stay for the next time."""
        samples, room = self._samples, self.table.event_size
        with ended_by_closed_pipe():
            samples.deliver(self.on_sample, self.cpu, room)
            for data, runs, lost in self.ring.batches():
                samples.put(data, runs)
                if lost:
                    self.on_lost(lost)
                samples.deliver(self.on_sample, self.cpu, room)


class PerfBuffers:
    """All open perf buffers of a `BPF` object."""

    def __init__(self) -> None:
        self._readers: dict[tuple[int, int], _Reader] = {}
        self._poll = select.poll()
        self._by_fd: dict[int, _Reader] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, key: tuple[int, int], reader: _Reader) -> None:
        """Start polling a reader, known as `key`: (id of the table, CPU)."""
        self._readers[key] = reader
        fd = reader.ring.fileno()
        self._by_fd[fd] = reader
        self._poll.register(fd, select.POLLIN)

    def remove(self, key: tuple[int, int]) -> None:
        """Stop polling a reader and close its ring."""
        reader = self._readers.pop(key, None)
        if reader is None:
            return
        fd = reader.ring.fileno()
        self._poll.unregister(fd)
        del self._by_fd[fd]
        reader.ring.close()

    def poll(self, timeout: int = -1) -> None:
        """Wait for samples and deliver them.

        Args:
            timeout: milliseconds; negative waits without end.
        """
        for fd, _ in self._poll.poll(None if timeout < 0 else timeout):
            reader = self._by_fd.get(fd)
            if reader is not None:
                reader.deliver()

    def consume(self) -> None:
        """Deliver what is there, without waiting."""
        for reader in list(self._readers.values()):
            reader.deliver()

    def close(self) -> None:
        """Close all rings."""
        for key in list(self._readers):
            self.remove(key)


class PerfEventArray(SubmitsEvents, ArrayBase):
    """``BPF_PERF_OUTPUT`` (rings to read) and ``BPF_PERF_ARRAY`` (counters that the program reads).

    Args:
        event: makes the ctypes class of what the program submits, or ``None`` when it submits nothing known.
        buffers: the polled buffers of the owning `BPF` object.
        open_ring, open_counter: open a ring, or a counter, on a CPU.
    """

    def __init__(
        self,
        handle: MapHandle,
        key: CType,
        leaf: CType,
        name: str,
        *,
        event: Callable[[], CType] | None,
        buffers: PerfBuffers,
        open_ring: RingOpener,
        open_counter: CounterOpener,
    ) -> None:
        super().__init__(handle, key, leaf, name)
        self.set_event(event)
        self._buffers = buffers
        self._open_ring = open_ring
        self._open_counter = open_counter
        self._open_cpus: dict[int, Any] = {}

    def open_perf_buffer(
        self,
        callback: SampleCallback,
        page_cnt: int = 8,
        lost_cb: LostCallback | None = None,
        wakeup_events: int = 1,
    ) -> None:
        """Open a ring for each online CPU; samples are delivered by `BPF.perf_buffer_poll`.

        Args:
            callback: called with (CPU, address of the data, its size in bytes).
            page_cnt: pages of each ring, a power of two.
            lost_cb: called with how many samples were lost; without it that goes to stderr.
            wakeup_events: wake the poll after so many samples.
        """
        if page_cnt < 1 or page_cnt & (page_cnt - 1):
            raise BccError("Perf buffer page_cnt must be a power of two")
        self.expect_events()
        for cpu in get_online_cpus():
            self._open_cpu(cpu, callback, page_cnt, lost_cb, wakeup_events)

    def _open_cpu(
        self, cpu: int, callback: SampleCallback, pages: int, lost: LostCallback | None, wakeup_events: int
    ) -> None:
        if cpu in self._open_cpus:
            del self[cpu]
        try:
            ring = self._open_ring(cpu, pages, wakeup_events)
        except TraplineError as error:
            raise BccError(f"Could not open perf buffer: {error.message}", hint=error.hint) from error
        reader = _Reader(cpu, ring, self)
        reader.on_sample = callback
        reader.on_lost = lost or report_lost
        try:
            self[self.Key(cpu)] = ring.fileno()
        except BaseException:
            ring.close()
            raise
        self._buffers.add((id(self), cpu), reader)
        self._open_cpus[cpu] = None

    def open_perf_event(self, typ: int, config: int, pid: int = -1) -> None:
        """Open a counter on each online CPU, for the program's ``perf_read``.

        Args:
            typ: `PerfType`.
            config: `PerfHWConfig`, `PerfSWConfig` …
            pid: count this process only; -1 counts all.
        """
        for cpu in get_online_cpus():
            try:
                counter = self._open_counter(typ, config, pid, cpu)
            except TraplineError as error:
                raise BccError(f"bpf_open_perf_event failed: {error.message}", hint=error.hint) from error
            self[self.Key(cpu)] = counter.fileno()
            self._open_cpus[cpu] = counter

    def __setitem__(self, key: Any, leaf: Any) -> None:
        super().__setitem__(key, self.Leaf(getattr(leaf, "value", leaf)))

    def __delitem__(self, key: Any) -> None:
        cpu = getattr(key, "value", key)
        if cpu not in self._open_cpus:
            return
        counter = self._open_cpus.pop(cpu)
        self.handle.delete(self.encode_key(cpu))
        if counter is None:
            self._buffers.remove((id(self), cpu))
        else:
            counter.close()

    def close(self) -> None:
        """Close every ring and counter that was opened."""
        for cpu in list(self._open_cpus):
            del self[cpu]

    def clear(self) -> None:
        """Close every ring and counter that was opened."""
        self.close()

    def __getitem__(self, key: Any) -> Any:
        raise NotOfferedError(
            f"elements of the perf array {self._name} cannot be read: the kernel only lets the BPF program do that"
        )

    def iteritems(self) -> Any:
        """Raise: the kernel does not give a perf array's elements."""
        return self[0]
