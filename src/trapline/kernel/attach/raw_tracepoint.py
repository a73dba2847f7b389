"""Raw tracepoints: by name, or BTF-typed."""

from __future__ import annotations

import errno
import os

from trapline.errors import AttachError, NoSuchProbeError
from trapline.ir.spec import AttachPoint, RawTracepointAttach
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd


def attach_raw_tracepoint(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to a `RawTracepointAttach` (a BTF-typed program knows its tracepoint since it was loaded).

    Raises:
        NoSuchProbeError: there is no such tracepoint.
        AttachError: the kernel refused.
    """
    spec = point.attach
    assert isinstance(spec, RawTracepointAttach)
    result = bpf.open_raw_tracepoint(program.fileno(), "" if spec.btf else spec.name)
    if result >= 0:
        return Link(point, program, link_fds=[Fd(result, f"link of {point.label}")])
    if result == -errno.ENOENT:
        near = sorted({n.partition(":")[2] for n in target.near_probes("tracepoint", spec.name)})
        raise NoSuchProbeError(f"raw tracepoint {spec.name} does not exist", near=near)
    if result in (-errno.EPERM, -errno.EACCES):
        raise explain_privilege(point.label, -result)
    raise AttachError(f"cannot attach to {point.label}: {os.strerror(-result)}", errno=-result)
