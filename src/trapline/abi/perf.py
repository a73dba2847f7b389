"""perf_event_open(2) as data: numbers, the layout of ``struct perf_event_attr``, record headers."""

from __future__ import annotations

import struct

from trapline.records import record

# enum perf_type_id
PERF_TYPE_HARDWARE = 0
PERF_TYPE_SOFTWARE = 1
PERF_TYPE_TRACEPOINT = 2
PERF_TYPE_HW_CACHE = 3
PERF_TYPE_RAW = 4
PERF_TYPE_BREAKPOINT = 5

# enum perf_hw_id, by the name that listings use.
HARDWARE_EVENTS: dict[str, int] = {
    "cpu-cycles": 0,
    "instructions": 1,
    "cache-references": 2,
    "cache-misses": 3,
    "branch-instructions": 4,
    "branch-misses": 5,
    "bus-cycles": 6,
    "frontend-stalls": 7,
    "backend-stalls": 8,
    "ref-cycles": 9,
}
HARDWARE_ALIASES: dict[str, str] = {"cycles": "cpu-cycles", "branches": "branch-instructions"}

# enum perf_sw_ids, by the name that listings use.
SOFTWARE_EVENTS: dict[str, int] = {
    "cpu-clock": 0,
    "task-clock": 1,
    "page-faults": 2,
    "context-switches": 3,
    "cpu-migrations": 4,
    "minor-faults": 5,
    "major-faults": 6,
    "alignment-faults": 7,
    "emulation-faults": 8,
    "dummy": 9,
    "bpf-output": 10,
}
SOFTWARE_ALIASES: dict[str, str] = {"cpu": "cpu-clock", "cs": "context-switches", "faults": "page-faults"}

PERF_COUNT_SW_CPU_CLOCK = 0
PERF_COUNT_SW_DUMMY = 9
PERF_COUNT_SW_BPF_OUTPUT = 10

# enum perf_event_sample_format
PERF_SAMPLE_IP = 1 << 0
PERF_SAMPLE_TID = 1 << 1
PERF_SAMPLE_TIME = 1 << 2
PERF_SAMPLE_RAW = 1 << 10

# Bits of the flag word.
PERF_ATTR_DISABLED = 1 << 0
PERF_ATTR_INHERIT = 1 << 1
PERF_ATTR_EXCLUDE_USER = 1 << 4
PERF_ATTR_EXCLUDE_KERNEL = 1 << 5
PERF_ATTR_MMAP = 1 << 8
PERF_ATTR_COMM = 1 << 9
PERF_ATTR_FREQ = 1 << 10
PERF_ATTR_ENABLE_ON_EXEC = 1 << 12
PERF_ATTR_TASK = 1 << 13
PERF_ATTR_WATERMARK = 1 << 14
PERF_ATTR_SAMPLE_ID_ALL = 1 << 18
PERF_ATTR_MMAP2 = 1 << 23
PERF_ATTR_COMM_EXEC = 1 << 24
PERF_ATTR_WRITE_BACKWARD = 1 << 27

PERF_FLAG_FD_CLOEXEC = 1 << 3

# ioctl requests.
PERF_EVENT_IOC_ENABLE = 0x2400
PERF_EVENT_IOC_DISABLE = 0x2401
PERF_EVENT_IOC_REFRESH = 0x2402
PERF_EVENT_IOC_SET_FILTER = 0x40082406
PERF_EVENT_IOC_ID = 0x80082407
PERF_EVENT_IOC_SET_BPF = 0x40042408

# enum perf_event_type
PERF_RECORD_LOST = 2
PERF_RECORD_COMM = 3
PERF_RECORD_THROTTLE = 5
PERF_RECORD_FORK = 7
PERF_RECORD_SAMPLE = 9
PERF_RECORD_MMAP2 = 10
PERF_RECORD_LOST_SAMPLES = 13

PERF_RECORD_MISC_COMM_EXEC = 1 << 13

# struct perf_event_mmap_page: byte offsets of the ring's positions.
MMAP_PAGE_DATA_HEAD = 1024
MMAP_PAGE_DATA_TAIL = 1032

# struct perf_event_header {u32 type; u16 misc; u16 size}
RECORD_HEADER = struct.Struct("=IHH")

# Breakpoint types (struct perf_event_attr.bp_type).
HW_BREAKPOINT_R = 1
HW_BREAKPOINT_W = 2
HW_BREAKPOINT_X = 4

ATTR_SIZE = 120  # PERF_ATTR_SIZE_VER6: the layout up to and including aux_sample_size
_ATTR = struct.Struct("=IIQQQQQIIQQQQIiQIHHIIQ")


@record(frozen=True)
class PerfEventAttr:
    """``struct perf_event_attr``; `config1` and `config2` may hold addresses (probe name, offset).

    `sample_period` is a frequency in hertz when `flags` has ``PERF_ATTR_FREQ``; the same for `wakeup_events` and bytes
    with ``PERF_ATTR_WATERMARK``.
    """

    type: int
    config: int = 0
    sample_period: int = 0
    sample_type: int = 0
    read_format: int = 0
    flags: int = 0
    wakeup_events: int = 0
    bp_type: int = 0
    config1: int = 0
    config2: int = 0
    clockid: int = 0

    def encode(self) -> bytes:
        """Return the ``ATTR_SIZE`` bytes that perf_event_open(2) takes."""
        return _ATTR.pack(
            self.type,
            ATTR_SIZE,
            self.config,
            self.sample_period,
            self.sample_type,
            self.read_format,
            self.flags,
            self.wakeup_events,
            self.bp_type,
            self.config1,
            self.config2,
            0,  # branch_sample_type
            0,  # sample_regs_user
            0,  # sample_stack_user
            self.clockid,
            0,  # sample_regs_intr
            0,  # aux_watermark
            0,  # sample_max_stack
            0,
            0,  # aux_sample_size
            0,
            0,  # sig_data
        )[:ATTR_SIZE]
