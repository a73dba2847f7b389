"""Collects what the programs of a module share: maps, events, fault sites, probe names."""

from __future__ import annotations

from trapline.abi.bpf import BPF_F_MMAPABLE
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo
from trapline.frontends.bpftrace.readers import value_of
from trapline.ir import spec
from trapline.ir.buckets import BUCKET_BYTES, hist_buckets, lhist_buckets
from trapline.ir.values import IntV
from trapline.records import field, record

DEPTH = ".depth"  # HASH: how many calls of a program's function a task is in
STASH = ".stash"  # HASH: arguments of calls that have not returned yet
_STASH_ENTRIES = 8192
_KINDS = {
    "hash": "HASH",
    "lruhash": "LRU_HASH",
    "percpuhash": "PERCPU_HASH",
    "percpulruhash": "LRU_PERCPU_HASH",
}


@record(eq=False)
class ModuleBuilder:
    """What the programs of a module share, as it grows while they are lowered."""

    knowledge: Knowledge
    maps: dict[str, spec.MapSpec] = field(default_factory=dict)
    events: list[spec.Event] = field(default_factory=list)
    faults: list[spec.FaultSite] = field(default_factory=list)
    probe_names: list[str] = field(default_factory=list)
    programs: list[spec.ProgramSpec] = field(default_factory=list)
    _fault_index: dict[tuple[str, str, tuple[int, int] | None], int] = field(default_factory=dict)

    def add_event(self, event: spec.Event) -> int:
        """Add an event; return its index (an equal one is used again)."""
        if event in self.events:
            return self.events.index(event)
        self.events.append(event)
        return len(self.events) - 1

    def add_fault(self, kind: str, helper: str, span: tuple[int, int] | None, warn: bool) -> int:
        """Add a fault site; return its index."""
        key = (kind, helper, span)
        if key not in self._fault_index:
            self._fault_index[key] = len(self.faults)
            self.faults.append(spec.FaultSite(kind, helper, span, warn))
        return self._fault_index[key]

    def add_map(self, map_: spec.MapSpec) -> str:
        """Add an internal map (once); return its name."""
        self.maps.setdefault(map_.name, map_)
        return map_.name

    def add_user_maps(self) -> None:
        """Add all of the program's own maps, in the order of their names."""
        config = self.knowledge.config
        for name in sorted(self.knowledge.maps):
            info = self.knowledge.maps[name]
            self.maps[name] = _user_map(info, config.integer("max_map_keys"), config.flag("print_maps_on_exit"))

    def finish_maps(self, ring_bytes: int) -> tuple[spec.MapSpec, ...]:
        """Return all maps, with those that hold records, losses and faults."""
        maps = list(self.maps.values())
        maps.append(spec.MapSpec(spec.RING, "RINGBUF", 0, 0, ring_bytes))
        if self.events:
            maps.append(spec.MapSpec(spec.WAKE, "ARRAY", 4, 8, 1, flags=BPF_F_MMAPABLE))
        maps.append(spec.MapSpec(spec.LOST, "PERCPU_ARRAY", 4, 8, max(1, len(self.programs))))
        if self.faults:
            maps.append(spec.MapSpec(spec.FAULTS, "PERCPU_ARRAY", 4, 16, len(self.faults)))
        return tuple(maps)


def in_array(info: MapInfo) -> bool:
    """Tell whether the value of a map without keys lives in an array, which programs reach without hashing.

    Its only element, or each bucket of a histogram, is always there; behind a value stands a word that is not 0 once
    the value was set (see `trapline.runtime.stored_maps`).
    """
    if info.keyed or info.declaration is not None or info.can_lack:
        return False
    return info.value.kind != "tseries" if isinstance(info.value, t.AggregateT) else t.is_scalar(info.value)


def key_size(info: MapInfo) -> int:
    """Return the size of a map's keys in bytes, a histogram's bucket index included."""
    if in_array(info):
        return 4
    own = info.key.size if info.keyed else 0
    if isinstance(info.value, t.AggregateT) and info.value.histogram:
        return t.round_up(own, BUCKET_BYTES) + BUCKET_BYTES
    return own if info.keyed else 8


def _user_map(info: MapInfo, limit: int, printed: bool) -> spec.MapSpec:
    value = info.value
    aggregate = isinstance(value, t.AggregateT)
    kind = "PERCPU_HASH" if aggregate else "HASH"
    entries = limit
    if info.declaration is not None:
        kind = _KINDS[info.declaration.kind]
        entries = getattr(info.declaration.entries, "value", limit)
    elif not info.keyed:
        entries = 1
        if isinstance(value, t.AggregateT) and value.kind == "hist":
            entries = hist_buckets(value.params[0])
        elif isinstance(value, t.AggregateT) and value.kind == "tseries":
            entries = value.params[1]
        elif isinstance(value, t.AggregateT) and value.kind == "lhist":
            entries = lhist_buckets(*value.params)
    size = value.size
    if in_array(info):
        kind = "PERCPU_ARRAY" if aggregate else "ARRAY"
        size = is_set_offset(value) + (0 if entries > 1 else 8)
    return spec.MapSpec(
        info.name,
        kind,
        key_size(info),
        size,
        entries,
        key=value_of(info.key) if info.keyed else IntV(8),
        value=value_of(value),
        printed=printed,
        scalar=not info.keyed,
        # A declared map has the type and the size that the user gave it.
        short="" if info.declaration is not None or not info.keyed else f".short{info.name}",
    )


def is_set_offset(value: t.Type) -> int:
    """Return where, in an array's element, the word stands that tells whether the value was set."""
    return t.round_up(value.size, 8)


def stash_maps(module: ModuleBuilder, arguments: int) -> None:
    """Add the maps that carry arguments from a function's entry to its return."""
    module.add_map(spec.MapSpec(DEPTH, "HASH", 16, 8, _STASH_ENTRIES))
    name = f"{STASH}{arguments}"
    module.add_map(spec.MapSpec(name, "HASH", 24, 8 * arguments, _STASH_ENTRIES))
