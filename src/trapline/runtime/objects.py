"""Python objects that records and maps decode to, where no built-in type says enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Namer(Protocol):
    """Turns numbers into names; `trapline.runtime.names.Names` is the real one."""

    def kernel_symbol(self, address: int, *, offset: bool = False) -> str:
        """Return ``symbol`` or ``symbol+offset`` of a kernel address."""

    def user_symbol(self, address: int, pid: int, *, offset: bool = False) -> str:
        """Return ``symbol`` or ``symbol+offset`` of a user address of process `pid`."""

    def stack_text(self, stack: Stack) -> str:
        """Return the lines of a stack as bpftrace shows them."""

    def username(self, uid: int) -> str:
        """Return the name of user `uid`, or an empty string."""

    def timestamp(self, nanoseconds: int, format: str, clock: str) -> str:
        """Return a reading of `clock` as text."""

    def cgroup_path(self, identifier: int) -> str:
        """Return the path of a cgroup-v2 id."""

    def probe_name(self, index: int) -> str:
        """Return the probe's name."""


class Record(Mapping[str, Any]):
    """The fields of a struct, union or record: ``r["name"]`` and ``r.name``; immutable, compares by its fields."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_fields", dict(fields))

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("records are read-only")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __hash__(self) -> int:
        return hash(tuple(self._fields.items()))

    def __repr__(self) -> str:
        return "Record(" + ", ".join(f"{name}={value!r}" for name, value in self._fields.items()) + ")"


class Enumerator(int):
    """A value of an enumeration: an integer with a `name` (the number's text where no enumerator fits)."""

    name: str

    def __new__(cls, value: int, name: str) -> Enumerator:
        """Make the enumerator `name` with `value`."""
        self = super().__new__(cls, value)
        self.name = name
        return self

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.name}: {int(self)}>"


class Pointer(int):
    """An address; its text is hexadecimal."""

    def __str__(self) -> str:
        return hex(self)

    def __repr__(self) -> str:
        return hex(self)


class KernelSymbol(int):
    """A kernel address; its text is the symbol's name."""

    _namer: Namer

    def __new__(cls, address: int, namer: Namer) -> KernelSymbol:
        """Make the symbol at `address`; names come from `namer` when they are asked for."""
        self = super().__new__(cls, address)
        self._namer = namer
        return self

    def __str__(self) -> str:
        return self._namer.kernel_symbol(self)

    def __repr__(self) -> str:
        return self._namer.kernel_symbol(self, offset=True)


@dataclass(frozen=True)
class UserSymbol:
    """An address in process `pid`; its text is the symbol's name."""

    address: int
    pid: int
    _namer: Namer = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self._namer.user_symbol(self.address, self.pid)


@dataclass(frozen=True)
class Stack:
    """Return addresses, innermost first; `pid` is 0 for kernel stacks.  The text has a line per frame.

    Args:
        mode: ``bpftrace``, ``perf``, ``raw`` or ``build_id``: how the text looks.
    """

    addresses: tuple[int, ...]
    pid: int
    kernel: bool
    mode: str
    _namer: Namer = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.addresses)

    def __str__(self) -> str:
        return self._namer.stack_text(self)

    @property
    def symbols(self) -> tuple[str, ...]:
        """``symbol+offset`` for each frame."""
        if self.kernel:
            return tuple(self._namer.kernel_symbol(address, offset=True) for address in self.addresses)
        return tuple(self._namer.user_symbol(address, self.pid, offset=True) for address in self.addresses)


@dataclass(frozen=True)
class Timestamp:
    """A reading of a kernel clock in nanoseconds; its text is as the program's ``strftime`` says."""

    nanoseconds: int
    format: str
    clock: str
    _namer: Namer = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self._namer.timestamp(self.nanoseconds, self.format, self.clock)


@dataclass(frozen=True)
class Stats:
    """The value of ``stats()``; `average` is rounded towards zero, 0 without events."""

    count: int
    average: int
    total: int


@dataclass(frozen=True)
class Bucket:
    """A histogram's bucket: `count` values with ``low <= value < high``; ``None`` is unbounded."""

    low: int | None
    high: int | None
    count: int


@dataclass(frozen=True)
class Histogram:
    """The value of ``hist()`` or ``lhist()``: its buckets from the first to the last that is not empty."""

    buckets: tuple[Bucket, ...]

    @property
    def total(self) -> int:
        """The number of values in it."""
        return sum(bucket.count for bucket in self.buckets)
