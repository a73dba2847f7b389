"""Types of the bpftrace language: what an expression is, what a map holds, and which two types go together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from trapline.hints import Protocol
from trapline.ir.types import Space
from trapline.records import field, record


@record(frozen=True)
class IntT:
    """An integer of `size` bytes; `flexible` for a literal that fits either sign of its size."""

    size: int
    signed: bool = True
    flexible: bool = False

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.size * 8}"


@record(frozen=True)
class BoolT:
    """One byte, 0 or 1."""

    size: int = 1

    def __str__(self) -> str:
        return "bool"


@record(frozen=True)
class EnumT:
    """An enum of the kernel."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[int, str], ...] = field(repr=False)

    def __str__(self) -> str:
        return f"enum {self.name or '(unnamed)'}"


@record(frozen=True)
class StringT:
    """A NUL-terminated string in `size` bytes, the NUL included."""

    size: int

    def __str__(self) -> str:
        return f"string[{self.size}]" if self.size else "string"


@record(frozen=True)
class BufferT:
    """At most `capacity` bytes behind a u32 length."""

    capacity: int

    @property
    def size(self) -> int:
        """Size in bytes, the length included."""
        return 4 + self.capacity

    def __str__(self) -> str:
        return f"buffer[{self.capacity}]"


@record(frozen=True)
class VoidT:
    """No value, or what an untyped pointer points to."""

    size: int = 0

    def __str__(self) -> str:
        return "void"


@record(frozen=True)
class PtrT:
    """A pointer; `space` says how memory behind it is read."""

    target: Type
    space: Space = Space.KERNEL
    size: int = 8

    def __str__(self) -> str:
        return f"{self.target} *"


@record(frozen=True)
class ArrayT:
    """`count` elements, one after the other."""

    element: Type
    count: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.element.size * self.count

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"


@record(frozen=True)
class FieldInfo:
    """A member: its type and its place from the start of the record; `bits` wide at `bit_offset` when a bit-field."""

    name: str
    type: Type
    offset: int
    bit_offset: int = 0
    bits: int = 0


class Members(Protocol):
    """Where the members of a record come from."""

    def field(self, name: str) -> FieldInfo | None:
        """Find a member, also in anonymous structs and unions."""

    def fields(self) -> Iterator[FieldInfo]:
        """Iterate over the members in order."""


@record(frozen=True)
class RecordT:
    """A C struct or union; `name` has its tag."""

    name: str
    size: int
    members: Members = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@record(frozen=True)
class TupleT:
    """A tuple, laid out like a C struct."""

    elements: tuple[Type, ...]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each element."""
        return layout(self.elements)[0]

    @cached_property
    def align(self) -> int:
        """Alignment in bytes."""
        return max((align_of(e) for e in self.elements), default=1)

    @cached_property
    def size(self) -> int:
        """Size in bytes."""
        return layout(self.elements)[1]

    def __str__(self) -> str:
        return "(" + ",".join(map(str, self.elements)) + ")"


@record(frozen=True)
class NamedTupleT:
    """A record of the language: a tuple whose elements have names."""

    names: tuple[str, ...]
    elements: tuple[Type, ...]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Byte offset of each element."""
        return layout(self.elements)[0]

    @cached_property
    def align(self) -> int:
        """Alignment in bytes."""
        return max((align_of(e) for e in self.elements), default=1)

    @cached_property
    def size(self) -> int:
        """Size in bytes."""
        return layout(self.elements)[1]

    @property
    def members(self) -> NamedTupleT:
        """What finds its elements by name: itself."""
        return self

    def field(self, name: str) -> FieldInfo | None:
        """Find an element by its name."""
        return next((f for f in self.fields() if f.name == name), None)

    def fields(self) -> Iterator[FieldInfo]:
        """Iterate over the elements in order."""
        for name, type_, offset in zip(self.names, self.elements, self.offsets, strict=True):
            yield FieldInfo(name, type_, offset)

    def __str__(self) -> str:
        parts = (f".{name} = {type_}" for name, type_ in zip(self.names, self.elements, strict=True))
        return "record { " + ", ".join(parts) + " }"


@record(frozen=True)
class WordT:
    """A u64 that the reader shows in its own way.

    `kind` is ``ksym_t``, ``username_t``, ``timestamp``, ``cgroup_path_t``, ``probe`` or ``name``; `format` is that of
    a timestamp (which is a reading of `clock`), the filter of a cgroup's path, or the table of a name.
    """

    kind: str
    format: str = ""
    clock: str = "boot"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 8

    def __str__(self) -> str:
        return self.kind


@record(frozen=True)
class UsymT:
    """A user address with its process: ``{u64 addr; u32 pid; u32 pad}``."""

    size: int = 16

    def __str__(self) -> str:
        return "usym_t"


@record(frozen=True)
class StackT:
    """A kernel or user stack of at most `limit` frames."""

    kernel: bool
    limit: int = 127
    mode: str = "bpftrace"

    @property
    def size(self) -> int:
        """Size in bytes: ``{u32 pid; u32 nr; u64 ips[limit]}``, or with ``struct bpf_stack_build_id`` for build_id."""
        return 8 + self.frame_size * self.limit

    @property
    def frame_size(self) -> int:
        """Size of a frame in bytes."""
        return 32 if self.mode == "build_id" else 8

    def __str__(self) -> str:
        return "kstack_t" if self.kernel else "ustack_t"


@record(frozen=True)
class InetT:
    """``{u32 family; u8 addr[16]}``."""

    size: int = 20

    def __str__(self) -> str:
        return "inet"


@record(frozen=True)
class MacT:
    """Six bytes of a hardware address."""

    size: int = 6

    def __str__(self) -> str:
        return "macaddr_t"


@record(frozen=True)
class AggregateT:
    """What an aggregating function leaves in a map: `kind` is its name; `params` those of hist and lhist."""

    kind: str
    signed: bool = True
    params: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Size in bytes on one CPU."""
        if self.kind == "tseries":
            return 24
        return 16 if self.kind in ("min", "max", "avg", "stats") else 8

    @property
    def histogram(self) -> bool:
        """Whether the map's keys end in a bucket index."""
        return self.kind in ("hist", "lhist", "tseries")

    def __str__(self) -> str:
        return ("" if self.signed or self.kind in ("count", "hist", "lhist", "tseries") else "u") + self.kind + "_t"


@record(frozen=True)
class ArgsT:
    """``args`` as a whole."""

    size: int = 0

    def __str__(self) -> str:
        return "args"


@record(frozen=True)
class ContextT:
    """``ctx``: the raw context."""

    size: int = 8

    def __str__(self) -> str:
        return "ctx"


@record(frozen=True)
class UnknownT:
    """Not known yet, or in error."""

    size: int = 0

    def __str__(self) -> str:
        return "none"


Type = (
    IntT
    | BoolT
    | EnumT
    | StringT
    | BufferT
    | VoidT
    | PtrT
    | ArrayT
    | RecordT
    | TupleT
    | NamedTupleT
    | WordT
    | UsymT
    | StackT
    | InetT
    | MacT
    | AggregateT
    | ArgsT
    | ContextT
    | UnknownT
)

VOID = VoidT()
UNKNOWN = UnknownT()
BOOL = BoolT()
INT8 = IntT(1)
INT32 = IntT(4)
INT64 = IntT(8)
UINT32 = IntT(4, False)
UINT64 = IntT(8, False)
# What a time series keeps of an interval; its index is a parameter of the type.
SERIES_AGGREGATES = ("", "avg", "max", "min", "sum")
CASTABLE = ("count", "sum", "min", "max", "avg")
NUMBERS = (IntT, BoolT, EnumT)
SCALARS = (IntT, BoolT, EnumT, PtrT, WordT, ContextT)


def is_scalar(type_: Type) -> bool:
    """Tell whether a value of the type fits a register."""
    return isinstance(type_, SCALARS) and type_.size <= 8


def align_of(type_: Type) -> int:
    """Return the alignment in bytes of a type inside keys and tuples."""
    if isinstance(type_, StringT | MacT):
        return 1
    if isinstance(type_, BufferT | InetT):
        return 4
    if isinstance(type_, ArrayT):
        return align_of(type_.element)
    if isinstance(type_, TupleT | NamedTupleT):
        return type_.align
    if is_scalar(type_):
        return type_.size
    return 8


def layout(types: tuple[Type, ...]) -> tuple[tuple[int, ...], int]:
    """Lay types out like the members of a C struct; return their offsets and the size of the whole."""
    offsets = []
    at = 0
    for type_ in types:
        at = round_up(at, align_of(type_))
        offsets.append(at)
        at += type_.size
    return tuple(offsets), round_up(at, max((align_of(t) for t in types), default=1))


def round_up(value: int, step: int) -> int:
    """Return the least multiple of `step` that is not below `value`."""
    return (value + step - 1) // step * step


def literal_type(value: int, unsigned: bool = False) -> IntT:
    """Return the smallest signed type for a literal; uint64 when only that fits."""
    if unsigned:
        return IntT(next(s for s in (1, 2, 4, 8) if value < 1 << (8 * s)), False)
    for size in (1, 2, 4, 8):
        if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
            return IntT(size, True, value >= 0)
    return UINT64


def decay(type_: Type) -> Type:
    """Return the type of a place that holds `type_`: without the flexible sign of literals."""
    if isinstance(type_, IntT) and type_.flexible:
        return IntT(type_.size, type_.signed)
    if isinstance(type_, TupleT):
        return TupleT(tuple(decay(e) for e in type_.elements))
    if isinstance(type_, NamedTupleT):
        return NamedTupleT(type_.names, tuple(decay(e) for e in type_.elements))
    return type_


def aggregate_number(type_: AggregateT) -> IntT:
    """Return the type of the number that a castable aggregate stands for."""
    return INT64 if type_.signed and type_.kind != "count" else UINT64
