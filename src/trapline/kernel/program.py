"""BPF programs: patch references, load, describe a rejection, count what ran."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Mapping

from trapline.abi import bpf as abi
from trapline.abi.instructions import BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
from trapline.errors import InternalError, KernelError, PrivilegeError
from trapline.ir.spec import ObjectProgram
from trapline.records import record
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.privilege import missing_capabilities, read_sysctl

_Attempt = Callable[["ctypes.Array[ctypes.c_char] | None", int], int]
_WORD = struct.Struct("<BBhi")
_FIRST_LOG = 1 << 16
_LARGEST_LOG = 1 << 24
_PROG_INFO_SIZE = 232
_RECURSION_MISSES = 208
_RUN_TIME = 192


@record(frozen=True)
class LoadOptions:
    """What loading needs besides the bytecode.

    Args:
        license: of the whole object.
        map_fds: descriptor by map name.
        kfuncs: (BTF id, index in `fd_array`) by kernel function name.
        fd_array: descriptors of module BTFs (element 0 is unused).
        attach_btf_id, attach_btf_fd: the target of a TRACING program.
        btf: the program's own BTF and its func_info, when it has subprograms.
        flags: ``BPF_F_…``.
        log_level: keep the verifier's log of a successful load too (`Program.log`); 0 for none.
    """

    license: str = "GPL"
    map_fds: Mapping[str, int] | None = None
    kfuncs: Mapping[str, tuple[int, int]] | None = None
    fd_array: tuple[int, ...] = ()
    attach_btf_id: int = 0
    attach_btf_fd: int = 0
    btf: bytes = b""
    func_info: bytes = b""
    flags: int = 0
    log_level: int = 0


@record(frozen=True)
class ProgramStatistics:
    """What the kernel counted for a program.

    Args:
        run_count, run_time_ns: only while `trapline.syscall.bpf.enable_stats` is in force.
        recursion_misses: hits that the kernel dropped because the program (or any BPF program, for kprobes since Linux
            6.7) already ran on that CPU; ``None`` when the kernel does not count it.
    """

    run_count: int
    run_time_ns: int
    recursion_misses: int | None


class Program:
    """A loaded BPF program; closes its descriptor with `close`.

    Args:
        spec: what it was made from.
        fd: its descriptor, owned from here on.
        log: the verifier's log, when it was asked for.
    """

    def __init__(self, spec: ObjectProgram, fd: Fd, log: str = "") -> None:
        self.spec = spec
        self.name = spec.name
        self.fd = fd
        self.log = log

    @classmethod
    def load(cls, spec: ObjectProgram, options: LoadOptions | None = None) -> Program:
        """Load the program.

        Raises:
            VerifierError: the kernel's verifier rejected it; summary first, the log kept.
            PrivilegeError: the process lacks a capability.
            KernelError: anything else.
        """
        options = options or LoadOptions()
        code = patch_references(spec, options)
        btf_fd: Fd | None = None
        try:
            if options.btf:
                btf_fd = _load_btf(options.btf, spec.name)
            return cls._load(spec, options, code, btf_fd.fileno() if btf_fd else 0)
        finally:
            if btf_fd is not None:
                btf_fd.close()

    @classmethod
    def _load(cls, spec: ObjectProgram, options: LoadOptions, code: bytes, btf_fd: int) -> Program:
        def attempt(log: ctypes.Array[ctypes.c_char] | None, level: int) -> int:
            return bpf.load_program(
                abi.PROGRAM_TYPES[spec.type],
                code,
                license=options.license,
                name=spec.name,
                expected_attach=expected_attach_type(spec),
                flags=options.flags,
                attach_btf_id=options.attach_btf_id,
                attach_btf_fd=options.attach_btf_fd,
                btf_fd=btf_fd,
                func_info=options.func_info,
                fd_array=struct.pack(f"<{len(options.fd_array)}i", *options.fd_array),
                log=log,
                log_level=level,
            )

        text = ""
        if options.log_level:
            result, text = _attempt_with_log(attempt, options.log_level)
        else:
            result = attempt(None, 0)
        if result >= 0:
            return cls(spec, Fd(result, f"program {spec.name}"), text)
        if result == -errno.EPERM and (problem := _explain_privilege(spec)) is not None:
            raise problem
        if not text:
            again, text = _attempt_with_log(attempt, 1)
            if again >= 0:  # it was a passing trouble (memory)
                return cls(spec, Fd(again, f"program {spec.name}"), text)
        from trapline.kernel.verifier import explain_rejection  # a dozen regular expressions, only needed here

        raise explain_rejection(spec, text, -result)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.fd.fileno()

    def run(self, context: bytes = b"", data: bytes = b"", repeat: int = 0) -> int:
        """Run it once without an event (BPF_PROG_TEST_RUN); return what it returned.

        Raises:
            KernelError: the kernel cannot run programs of this type so.
        """
        return bpf.run_program(self.fileno(), context, data, repeat)[0]

    @property
    def id(self) -> int:
        """The kernel's number for it, as bpftool shows it."""
        number: int = struct.unpack_from("<I", bpf.object_info(self.fileno(), 8), 4)[0]
        return number

    def statistics(self) -> ProgramStatistics:
        """Return what the kernel counted."""
        info = bpf.object_info(self.fileno(), _PROG_INFO_SIZE)
        run_time, run_count = struct.unpack_from("<QQ", info, _RUN_TIME)
        misses = None
        if len(info) >= _RECURSION_MISSES + 8:
            misses = struct.unpack_from("<Q", info, _RECURSION_MISSES)[0]
        return ProgramStatistics(run_count, run_time, misses)

    def close(self) -> None:
        """Close its descriptor; closing twice is allowed.  A link that uses it keeps it."""
        self.fd.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Program {self.name} {self.spec.type}{' closed' if self.fd.closed else ''}>"


def expected_attach_type(spec: ObjectProgram) -> int:
    """Return the number of the attach type that a program names (0 when it names none)."""
    if not spec.expected_attach:
        return 0
    number = abi.ATTACH_TYPES.get(spec.expected_attach.removeprefix("BPF_"))
    if number is None:
        raise InternalError(f"program {spec.name} names the unknown attach type {spec.expected_attach}")
    return number


def patch_references(spec: ObjectProgram, options: LoadOptions) -> bytes:
    """Return the bytecode with descriptors of maps and BTF ids of kernel functions filled in."""
    code = bytearray(spec.instructions)
    fds = options.map_fds or {}
    for reference in spec.map_refs:
        if reference.map not in fds:
            raise InternalError(f"program {spec.name} refers to the unknown map {reference.map}")
        opcode, registers, off, _ = _WORD.unpack_from(code, reference.index * 8)
        source = BPF_PSEUDO_MAP_VALUE if reference.value else BPF_PSEUDO_MAP_FD
        _WORD.pack_into(code, reference.index * 8, opcode, registers & 15 | source << 4, off, fds[reference.map])
    functions = options.kfuncs or {}
    for call in spec.kfunc_refs:
        btf_id, index = functions.get(call.name, (0, 0))
        opcode, registers, _, _ = _WORD.unpack_from(code, call.index * 8)
        _WORD.pack_into(code, call.index * 8, opcode, registers & 15 | BPF_PSEUDO_KFUNC_CALL << 4, index, btf_id)
    return bytes(code)


def _attempt_with_log(attempt: _Attempt, level: int) -> tuple[int, str]:
    """Load with a small log buffer, and then with the largest: each attempt verifies again, which can take seconds."""
    result, text = 0, ""
    for size in (_FIRST_LOG, _LARGEST_LOG):
        buffer = ctypes.create_string_buffer(size)
        result = attempt(buffer, level)
        text = buffer.value.decode(errors="replace")
        if result != -errno.ENOSPC:
            break
    return result, text


def _load_btf(data: bytes, program: str) -> Fd:
    result = bpf.load_btf(data)
    if result < 0:
        log = ctypes.create_string_buffer(_FIRST_LOG)
        bpf.load_btf(data, log)
        text = log.value.decode(errors="replace").strip()
        reason = text.splitlines()[-1] if text else os.strerror(-result)
        raise KernelError(f"the kernel rejected the types of program {program}: {reason}", errno=-result)
    return Fd(result, f"BTF of {program}")


def _explain_privilege(spec: ObjectProgram) -> PrivilegeError | None:
    missing = missing_capabilities("CAP_BPF", "CAP_PERFMON")
    if not missing:
        return None
    names = " and ".join(missing)
    hint = "run as root, or with CAP_BPF and CAP_PERFMON"
    if read_sysctl("kernel.unprivileged_bpf_disabled"):
        hint += " (kernel.unprivileged_bpf_disabled is set)"
    return PrivilegeError(f"loading BPF programs needs {names} ({spec.label or spec.name})", hint=hint)
