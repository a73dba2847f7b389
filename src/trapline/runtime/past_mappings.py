"""What processes had mapped that have ended since: kept from what the kernel tells of every mapping.

A process that lives for a few milliseconds is gone before its stack can be symbolised; ``/proc`` then says nothing.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence

from trapline.abi import perf as abi
from trapline.errors import KernelError
from trapline.hints import TYPE_CHECKING
from trapline.syscall.perfring import PerfRing
from trapline.syscall.process import MemoryMap, read_memory_maps

if TYPE_CHECKING:
    from trapline.runtime.loop import EventLoop

_PAGES = 64
_MOST_PROCESSES = 8192
_MMAP2 = struct.Struct("=IIQQQIIQQII")  # pid, tid, address, length, offset, device, inode, generation, prot, flags
_FORK = struct.Struct("=II")  # pid, parent
_PROT_EXEC = 4


class PastMappings:
    """Records executable mappings, on every CPU; closing it forgets nothing that was seen.

    Args:
        cpus: the CPUs that run.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        self._rings: list[PerfRing] = []
        self._mappings: dict[int, list[MemoryMap]] = {}
        attr = abi.PerfEventAttr(
            type=abi.PERF_TYPE_SOFTWARE,
            config=abi.PERF_COUNT_SW_DUMMY,
            sample_type=abi.PERF_SAMPLE_TIME,
            flags=abi.PERF_ATTR_MMAP
            | abi.PERF_ATTR_MMAP2
            | abi.PERF_ATTR_COMM
            | abi.PERF_ATTR_COMM_EXEC
            | abi.PERF_ATTR_TASK
            | abi.PERF_ATTR_SAMPLE_ID_ALL
            | abi.PERF_ATTR_WATERMARK,
            wakeup_events=_PAGES * 1024,  # bytes: a quarter of the ring
        )
        try:
            for cpu in cpus:
                self._rings.append(PerfRing(cpu, _PAGES, attr=attr))
        except KernelError:
            self.close()  # without it the stacks of short processes stay numbers, as ever

    def __call__(self, pid: int) -> Sequence[MemoryMap]:
        """Return the executable mappings of a process, as far as they were seen."""
        self.drain()
        return self._mappings.get(pid, ())

    def watch(self, loop: EventLoop) -> None:
        """Empty the rings whenever they fill up while the loop runs."""
        for ring in self._rings:
            loop.on_input(ring.fileno(), self.drain)

    def remember(self, pid: int) -> None:
        """Note what a process has mapped now: it may be gone when its addresses are asked for."""
        self._mappings[pid] = [m for m in read_memory_maps(pid) if m.executable]

    def drain(self) -> None:
        """Take what the kernel told out of the rings."""
        records = [record for ring in self._rings for record in ring.records()]
        # A fork may be told on one CPU and what the child maps on another; the last eight bytes are the time.
        records.sort(key=lambda record: record[2][-8:][::-1])
        for kind, misc, body in records:
            if kind == abi.PERF_RECORD_MMAP2:
                self._mapped(body)
            elif kind == abi.PERF_RECORD_COMM and misc & abi.PERF_RECORD_MISC_COMM_EXEC:
                self._mappings.pop(_FORK.unpack_from(body)[0], None)
            elif kind == abi.PERF_RECORD_FORK:
                self._forked(*_FORK.unpack_from(body))
        while len(self._mappings) > _MOST_PROCESSES:
            del self._mappings[next(iter(self._mappings))]

    def _mapped(self, body: bytes) -> None:
        pid, _, start, length, offset, major, minor, inode, _, prot, _ = _MMAP2.unpack_from(body)
        if not prot & _PROT_EXEC:
            return
        path = body[_MMAP2.size :].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        device = f"{major:02x}:{minor:02x}"
        found = MemoryMap(start, start + length, "r-xp", offset, device, inode, path)
        known = self._mappings.setdefault(pid, [])
        known[:] = [m for m in known if m.end <= found.start or m.start >= found.end]
        known.append(found)

    def _forked(self, pid: int, parent: int) -> None:
        if pid == parent:
            return  # a thread
        if parent not in self._mappings:
            self.remember(parent)
        self._mappings[pid] = list(self._mappings[parent])

    def close(self) -> None:
        """Close the rings; closing twice is allowed."""
        with contextlib.suppress(KernelError):
            self.drain()
        for ring in self._rings:
            ring.close()
        self._rings = []
