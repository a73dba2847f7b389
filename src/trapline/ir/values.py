"""Value layouts: what the bytes that a program produces mean, and how a reader shows them.

A `Value` describes one event field, map key or map value: its size in bytes and its interpretation.  The front end
chooses it, the code generator never looks at it, the runtime decodes by it.  All integers are in the target's byte
order (little endian on every supported architecture).
"""

from __future__ import annotations

from trapline.records import record


@record(frozen=True)
class IntV:
    """An integer of `size` bytes (1, 2, 4, 8, 16)."""

    size: int
    signed: bool = True


@record(frozen=True)
class BoolV:
    """One byte, 0 or 1."""

    size: int = 1


@record(frozen=True)
class EnumV:
    """An integer shown as the name of its enumerator (the number where no name fits)."""

    size: int
    signed: bool
    name: str
    names: tuple[tuple[int, str], ...]


@record(frozen=True)
class PtrV:
    """An address, shown as ``0x…``."""

    size: int = 8


@record(frozen=True)
class StrV:
    """NUL-terminated bytes in a field of `size` bytes; a field filled to the end without NUL was truncated."""

    size: int


@record(frozen=True)
class BufV:
    """A u32 length, then that many valid bytes of at most ``size - 4``."""

    size: int


@record(frozen=True)
class KsymV:
    """A kernel address (u64), shown as ``symbol+offset``."""

    size: int = 8


@record(frozen=True)
class UsymV:
    """A user address: ``{u64 addr; u32 pid; u32 pad}``."""

    size: int = 16


@record(frozen=True)
class StackV:
    """A stack: ``{u32 pid; u32 nr; u64 ips[limit]}`` (pid is 0 for kernel stacks).

    mode is ``bpftrace``, ``perf``, ``raw`` or ``build_id``; the frames of the last are
    ``{s32 status; u8 build_id[20]; u64 offset_or_ip}``.
    """

    kernel: bool
    limit: int = 127
    mode: str = "bpftrace"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 8 + (32 if self.mode == "build_id" else 8) * self.limit


@record(frozen=True)
class InetV:
    """``{u32 family; u8 addr[16]}``; an IPv4 address is in the first four bytes of addr, network order."""

    size: int = 20


@record(frozen=True)
class MacV:
    """A 6-byte hardware address."""

    size: int = 6


@record(frozen=True)
class UsernameV:
    """A uid (u64), shown as the user's name."""

    size: int = 8


@record(frozen=True)
class TimestampV:
    """Nanoseconds (u64) of `clock` (``boot``, ``monotonic``, ``tai``, ``sw_tai``), shown by strftime with `format`."""

    format: str
    clock: str = "boot"
    size: int = 8


@record(frozen=True)
class CgroupPathV:
    """A cgroup-v2 id (u64), shown as its path, if the name of its hierarchy (``unified``) matches `filter`."""

    filter: str = ""
    size: int = 8


@record(frozen=True)
class ProbeNameV:
    """An index (u64) into the object's `probe_names`."""

    size: int = 8


@record(frozen=True)
class FlagsV:
    """An integer shown as the flags of a `table` of `trapline.abi.flag_names`."""

    size: int
    table: str


@record(frozen=True)
class NameV:
    """A number (s64) shown as its name in a `table` of `trapline.abi.number_names`."""

    table: str
    size: int = 8


@record(frozen=True)
class ArrayV:
    """`count` elements one after the other."""

    element: Value
    count: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.element.size * self.count


@record(frozen=True)
class TupleV:
    """A tuple: (byte offset, layout) for each element."""

    elements: tuple[tuple[int, Value], ...]
    size: int


@record(frozen=True)
class BitsV:
    """A bit-field inside a record: an integer at bit `shift` of `size` bytes, `bits` wide."""

    size: int
    shift: int
    bits: int
    signed: bool


@record(frozen=True)
class RecordV:
    """A struct, union or record: (name, byte offset, layout) for each field."""

    fields: tuple[tuple[str, int, Value], ...]
    size: int
    name: str = ""


# -- what a map's value means when it is an aggregate; the map is per-CPU and the reader merges the CPUs' parts


@record(frozen=True)
class CountV:
    """u64 events, summed over CPUs."""

    size: int = 8


@record(frozen=True)
class SumV:
    """A 64-bit sum, summed over CPUs."""

    signed: bool = True
    size: int = 8


@record(frozen=True)
class MinV:
    """``{u64 value; u64 is_set}``, the least over CPUs."""

    signed: bool = True
    size: int = 16


@record(frozen=True)
class MaxV:
    """``{u64 value; u64 is_set}``, the greatest over CPUs."""

    signed: bool = True
    size: int = 16


@record(frozen=True)
class AvgV:
    """``{u64 total; u64 count}``, both summed over CPUs."""

    signed: bool = True
    size: int = 16


@record(frozen=True)
class StatsV:
    """``{u64 total; u64 count}``, shown as count, average and total."""

    signed: bool = True
    size: int = 16


@record(frozen=True)
class HistV:
    """A log2 histogram with ``2**bits`` sub-buckets per power of two; u64 count per bucket.

    The map's key has a u64 bucket index after the user's key (or alone).  Bucket 0 holds negatives, bucket 1 holds 0;
    for a value n > 0 the index is as in `trapline.ir.buckets`.
    """

    bits: int = 0
    size: int = 8


@record(frozen=True)
class LhistV:
    """A linear histogram; the key has a u64 bucket index appended.

    Bucket 0 is below `low`, bucket ``i`` is ``[low + (i-1)*step, low + i*step)``, and behind the last is ``[high, …)``.
    """

    low: int
    high: int
    step: int
    size: int = 8


@record(frozen=True)
class SeriesV:
    """A time series; the key has a u64 bucket index appended, and a bucket is ``{s64 value; u64 extra; u64 epoch}``.

    Epoch n begins ``n * interval`` nanoseconds after 1970 and is kept in bucket ``n % count``. `aggregate` is empty
    (`value` is the last one, `extra` its time), ``avg`` (the sum, and how many), ``sum``, ``min`` or ``max``.
    """

    interval: int
    count: int
    aggregate: str = ""
    signed: bool = True
    size: int = 24


Value = (
    IntV
    | BoolV
    | EnumV
    | PtrV
    | StrV
    | BufV
    | KsymV
    | UsymV
    | StackV
    | InetV
    | MacV
    | UsernameV
    | TimestampV
    | CgroupPathV
    | ProbeNameV
    | NameV
    | FlagsV
    | ArrayV
    | TupleV
    | RecordV
    | BitsV
    | CountV
    | SumV
    | MinV
    | MaxV
    | AvgV
    | StatsV
    | HistV
    | LhistV
    | SeriesV
)

AGGREGATES = (CountV, SumV, MinV, MaxV, AvgV, StatsV, HistV, LhistV, SeriesV)
# Those whose keys end in a bucket's index: many elements make one value.
BUCKETED = (HistV, LhistV, SeriesV)
