"""Registers per architecture: where ``struct pt_regs`` keeps them, and which carry arguments and results."""

from __future__ import annotations

from trapline.errors import FeatureMissingError
from trapline.records import record


@record(frozen=True)
class Arch:
    """What differs between architectures, as data.

    Args:
        name: as ``uname -m`` says.
        registers: byte offset in ``struct pt_regs`` by name, aliases included; every one is 8 bytes wide.
        arguments: the registers of the first integer arguments of a function, in order.
        syscall_arguments: the same for a system call (in the ``pt_regs`` of user mode).
        stack_argument: byte offset from the stack pointer at function entry to the first argument passed in memory.
        ip, sp, fp, ret: the names of instruction pointer, stack pointer, frame pointer and result register.
        syscall_prefix: what the kernel puts before ``sys_name`` in a system call's function name.
        pt_regs_size: bytes.
        elf_machine: ``e_machine`` of its ELF files.
        syscalls: numbers of the system calls that trapline makes by number.
    """

    name: str
    registers: dict[str, int]
    arguments: tuple[str, ...]
    syscall_arguments: tuple[str, ...]
    stack_argument: int
    ip: str
    sp: str
    fp: str
    ret: str
    syscall_prefix: str
    pt_regs_size: int
    elf_machine: int
    syscalls: dict[str, int]

    def register_offset(self, name: str) -> int | None:
        """Return the byte offset in ``struct pt_regs`` of register `name`; ``None`` when there is no such register."""
        return self.registers.get(name)


_X86_64_TEXT = (
    "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss"  # struct pt_regs, arch/x86
)
_X86_64_ORDER = _X86_64_TEXT.split()
_X86_64_OFFSETS = {name: index * 8 for index, name in enumerate(_X86_64_ORDER)}
_X86_64_ALIASES = {f"r{name}": _X86_64_OFFSETS[name] for name in ("bp", "bx", "ax", "cx", "dx", "si", "di", "ip", "sp")}

X86_64 = Arch(
    name="x86_64",
    registers={**_X86_64_OFFSETS, **_X86_64_ALIASES, "eflags": _X86_64_OFFSETS["flags"]},
    arguments=("di", "si", "dx", "cx", "r8", "r9"),
    syscall_arguments=("di", "si", "dx", "r10", "r8", "r9"),
    stack_argument=8,  # the return address comes first
    ip="ip",
    sp="sp",
    fp="bp",
    ret="ax",
    syscall_prefix="__x64_",
    pt_regs_size=21 * 8,
    elf_machine=62,
    syscalls={"bpf": 321, "perf_event_open": 298, "pidfd_open": 434},
)

_AARCH64_X = {f"x{i}": i * 8 for i in range(31)}  # struct user_pt_regs: regs[31], sp, pc, pstate
AARCH64 = Arch(
    name="aarch64",
    registers={
        **_AARCH64_X,
        **{f"r{i}": i * 8 for i in range(31)},
        "fp": 29 * 8,
        "lr": 30 * 8,
        "sp": 31 * 8,
        "pc": 32 * 8,
        "pstate": 33 * 8,
        "orig_x0": 34 * 8,
    },
    arguments=tuple(f"x{i}" for i in range(8)),
    syscall_arguments=("orig_x0", "x1", "x2", "x3", "x4", "x5"),
    stack_argument=0,
    ip="pc",
    sp="sp",
    fp="fp",
    ret="x0",
    syscall_prefix="__arm64_",
    pt_regs_size=336,
    elf_machine=183,
    syscalls={"bpf": 280, "perf_event_open": 241, "pidfd_open": 434},
)

ARCHITECTURES: dict[str, Arch] = {a.name: a for a in (X86_64, AARCH64)}


def resolve_arch(machine: str) -> Arch:
    """Return the architecture that ``uname -m`` calls `machine`.

    Raises:
        FeatureMissingError: trapline does not know it.
    """
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise FeatureMissingError(f"architecture {machine} is not supported", hint=f"supported: {known}")
    return architecture
