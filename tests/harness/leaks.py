"""Notice what a test leaves behind: file descriptors here, BPF objects and tracefs events in the kernel."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
# enum bpf_cmd: BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID.
_NEXT_ID = {"program": 11, "map": 12, "link": 31}
_KERNEL_FREES_S = 5.0


@dataclass(frozen=True)
class Snapshot:
    """What exists at one moment: ``fds`` maps a descriptor to what it refers to, ``objects`` holds kernel objects."""

    fds: dict[int, str]
    objects: frozenset[str]


def take_snapshot(*, whole_kernel: bool) -> Snapshot:
    """Look at this process's descriptors and, with ``whole_kernel``, at every BPF object and kprobe event."""
    return Snapshot(_list_fds(), _list_objects() if whole_kernel else frozenset())


def find_leaks(before: Snapshot, *, whole_kernel: bool, patience_s: float = _KERNEL_FREES_S) -> list[str]:
    """Return what exists now and did not before, giving the kernel time to free what it frees later."""
    deadline = time.monotonic() + patience_s
    collected = False
    while True:
        now = take_snapshot(whole_kernel=whole_kernel)
        fds = [f"descriptor {fd} → {target}" for fd, target in now.fds.items() if fd not in before.fds]
        leaks = [*fds, *sorted(now.objects - before.objects)]
        if not leaks or time.monotonic() > deadline:
            return leaks
        if fds and collected:
            return leaks
        if not collected:
            gc.collect()
            collected = True
        else:
            time.sleep(0.05)


def _list_fds() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # The descriptor of the listing itself.
    return found


def _list_objects() -> frozenset[str]:
    found = {f"{kind} {number}" for kind, command in _NEXT_ID.items() for number in _list_ids(command)}
    for path in ("/sys/kernel/tracing/kprobe_events", "/sys/kernel/tracing/uprobe_events"):
        if Path(path).exists():
            found |= {f"tracefs event {line}" for line in Path(path).read_text().splitlines()}
    return frozenset(found)


def _list_ids(command: int) -> list[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    ids, last = [], 0
    while True:
        # union bpf_attr: start_id, next_id, open_flags (all __u32).
        attr = (ctypes.c_uint32 * 3)(last, 0, 0)
        number = ctypes.c_long(_SYS_BPF[os.uname().machine])
        if libc.syscall(number, ctypes.c_int(command), ctypes.byref(attr), ctypes.c_uint(ctypes.sizeof(attr))):
            return ids
        last = attr[1]
        ids.append(last)
