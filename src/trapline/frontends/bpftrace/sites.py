"""Where a block of the program runs: one `ProbeSite` for each BPF program, with the arguments known there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.records import field, record

if TYPE_CHECKING:
    from trapline.debuginfo.usdt import Operand


class Place(Enum):
    """How an argument is reached from a program's context."""

    REGISTER = "register"  # u64 at `offset` of struct pt_regs
    STACK = "stack"  # u64 at `offset` from the stack pointer
    USER_STACK = "user_stack"  # the same on the stack of a process
    CONTEXT = "context"  # at `offset` of the context, at its own width
    TRAMPOLINE = "trampoline"  # u64 at `offset` of the context
    DATA_LOC = "data_loc"  # u32 at `offset` of the context: offset | length << 16
    REL_LOC = "rel_loc"  # the same, relative to its own end


@record(frozen=True)
class Argument:
    """A named argument of a probe.

    Args:
        name: as the kernel's source calls it.
        type: its type.
        place: how it is read.
        offset: in bytes, see `Place`.
        shift: the register that carries it, counted from 0 (for the stash of a kretprobe).
    """

    name: str
    type: t.Type
    place: Place
    offset: int
    shift: int = 0


@record(frozen=True)
class Arguments:
    """The named arguments of a site, in order; `missing` explains to the user why there are none, or not this one."""

    items: Mapping[str, Argument] = field(default_factory=dict)
    missing: str = ""
    unusable: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""


@record(frozen=True, eq=False)
class ProbeSite:
    """A block bound to one attach point of its list (or to one match of it).

    Args:
        probe: the block.
        point: the attach point as written.
        provider: canonical.
        program_type: the kernel's name of the BPF program type.
        attach_points: where the program runs.
        label: the probe's name.
        names: the name for each cookie; one when the program has one place.
        expected_attach: the kernel's name of the attach type, or empty.
        find_arguments: computes the named arguments when they are asked for.
        retval: the type of ``retval``, or ``None``.
        operands: the arguments of a USDT probe, for each of the forms that its places have; the cookie is the form's
            index where there are several.
        files: the files that the site was found in, and how.
        first_cookie: cookie of ``names[0]`` where the program has many places.
    """

    probe: ast.Probe
    point: ast.AttachPoint
    provider: str
    program_type: str
    attach_points: tuple[spec.AttachPoint, ...]
    label: str
    names: tuple[str, ...]
    find_arguments: Callable[[], Arguments]
    expected_attach: str = ""
    retval: t.Type | None = None
    first_cookie: int = 0
    operands: tuple[tuple[Operand, ...], ...] = ()
    files: tuple[spec.FilesUsed, ...] = ()

    @property
    def has_registers(self) -> bool:
        """Whether the context is a ``struct pt_regs``."""
        return self.program_type == "KPROBE"

    @property
    def at_return(self) -> bool:
        """Whether the probed function has returned."""
        return self.provider in ("kretprobe", "uretprobe", "fexit")

    @property
    def user(self) -> bool:
        """Whether the probed code runs in user space."""
        return self.provider in ("uprobe", "uretprobe", "usdt")

    @property
    def interrupted(self) -> bool:
        """Whether another program of ours may run on the same CPU in the middle of this one.

        The kernel lets only one program of a kprobe, tracepoint or perf event run on a CPU at a time, and counts the
        others as missed.  Those of uprobes can be preempted, and trampolines only keep a program out of itself.
        """
        if self.provider in ("begin", "end", "test", "bench"):
            return False
        return self.user or self.program_type not in ("KPROBE", "TRACEPOINT", "PERF_EVENT")

    @property
    def many(self) -> bool:
        """Whether the program runs at many places, told apart by their cookies."""
        return len(self.names) > 1
