"""fentry, fexit, fmod_ret and LSM: programs that a BPF trampoline calls."""

from __future__ import annotations

import errno
import os

from trapline.errors import AttachError, FeatureMissingError
from trapline.ir.spec import AttachPoint, TrampolineAttach
from trapline.kernel.diagnose import explain_privilege
from trapline.kernel.link import Link
from trapline.kernel.program import Program, expected_attach_type
from trapline.kernel.target import LiveTarget
from trapline.syscall import bpf
from trapline.syscall.fd import Fd

_ENOTSUPP = 524


def attach_trampoline(program: Program, point: AttachPoint, target: LiveTarget) -> Link:
    """Attach `program` to the function that it was loaded for.

    Raises:
        FeatureMissingError: this kernel or architecture has no BPF trampolines.
        AttachError: the function cannot be attached.
    """
    spec = point.attach
    assert isinstance(spec, TrampolineAttach)
    result = -errno.EINVAL
    if point.cookie:
        # BPF_LINK_CREATE takes cookies for trampolines since Linux 5.19.
        result = bpf.create_link(program.fileno(), expected_attach_type(program.spec), 0, point.cookie)
    else:
        result = bpf.open_raw_tracepoint(program.fileno())
    if result >= 0:
        return Link(point, program, link_fds=[Fd(result, f"link of {point.label}")])
    if result in (-errno.EPERM, -errno.EACCES):
        raise explain_privilege(point.label, -result)
    if result in (-_ENOTSUPP, -errno.EOPNOTSUPP, -errno.ENOSYS):
        raise FeatureMissingError(
            f"cannot attach to {point.label}: this kernel has no BPF trampolines",
            hint="needs CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; a kprobe on the same function may work",
        )
    hint = None
    if result == -errno.E2BIG:
        hint = "too many programs are attached to this function already"
    elif result == -errno.EBUSY:
        hint = "another tracer holds this function"
    raise AttachError(f"cannot attach to {point.label}: {os.strerror(min(-result, 133))}", errno=-result, hint=hint)
