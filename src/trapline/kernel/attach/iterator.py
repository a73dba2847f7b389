"""BPF iterators: the program runs for each object when the iterator's descriptor is read."""

from __future__ import annotations

import errno
import os
import struct

from trapline.abi.bpf import ATTACH_TYPES
from trapline.errors import AttachError
from trapline.ir.spec import AttachPoint, IterAttach
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

_DESCENDANTS_PRE = 2  # BPF_CGROUP_ITER_DESCENDANTS_PRE
_OF_ONE_MAP = ("bpf_map_elem", "bpf_sk_storage_map", "sockmap")


def attach_iterator(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to the iterator that it was loaded for; `Link.iterate` runs it.

    Raises:
        AttachError: the kernel refused.
    """
    spec = point.attach
    assert isinstance(spec, IterAttach)
    # union bpf_iter_link_info: {u32 tid; u32 pid; u32 pid_fd} for tasks, since Linux 6.1.
    info = struct.pack("<II8x", 0, spec.pid) if spec.pid else b""
    if spec.target == "cgroup":
        info = struct.pack("<IIQ", _DESCENDANTS_PRE, 0, 0)  # from the root, parents first
    result = bpf.create_link(program.fileno(), ATTACH_TYPES["TRACE_ITER"], info=info)
    if result >= 0:
        link = Fd(result, f"link of {point.label}")
        if spec.pin:
            _pin(link, spec.pin)
        return Link(point, program, link_fds=[link])
    if result in (-errno.EPERM, -errno.EACCES):
        raise explain_privilege(point.label, -result)
    hint = "this iterator walks one map, which a program cannot name" if spec.target in _OF_ONE_MAP else None
    raise AttachError(f"cannot attach to {point.label}: {os.strerror(-result)}", errno=-result, hint=hint)


def read_to_end(fd: int) -> bool:
    """Run an iterator's program for the objects that are left; ``False`` when it asked to be called again."""
    try:
        while os.read(fd, 1 << 16):
            pass
    except BlockingIOError:
        return False
    return True


def _pin(link: Fd, path: str) -> None:
    result = bpf.pin_object(link.fileno(), path)
    if result >= 0:
        return
    link.close()
    hint = None
    if result == -errno.EEXIST:
        hint = "there is such a file already: remove it, or choose another name"
    elif result in (-errno.EPERM, -errno.ENOENT, -errno.EINVAL):
        hint = "the path must lie in a mounted BPF file system (mount -t bpf bpf /sys/fs/bpf)"
    raise AttachError(f"cannot pin the iterator to {path}: {os.strerror(-result)}", errno=-result, hint=hint)
