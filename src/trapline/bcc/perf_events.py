"""Perf events by attribute structure (``bcc.perf`` of the scripts)."""

from __future__ import annotations

import ctypes as ct

from trapline.bcc.constants import PerfEventSampleFormat, PerfHWConfig, PerfSWConfig, PerfType
from trapline.bcc.utils import get_online_cpus
from trapline.engine.machine import machine
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.bcc.handles import LinkHandle


class _SamplePeriod(ct.Union):
    _fields_ = [("sample_period", ct.c_uint64), ("sample_freq", ct.c_uint64)]


class _Wakeup(ct.Union):
    _fields_ = [("wakeup_events", ct.c_uint32), ("wakeup_watermark", ct.c_uint32)]


class _Config1(ct.Union):
    _fields_ = [
        ("bp_addr", ct.c_uint64),
        ("kprobe_func", ct.c_uint64),
        ("uprobe_path", ct.c_uint64),
        ("config1", ct.c_uint64),
    ]


class _Config2(ct.Union):
    _fields_ = [
        ("bp_len", ct.c_uint64),
        ("kprobe_addr", ct.c_uint64),
        ("probe_offset", ct.c_uint64),
        ("config2", ct.c_uint64),
    ]


# The bits between read_format and wakeup_events, in their order.
_FLAG_TEXT = """
disabled inherit pinned exclusive exclude_user exclude_kernel exclude_hv exclude_idle mmap comm freq inherit_stat
enable_on_exec task watermark precise_ip:2 mmap_data sample_id_all exclude_host exclude_guest exclude_callchain_kernel
exclude_callchain_user mmap2 comm_exec use_clockid context_switch write_backward namespaces ksymbol bpf_event aux_output
cgroup text_poke build_id inherit_thread remove_on_exec sigtrap
"""
_FLAGS = [(name, int(width or 1)) for name, _, width in (word.partition(":") for word in _FLAG_TEXT.split())]


class Perf:
    """Namespace of `perf_event_attr`, as BCC has it."""

    class perf_event_attr(ct.Structure):
        """``struct perf_event_attr`` up to ``sample_max_stack``; a member that it has not cannot be set."""

        _anonymous_ = ["_sample", "_wakeup", "_config1", "_config2"]
        _fields_ = [
            ("type", ct.c_uint32),
            ("size", ct.c_uint32),
            ("config", ct.c_uint64),
            ("_sample", _SamplePeriod),
            ("sample_type", ct.c_uint64),
            ("read_format", ct.c_uint64),
            *((name, ct.c_uint64, width) for name, width in _FLAGS),
            ("_wakeup", _Wakeup),
            ("bp_type", ct.c_uint32),
            ("_config1", _Config1),
            ("_config2", _Config2),
            ("branch_sample_type", ct.c_uint64),
            ("sample_regs_user", ct.c_uint64),
            ("sample_stack_user", ct.c_uint32),
            ("clockid", ct.c_int32),
            ("sample_regs_intr", ct.c_uint64),
            ("aux_watermark", ct.c_uint32),
            ("sample_max_stack", ct.c_uint16),
            ("__reserved_2", ct.c_uint16),
        ]

        def __setattr__(self, name: str, value: object) -> None:
            if not hasattr(type(self), name):
                raise AttributeError(f"struct perf_event_attr has no member {name}")
            super().__setattr__(name, value)

    PERF_TYPE_HARDWARE = PerfType.HARDWARE
    PERF_TYPE_SOFTWARE = PerfType.SOFTWARE
    PERF_TYPE_TRACEPOINT = PerfType.TRACEPOINT
    PERF_TYPE_HW_CACHE = PerfType.HW_CACHE
    PERF_SAMPLE_RAW = PerfEventSampleFormat.RAW

    @staticmethod
    def perf_event_open(tpoint_id: int, pid: int = -1, ptype: int = PERF_TYPE_TRACEPOINT, freq: int = 0) -> None:
        """Let a perf event count on every CPU until the process ends.

        Args:
            tpoint_id: a tracepoint's number, or the event's of another type.
            pid: only in this process; -1 for all.
            ptype: the event's type.
            freq: samples a second; 0 for each event.

        Raises:
            KernelError: the kernel refused.
        """
        attr = Perf.perf_event_attr(config=tpoint_id, type=ptype, sample_type=Perf.PERF_SAMPLE_RAW)
        attr.freq = int(freq > 0)
        attr.sample_period = freq if freq > 0 else 1
        attr.wakeup_events = 9_999_999
        Perf.perf_custom_event_open(attr, pid)

    @staticmethod
    def perf_custom_event_open(attr: Perf.perf_event_attr, pid: int = -1) -> None:
        """Let the perf event of an attribute structure count on every CPU until the process ends.

        Raises:
            KernelError: the kernel refused.
        """
        data = encode_attr(attr)
        _open_events.extend([machine().open_event(data, pid, cpu) for cpu in get_online_cpus()])


_open_events: list[LinkHandle] = []  # until the process ends


def encode_attr(attr: Perf.perf_event_attr) -> bytes:
    """Return the bytes of an attribute structure for perf_event_open(2), with its size filled in."""
    data = bytearray(bytes(attr))
    data[4:8] = len(data).to_bytes(4, "little")  # its member `size`
    return bytes(data)


__all__ = ["Perf", "PerfEventSampleFormat", "PerfHWConfig", "PerfSWConfig", "PerfType", "encode_attr"]
