"""perf_event_open(2), its ioctls, and the dynamic PMUs of sysfs."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from trapline.abi import perf as abi
from trapline.abi.perf import PerfEventAttr
from trapline.errors import KernelError
from trapline.syscall.fd import Fd
from trapline.syscall.libc import syscall


def open_perf_event(
    attr: PerfEventAttr | bytes, *, pid: int = -1, cpu: int = -1, group_fd: int = -1, what: str = "perf event"
) -> Fd:
    """perf_event_open(2), close-on-exec.

    Args:
        attr: the event, or the bytes of its ``struct perf_event_attr``.
        pid: a process, or -1 for all (then `cpu` must be given).
        cpu: a CPU, or -1 for any (then `pid` must be given).
        group_fd: the event that leads its group, -1 for none.
        what: for messages.

    Raises:
        KernelError: the kernel refused; ``errno`` tells why.
    """
    data = attr if isinstance(attr, bytes) else attr.encode()
    buffer = ctypes.create_string_buffer(data, max(len(data), abi.ATTR_SIZE))
    result = syscall("perf_event_open", ctypes.addressof(buffer), pid, cpu, group_fd, abi.PERF_FLAG_FD_CLOEXEC)
    if result < 0:
        raise KernelError(f"cannot open {what}: {os.strerror(-result)}", errno=-result)
    return Fd(result, what)


def open_probe_event(
    pmu_type: int,
    *,
    name: str = "",
    offset: int = 0,
    config: int = 0,
    pid: int = -1,
    cpu: int = 0,
    what: str = "probe",
) -> Fd:
    """Open an event of the kprobe or uprobe PMU, disabled: programs run, nothing is sampled.

    Args:
        pmu_type: what `pmu_type` said.
        name: function (kprobe) or path (uprobe); empty for a kprobe at an absolute address.
        offset: from the function or in the file; the address itself when `name` is empty.
        config: the PMU's bits (return probe, reference counter).
        pid: a process, or -1.
        cpu: the CPU that the event is opened on (the probe fires on all of them); -1 with `pid`.
        what: for messages.
    """
    text = ctypes.create_string_buffer(os.fsencode(name)) if name else None
    attr = PerfEventAttr(
        type=pmu_type,
        config=config,
        config1=ctypes.addressof(text) if text is not None else 0,
        config2=offset,
        sample_period=1,
        wakeup_events=1,
        flags=abi.PERF_ATTR_DISABLED,
    )
    return open_perf_event(attr, pid=pid, cpu=cpu, what=what)


def ioctl_perf(fd: int, request: int, argument: int = 0) -> int:
    """Make a perf ioctl; return 0, or ``-errno``."""
    try:
        fcntl.ioctl(fd, request, argument)
    except OSError as error:
        return -(error.errno or errno.EINVAL)
    return 0


def read_event_id(fd: int) -> int:
    """Return the kernel's id of an open perf event."""
    buffer = bytearray(8)
    fcntl.ioctl(fd, abi.PERF_EVENT_IOC_ID, buffer)
    number: int = struct.unpack("=Q", buffer)[0]
    return number
