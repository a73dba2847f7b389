"""Python objects that records and maps decode to, where no built-in type says enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trapline.hints import Any, NamedTuple, Protocol


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


class KernelSymbol(str):
    """The name of a kernel symbol; equals its name as text, and only the same address as another symbol.

    Attributes:
        address: the address that was traced; it may lie inside the function.
    """

    __slots__ = ("_namer", "address")
    address: int
    _namer: Namer

    def __new__(cls, address: int, namer: Namer) -> KernelSymbol:
        """Make the symbol at `address`, named by `namer`."""
        self = super().__new__(cls, namer.kernel_symbol(address))
        self.address = address
        self._namer = namer
        return self

    def __eq__(self, other: object) -> bool:
        return self.address == other.address if isinstance(other, KernelSymbol) else str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __int__(self) -> int:
        return self.address

    def __repr__(self) -> str:
        return self._namer.kernel_symbol(self.address, offset=True)


class _Value:
    """Compares, hashes and shows itself by the attributes in `_compared` (making a dataclass costs 0.5 ms)."""

    __slots__ = ()
    _compared: tuple[str, ...] = ()

    def _key(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._compared])

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([f'{name}={getattr(self, name)!r}' for name in self._compared])})"


class UserSymbol(_Value):
    """An address in process `pid`; its text is the symbol's name."""

    __slots__ = ("_namer", "address", "pid")
    _compared = ("address", "pid")

    def __init__(self, address: int, pid: int, namer: Namer) -> None:
        self.address = address
        self.pid = pid
        self._namer = namer

    def __str__(self) -> str:
        return self._namer.user_symbol(self.address, self.pid)


class Stack(_Value):
    """Return addresses, innermost first; `pid` is 0 for kernel stacks.  The text has a line per frame.

    Args:
        mode: ``bpftrace``, ``perf``, ``raw`` or ``build_id``: how the text looks.
        build_ids: in that last mode the build id of each frame's file, in hexadecimal; its address is then an offset
            in the file. Empty where the file has none.
    """

    __slots__ = ("_namer", "addresses", "build_ids", "kernel", "mode", "pid")
    _compared = ("addresses", "build_ids", "pid", "kernel", "mode")

    def __init__(
        self,
        addresses: tuple[int, ...],
        pid: int,
        kernel: bool,
        mode: str,
        namer: Namer,
        build_ids: tuple[str, ...] = (),
    ) -> None:
        self.addresses = addresses
        self.pid = pid
        self.kernel = kernel
        self.mode = mode
        self.build_ids = build_ids
        self._namer = namer

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


class Timestamp(_Value):
    """A reading of a kernel clock in nanoseconds; its text is as the program's ``strftime`` says."""

    __slots__ = ("_namer", "clock", "format", "nanoseconds")
    _compared = ("nanoseconds", "format", "clock")

    def __init__(self, nanoseconds: int, format: str, clock: str, namer: Namer) -> None:
        self.nanoseconds = nanoseconds
        self.format = format
        self.clock = clock
        self._namer = namer

    def __str__(self) -> str:
        return self._namer.timestamp(self.nanoseconds, self.format, self.clock)


class Stats(_Value):
    """The value of ``stats()``; `average` is rounded towards zero, 0 without events."""

    __slots__ = ("average", "count", "total")
    _compared = ("count", "average", "total")

    def __init__(self, count: int, average: int, total: int) -> None:
        self.count = count
        self.average = average
        self.total = total


class Bucket(_Value):
    """A histogram's bucket: `count` values with ``low <= value < high``; ``None`` is unbounded."""

    __slots__ = ("count", "high", "low")
    _compared = ("low", "high", "count")

    def __init__(self, low: int | None, high: int | None, count: int) -> None:
        self.low = low
        self.high = high
        self.count = count


class Histogram(NamedTuple):
    """The value of ``hist()`` or ``lhist()``: its buckets from the first to the last that is not empty."""

    buckets: tuple[Bucket, ...]

    @property
    def total(self) -> int:
        """The number of values in it."""
        return sum(bucket.count for bucket in self.buckets)


class Series(NamedTuple):
    """The value of ``tseries()``: (start of the interval in nanoseconds since 1970, number) for each that has one."""

    interval: int
    points: tuple[tuple[int, int], ...]
