"""Perf events by attribute structure (``bcc.perf`` of the scripts)."""

from __future__ import annotations

import ctypes as ct

from trapline.bcc.constants import PerfEventSampleFormat, PerfHWConfig, PerfSWConfig, PerfType


class _SamplePeriod(ct.Union):
    _fields_ = [("sample_period", ct.c_uint64), ("sample_freq", ct.c_uint64)]


class _Wakeup(ct.Union):
    _fields_ = [("wakeup_events", ct.c_uint32), ("wakeup_watermark", ct.c_uint32)]


class _Config1(ct.Union):
    _fields_ = [("bp_addr", ct.c_uint64), ("kprobe_func", ct.c_uint64), ("uprobe_path", ct.c_uint64)]


class _Config2(ct.Union):
    _fields_ = [("bp_len", ct.c_uint64), ("kprobe_addr", ct.c_uint64), ("probe_offset", ct.c_uint64)]


class Perf:
    """Namespace of `perf_event_attr`, as BCC has it."""

    class perf_event_attr(ct.Structure):
        """``struct perf_event_attr`` up to ``sample_max_stack``."""

        _anonymous_ = ["_sample", "_wakeup", "_config1", "_config2"]
        _fields_ = [
            ("type", ct.c_uint32),
            ("size", ct.c_uint32),
            ("config", ct.c_uint64),
            ("_sample", _SamplePeriod),
            ("sample_type", ct.c_uint64),
            ("read_format", ct.c_uint64),
            ("flags", ct.c_uint64),
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

    PERF_TYPE_HARDWARE = PerfType.HARDWARE
    PERF_TYPE_SOFTWARE = PerfType.SOFTWARE


__all__ = ["Perf", "PerfEventSampleFormat", "PerfHWConfig", "PerfSWConfig", "PerfType"]
