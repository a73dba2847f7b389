"""Hits that the kernel dropped: what each kernel tells, and where it is read.

====================  =========================================================================================
Linux 6.7 and newer   kprobe and kprobe_multi links count hits that came while another kprobe ran on the CPU, and
                      kretprobe hits without a free instance (``bpf_link_info``); programs count hits dropped
                      because BPF already ran there (``bpf_prog_info.recursion_misses``).
before 6.7            the kernel counts the same for a kprobe (``kprobe.nmissed``, ``kretprobe.nmissed``) but has no
                      interface for probes made by perf: a small BPF program of ours walks from our own perf event
                      to the counters.  Needs BTF.  Hits dropped because BPF already ran there are not counted.
any                   trampolines (fentry, fexit) count recursion in ``recursion_misses`` (since 5.12).
====================  =========================================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

from trapline.abi import bpf as abi
from trapline.abi.assembler import R0, R1, R2, R3, R6, R7, R8, R10, Assembler
from trapline.btf import Btf
from trapline.errors import KernelError, TargetError
from trapline.ir.spec import KprobeAttach, KprobeMultiAttach, TrampolineAttach
from trapline.kernel.link import Link
from trapline.kernel.target import LiveTarget
from trapline.records import record
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

_VALUE_SIZE = 24  # {u64 fd; u64 kprobe's nmissed; u64 kretprobe's nmissed}


@record(frozen=True)
class MissedHits:
    """How many hits one probe missed.

    Args:
        label: the probe.
        count: how many; ``None`` when this kernel does not tell.
        reason: why, in a few words.
    """

    label: str
    count: int | None
    reason: str


def read_missed_hits(links: Sequence[Link], target: LiveTarget) -> list[MissedHits]:
    """Return what the kernel knows for each link that can miss hits, and for each program."""
    rows: list[MissedHits] = []
    reader: _CounterReader | None = None
    programs: dict[int, Link] = {}
    try:
        for link in links:
            attach = link.point.attach
            if link.closed or not isinstance(attach, (KprobeAttach, KprobeMultiAttach, TrampolineAttach)):
                continue
            programs.setdefault(id(link.program), link)
            if isinstance(attach, TrampolineAttach):
                continue
            count = link.missed()
            if count is None and link.perf_fds:
                reader = reader or _CounterReader.open(target)
                count = reader.total(link.perf_fds) if reader else None
            reason = "a kprobe was hit while another one ran"
            if attach.retprobe:
                reason = "no free kretprobe instance, or another kprobe ran"
            rows.append(MissedHits(link.label, count, reason))
    finally:
        if reader is not None:
            reader.close()
    for link in programs.values():
        misses = link.program.statistics().recursion_misses
        if misses:
            rows.append(
                MissedHits(link.program.spec.label or link.label, misses, "a BPF program already ran on the CPU")
            )
    return rows


@record(frozen=True)
class _Offsets:
    """Byte offsets of the members on the way from our task to a kprobe's counters."""

    files: int
    fdt: int
    fd: int
    private_data: int
    tp_event: int
    call_to_probes: int
    list_to_kretprobe: int
    kprobe_nmissed: int
    kretprobe_nmissed: int

    @classmethod
    def from_btf(cls, btf: Btf) -> _Offsets | None:
        """Look them up; ``None`` when a structure is laid out unlike what we know."""

        def offset(tag: str, member: str) -> int:
            number = btf.struct(tag)
            found = btf.field(number, member) if number is not None else None
            if found is None:
                raise KeyError(member)
            return found.offset

        try:
            return cls(
                files=offset("task_struct", "files"),
                fdt=offset("files_struct", "fdt"),
                fd=offset("fdtable", "fd"),
                private_data=offset("file", "private_data"),
                tp_event=offset("perf_event", "tp_event"),
                call_to_probes=offset("trace_probe_event", "probes") - offset("trace_probe_event", "call"),
                list_to_kretprobe=offset("trace_kprobe", "rp")
                - offset("trace_kprobe", "tp")
                - offset("trace_probe", "list"),
                kprobe_nmissed=offset("kretprobe", "kp") + offset("kprobe", "nmissed"),
                kretprobe_nmissed=offset("kretprobe", "nmissed"),
            )
        except KeyError:
            return None


@cache
def _assemble(offsets: _Offsets, map_fd: int) -> bytes:
    """Return the program: from element 0's descriptor to the counters, into the same element."""
    asm = Assembler()

    def follow(distance: int, size: int = 8) -> None:
        asm.mov_reg(R3, R7).alu("add", R3, distance)
        asm.store_imm(8, R10, -8, 0)
        asm.mov_reg(R1, R10).alu("add", R1, -8).mov(R2, size)
        asm.call("probe_read_kernel").jump("ne", R0, 0, "fail").load(8, R7, R10, -8)

    asm.load_map_value(R6, map_fd)
    asm.call("get_current_task").mov_reg(R7, R0)
    follow(offsets.files)
    follow(offsets.fdt)
    follow(offsets.fd)
    asm.load(8, R1, R6, 0).alu("lsh", R1, 3).alu_reg("add", R7, R1)
    follow(0)
    follow(offsets.private_data)
    follow(offsets.tp_event)
    follow(offsets.call_to_probes)
    asm.mov_reg(R8, R7).alu("add", R8, offsets.list_to_kretprobe)
    asm.mov_reg(R7, R8)
    follow(offsets.kprobe_nmissed)
    asm.store(8, R6, 8, R7)
    asm.mov_reg(R7, R8)
    follow(offsets.kretprobe_nmissed, 4)
    asm.store(8, R6, 16, R7)
    asm.mov(R0, 1).exit()
    asm.label("fail").mov(R0, 0).exit()
    return asm.assemble()


class _CounterReader:
    """Reads the counters of kprobes that this process made through perf."""

    def __init__(self, bpf_map: Fd, program: Fd) -> None:
        self._map = bpf_map
        self._program = program

    @classmethod
    def open(cls, target: LiveTarget) -> _CounterReader | None:
        """Load the program; ``None`` when this kernel does not let us."""
        try:
            offsets = _Offsets.from_btf(target.btf)
        except TargetError:
            return None
        if offsets is None:
            return None
        try:
            bpf_map = bpf.create_map(abi.MAP_TYPES["ARRAY"], 4, _VALUE_SIZE, 1, name="nmissed")
        except KernelError:
            return None
        result = bpf.load_program(
            abi.PROGRAM_TYPES["RAW_TRACEPOINT"], _assemble(offsets, bpf_map.fileno()), name="nmissed"
        )
        if result < 0:
            bpf_map.close()
            return None
        return cls(bpf_map, Fd(result, "program nmissed"))

    def total(self, perf_fds: Sequence[int]) -> int | None:
        """Return the sum over kprobe events of this process, or ``None`` when it could not be read."""
        total = 0
        for fd in perf_fds:
            key = bytes(4)
            try:
                bpf.update_elem(self._map.fileno(), key, struct.pack("<QQQ", fd, 0, 0))
                returned, _ = bpf.run_program(self._program.fileno())
                value = bpf.lookup_elem(self._map.fileno(), key, _VALUE_SIZE)
            except KernelError:
                return None
            if returned != 1 or value is None:
                return None
            _, kprobe, kretprobe = struct.unpack("<QQQ", value)
            total += kprobe + kretprobe
        return total

    def close(self) -> None:
        """Close the program and its map."""
        self._program.close()
        self._map.close()
