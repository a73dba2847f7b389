"""`Target`: the machine that a program is compiled for, as far as a compiler may know it.

Front ends, passes and code generator see only this interface: they make no system calls.  `trapline.kernel.target`
implements it for the running kernel; tests use `FixtureTarget`-like stand-ins with the same methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trapline.hints import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trapline.abi.arch import Arch
    from trapline.abi.tracepoint import TracepointFormat
    from trapline.btf import Btf
    from trapline.debuginfo.binary import Binary


class UserFiles(Protocol):
    """The files of user programs on a machine; `trapline.kernel.user_files` has those of this one."""

    def find(self, name: str, pid: int = 0) -> Sequence[str]:
        """Return the paths of the files that `name` means: a path, a program, a library, a glob, ``*``."""

    def open(self, path: str) -> Binary | None:
        """Return the ELF file at a path, or ``None`` when it is none."""

    def demangle(self, name: str) -> str:
        """Return the readable form of a C++ symbol; any other name as it is."""

    def inode(self, path: str) -> int:
        """Return the inode number of the file at a path; 0 when there is none."""

    def fingerprint(self, name: str, pid: int = 0) -> str:
        """Return text that changes when `name` means other files, or when they change."""


class Target(Protocol):
    """A machine to compile for.

    Feature names are those of `trapline.kernel.features` (``kprobe_multi``, ``kprobe_session``, ``get_func_ip`` …).
    """

    @property
    def arch(self) -> Arch:
        """Registers and calling conventions."""

    @property
    def release(self) -> str:
        """The kernel's release, as ``uname -r`` prints it."""

    @property
    def version_code(self) -> int:
        """``LINUX_VERSION_CODE``: major << 16 | minor << 8 | min(patch, 255)."""

    @property
    def identity(self) -> str:
        """A digest of all that a compiled program may depend on: kernel build, boot, modules, privileges."""

    @property
    def btf(self) -> Btf:
        """The kernel's types.  Raises `FeatureMissingError` when the kernel has no BTF."""

    @property
    def has_btf(self) -> bool:
        """Whether `btf` can be used."""

    @property
    def user_files(self) -> UserFiles:
        """The files of user programs."""

    def struct_members(self, tag: str, members: tuple[str, ...]) -> Mapping[str, int]:
        """Return the byte offsets of direct members of a kernel struct, cheaper than by `btf`; empty if one lacks."""

    def module_btf(self, module: str) -> Btf | None:
        """Return a module's split BTF, or ``None``."""

    def btf_modules(self) -> Sequence[str]:
        """Return the names of the loaded modules that have BTF, sorted."""

    def has(self, feature: str) -> bool:
        """Return whether the kernel certainly has a feature."""

    @property
    def possible_cpus(self) -> int:
        """Number of possible CPUs."""

    @property
    def page_size(self) -> int:
        """Bytes of a page."""

    @property
    def pid_namespace(self) -> tuple[int, int] | None:
        """(device, inode) of the tracer's pid namespace when it is not the initial one, else ``None``."""

    def symbol_address(self, name: str) -> int | None:
        """Return the address of a kernel symbol, or ``None``."""

    def functions(self, pattern: str, module: str = "") -> Sequence[str]:
        """Return the traceable functions whose names match a glob, sorted, without duplicates.

        `module` narrows to a module (``vmlinux`` for the kernel proper; a glob too); empty means everywhere.
        """

    def function_modules(self, pattern: str, module: str) -> Sequence[tuple[str, str]]:
        """Return (module, function) for all traceable functions that match two globs."""

    def tracepoints(self, category: str, name: str) -> Sequence[tuple[str, str]]:
        """Return the (category, name) that match two globs, sorted."""

    def raw_tracepoints(self, module: str, name: str) -> Sequence[tuple[str, str]]:
        """Return the (module, name) of raw tracepoints that match two globs; an empty module is the first that has it.

        The kernel proper is ``vmlinux``.
        """

    def bpf_functions(self, program: str, name: str) -> Sequence[tuple[int, str]]:
        """Return the (program id, function) of loaded BPF programs that match: `program` is an id or ``*``."""

    def tracepoint_format(self, category: str, name: str) -> TracepointFormat:
        """Return a tracepoint's fields.  Raises `NoSuchProbeError`."""

    def near_probes(self, kind: str, name: str) -> Sequence[str]:
        """Return existing names similar to `name`, best first.

        `kind` is ``kprobe`` (functions) or ``tracepoint`` (``category:name``).
        """

    def kernel_config(self, option: str) -> str | None:
        """Return the value of ``CONFIG_…`` (``y``, ``m``, a number); ``""`` when it is unset, ``None`` when unknown."""

    def cgroup_id(self, path: str) -> int:
        """Return the id of the cgroup (v2) at a path.  Raises `TargetError`."""

    @property
    def volatile_answers(self) -> int:
        """How often it was asked for something that `identity` does not cover: a program that asks is not cached."""

    def syscall_prefix(self) -> str:
        """Return what precedes a system call's name in kallsyms (``__x64_sys_``)."""


def can_forbid_preemption(target: Target, license: str) -> bool:
    """Return whether kprobe programs under a license may forbid the kernel to run another thread on their CPU."""
    return "GPL" in license and target.has("kfunc:KPROBE:bpf_preempt_disable")
