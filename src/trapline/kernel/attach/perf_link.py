"""What every perf-based mechanism shares: tie a program to an open perf event.

A tracepoint, kprobe or uprobe runs its programs as soon as a perf event of it is open. The event itself stays disabled:
an enabled one also makes the kernel prepare a sample of each hit on the event's CPU. Nobody reads it, and it costs
several times what the program does.
"""

from __future__ import annotations

import errno
import os

from trapline.abi.perf import PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF
from trapline.errors import AttachError
from trapline.kernel.program import Program
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.perf import ioctl_perf


def connect_program(program: Program, event: Fd, label: str, cookie: int = 0, *, enable: bool = False) -> Fd | None:
    """Run `program` when `event` fires.

    A BPF link where the kernel has it (it carries the cookie), else the older ioctl.  `enable` is for events that count
    or sample.

    Returns:
        The link, or ``None`` when the ioctl had to do.

    Raises:
        AttachError: the kernel refused the combination.
    """
    result = bpf.create_perf_link(program.fileno(), event.fileno(), cookie)
    link: Fd | None = None
    if result >= 0:
        link = Fd(result, f"link of {label}")
    elif result == -errno.EINVAL and not cookie:
        result = ioctl_perf(event.fileno(), PERF_EVENT_IOC_SET_BPF, program.fileno())
    if result >= 0 and enable:
        result = ioctl_perf(event.fileno(), PERF_EVENT_IOC_ENABLE)
    if result < 0:
        if link is not None:
            link.close()
        hint = None
        if result == -errno.E2BIG:
            hint = "too many programs are attached there already (64 at most)"
        elif result == -errno.EINVAL and cookie:
            hint = "attach cookies need a kernel with BPF links on perf events (5.15)"
        raise AttachError(f"cannot attach to {label}: {os.strerror(-result)}", errno=-result, hint=hint)
    return link
