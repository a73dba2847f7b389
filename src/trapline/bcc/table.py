"""The table classes, and `Table`, which picks one by the map's type (``bcc.table`` of the scripts)."""

from __future__ import annotations

from trapline.abi.bpf import MAP_TYPES
from trapline.bcc.ctypes_types import CType, build_ctype, build_event_ctype
from trapline.bcc.histogram import LINEAR_SLOTS, LOG2_SLOTS, STARS, build_json_hist
from trapline.bcc.perf import CounterOpener, PerfBuffers, PerfEventArray, RingOpener
from trapline.bcc.ring import RingBuf, RingBuffers
from trapline.bcc.table_base import TableBase
from trapline.bcc.table_kinds import (
    Array,
    ArrayBase,
    CgroupArray,
    CpuMap,
    DevMap,
    FdArray,
    HashTable,
    LpmTrie,
    LruHash,
    LruPerCpuHash,
    MapInMapArray,
    MapInMapHash,
    PerCpuArray,
    PerCpuHash,
    ProgArray,
    QueueStack,
    Reducer,
    StackTrace,
    XskMap,
)
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle
    from trapline.frontends.bcc_c.result import TableInfo

__all__ = [
    "Array",
    "ArrayBase",
    "CgroupArray",
    "CpuMap",
    "DevMap",
    "FdArray",
    "HashTable",
    "LpmTrie",
    "LruHash",
    "LruPerCpuHash",
    "MapInMapArray",
    "MapInMapHash",
    "PerCpuArray",
    "PerCpuHash",
    "PerfEventArray",
    "ProgArray",
    "QueueStack",
    "RingBuf",
    "StackTrace",
    "Table",
    "TableBase",
    "TableMaker",
    "XskMap",
    "get_json_hist",
    "linear_index_max",
    "log2_index_max",
    "stars_max",
]

# BCC's names of what scripts with histograms of their own import.
stars_max, log2_index_max, linear_index_max = STARS, LOG2_SLOTS, LINEAR_SLOTS
get_json_hist = build_json_hist

_KINDS: dict[str, type[TableBase]] = {
    "HASH": HashTable,
    "ARRAY": Array,
    "PROG_ARRAY": ProgArray,
    "STACK_TRACE": StackTrace,
    "CGROUP_ARRAY": CgroupArray,
    "LRU_HASH": LruHash,
    "LPM_TRIE": LpmTrie,
    "DEVMAP": DevMap,
    "CPUMAP": CpuMap,
    "XSKMAP": XskMap,
    "ARRAY_OF_MAPS": MapInMapArray,
    "HASH_OF_MAPS": MapInMapHash,
    "QUEUE": QueueStack,
    "STACK": QueueStack,
}
_PER_CPU: dict[str, type[PerCpuHash] | type[PerCpuArray]] = {
    "PERCPU_HASH": PerCpuHash,
    "LRU_PERCPU_HASH": LruPerCpuHash,
    "PERCPU_ARRAY": PerCpuArray,
}

Table = TableBase

map_type_name = {number: name for name, number in MAP_TYPES.items()}


def get_table_type_name(ttype: int) -> str:
    """Return the kernel's spelling of a map type, ``<unknown>`` for a number that is none."""
    return map_type_name.get(ttype, "<unknown>")


def __getattr__(name: str) -> int:
    """Give the numbers ``BPF_MAP_TYPE_HASH`` and so on."""
    number = MAP_TYPES.get(name.removeprefix("BPF_MAP_TYPE_")) if name.startswith("BPF_MAP_TYPE_") else None
    if number is None:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return number


class TableMaker:
    """Makes the tables of one `BPF` object.

    Args:
        perf_buffers, ring_buffers: where opened buffers are polled.
        open_perf_ring, open_counter: open what perf arrays need.
    """

    def __init__(
        self,
        perf_buffers: PerfBuffers,
        ring_buffers: RingBuffers,
        open_perf_ring: RingOpener,
        open_counter: CounterOpener,
    ) -> None:
        self._perf_buffers = perf_buffers
        self._ring_buffers = ring_buffers
        self._open_perf_ring = open_perf_ring
        self._open_counter = open_counter

    def make(
        self,
        info: TableInfo,
        handle: MapHandle,
        keytype: CType = None,
        leaftype: CType = None,
        reducer: Reducer | None = None,
    ) -> Any:
        """Return the table of a map.

        Args:
            info: what the C text says about it.
            handle: the map.
            keytype, leaftype: ctypes classes to use instead of the C types'.
            reducer: combines the CPUs' leaves of a per-CPU table.
        """
        key = keytype if keytype is not None else build_ctype(info.key)
        leaf = leaftype if leaftype is not None else build_ctype(info.leaf)
        sent = info.event
        event = None if sent is None else lambda: build_event_ctype(sent)
        if info.map_type == "PERF_EVENT_ARRAY":
            return PerfEventArray(
                handle,
                key,
                leaf,
                info.name,
                event=event,
                buffers=self._perf_buffers,
                open_ring=self._open_perf_ring,
                open_counter=self._open_counter,
            )
        if info.map_type == "RINGBUF":
            return RingBuf(handle, key, leaf, info.name, event=event, buffers=self._ring_buffers)
        if info.map_type in _PER_CPU:
            return _PER_CPU[info.map_type](handle, key, leaf, info.name, reducer=reducer)
        return _KINDS.get(info.map_type, TableBase)(handle, key, leaf, info.name)
