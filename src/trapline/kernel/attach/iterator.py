"""BPF iterators: the program runs for each object when the iterator's descriptor is read."""

from __future__ import annotations

import errno
import os

from trapline.abi.bpf import ATTACH_TYPES
from trapline.errors import AttachError
from trapline.ir.spec import AttachPoint, IterAttach
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd


def attach_iterator(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to the iterator that it was loaded for; `Link.iterate` runs it.

    Raises:
        AttachError: the kernel refused.
    """
    assert isinstance(point.attach, IterAttach)
    result = bpf.create_link(program.fileno(), ATTACH_TYPES["TRACE_ITER"])
    if result >= 0:
        return Link(point, program, link_fds=[Fd(result, f"link of {point.label}")])
    if result in (-errno.EPERM, -errno.EACCES):
        raise explain_privilege(point.label, -result)
    raise AttachError(f"cannot attach to {point.label}: {os.strerror(-result)}", errno=-result)
