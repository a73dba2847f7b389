"""What a map holds: per-CPU parts merged, histogram buckets gathered by key, elements sorted as bpftrace does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from trapline.hints import Any
from trapline.ir import values as v
from trapline.ir.buckets import BUCKET_BYTES, hist_bounds, lhist_bounds
from trapline.ir.spec import MapSpec
from trapline.runtime.decode import Buffer, Decoder, int_code, make_decoder, string_bytes
from trapline.runtime.merge import MASK, Merge, make_aggregate, make_sum, quotient, signed64
from trapline.runtime.objects import Bucket, Histogram, Namer, Stats

Items = Iterable[tuple[Buffer, Buffer]]

_INDEX = struct.Struct("<I")  # of a bucket


def is_per_cpu(spec: MapSpec) -> bool:
    """Tell whether a map has a value for each possible CPU."""
    return spec.type in ("PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH")


def make_merge(value: v.Value, namer: Namer, *, per_cpu: bool = True) -> Merge:
    """Compile what turns an element's bytes into its value.

    Args:
        value: the layout of one CPU's part.
        namer: for `make_decoder`.
        per_cpu: the bytes are one part after the other, each padded to a multiple of 8.

    Returns:
        ``merge(parts)``: an aggregate's value over all parts; of other layouts the first part's value.
    """
    merge = make_aggregate(value)
    if merge is not None:
        return merge
    if per_cpu and isinstance(value, v.IntV) and value.size == 8:
        return make_sum(value.signed)
    decode = make_decoder(value, namer)
    return lambda parts: decode(parts, 0)


def make_reader(spec: MapSpec, namer: Namer) -> Callable[[Items], list[tuple[Any, Any]]]:
    """Compile what decodes a map.

    Args:
        spec: the map; both its `key` and its `value` say how to decode them.
        namer: for `make_decoder`.

    Returns:
        A function from raw (key, value) pairs, a per-CPU map's values with all CPUs' parts, to (key, value) pairs in
        the order that bpftrace prints them.  Keys of scalar maps are ``None``; histograms are `Histogram` values.

    Raises:
        ValueError: the map is an internal one.
    """
    if spec.value is None:
        raise ValueError(f"map {spec.name} has no layout")
    if isinstance(spec.value, v.SeriesV):
        from trapline.runtime.series import make_series_reader  # few programs need it

        return make_series_reader(spec, spec.value, _make_key_decoder(spec, namer), make_key_order(spec.key))
    merge = make_merge(spec.value, namer, per_cpu=is_per_cpu(spec))
    key = _make_key_decoder(spec, namer)
    if isinstance(spec.value, v.HistV | v.LhistV):
        return _make_histogram_reader(spec, spec.value, key, merge)
    numbers = _make_number_reader(spec)
    if numbers is not None:
        return numbers
    order = _make_order(spec)

    def read(items: Items) -> list[tuple[Any, Any]]:
        found = [(raw, merge(parts)) for raw, parts in items]
        found.sort(key=order)
        return [(key(raw, 0), value) for raw, value in found]

    return read


def _make_number_reader(spec: MapSpec) -> Callable[[Items], list[tuple[Any, Any]]] | None:
    """Compile the reader of a map from one integer to one: all are decoded and sorted at once, none by itself."""
    key, value = spec.key, spec.value
    if not isinstance(key, v.IntV) or not isinstance(value, v.IntV | v.CountV | v.SumV):
        return None
    if spec.scalar or key.size != spec.key_size:
        return None
    key_code = int_code(key.size, key.signed)
    value_code = int_code(value.size, getattr(value, "signed", False))
    per_cpu = is_per_cpu(spec)
    if not key_code or not value_code or (per_cpu and value.size != 8):
        return None

    def read(items: Items) -> list[tuple[Any, Any]]:
        pairs = list(items)
        if not pairs:
            return []
        count = len(pairs)
        keys = struct.unpack(f"<{count}{key_code}", b"".join([raw for raw, _ in pairs]))
        parts = b"".join([part for _, part in pairs])
        if per_cpu:
            words = struct.unpack(f"<{len(parts) // 8}Q", parts)
            sums = map(sum, zip(*[iter(words)] * (len(words) // count), strict=True))
            values: Iterable[int] = map(signed64, sums) if value_code == "q" else [n & MASK for n in sums]
        else:
            padding = len(parts) // count - value.size
            values = [n for (n,) in struct.iter_unpack(f"<{value_code}{padding}x", parts)]
        # By value, then by key.  Two sorts of plain numbers are twice as fast as one of pairs.
        value_of = dict(zip(keys, values, strict=True))
        ordered = sorted(value_of)
        ordered.sort(key=value_of.__getitem__)
        return [(key, value_of[key]) for key in ordered]

    return read


def _make_key_decoder(spec: MapSpec, namer: Namer) -> Decoder:
    if spec.scalar or spec.key is None:
        return lambda buffer, offset: None
    return make_decoder(spec.key, namer)


def _make_histogram_reader(
    spec: MapSpec, value: v.HistV | v.LhistV, key: Decoder, merge: Merge
) -> Callable[[Items], list[tuple[Any, Any]]]:
    size = spec.key_size - BUCKET_BYTES
    by_key = make_key_order(None if spec.scalar else spec.key)

    def read(items: Items) -> list[tuple[Any, Any]]:
        groups: dict[bytes, dict[int, int]] = {}
        for raw, parts in items:
            buckets = groups.setdefault(bytes(raw[:size]), {})  # stays empty after zero(@m)
            count = merge(parts)
            if count:
                buckets[_INDEX.unpack_from(raw, size)[0]] = count
        order = sorted(groups, key=lambda raw: (sum(groups[raw].values()), by_key(raw)))
        return [(key(raw, 0), _histogram(value, groups[raw])) for raw in order]

    return read


def _histogram(value: v.HistV | v.LhistV, counts: dict[int, int]) -> Histogram:
    buckets: list[Bucket] = []
    for index in range(min(counts), max(counts) + 1) if counts else ():
        low, high = (
            hist_bounds(index, value.bits)
            if isinstance(value, v.HistV)
            else lhist_bounds(index, value.low, value.high, value.step)
        )
        buckets.append(Bucket(low, high, counts.get(index, 0)))
    return Histogram(tuple(buckets))


# -- order


def _make_order(spec: MapSpec) -> Callable[[tuple[Buffer, Any]], Any]:
    by_key = make_key_order(spec.key)
    if isinstance(spec.value, v.CountV | v.SumV | v.MinV | v.MaxV | v.AvgV | v.IntV | v.EnumV):
        return lambda item: (item[1], by_key(item[0]))
    if isinstance(spec.value, v.StatsV):
        return lambda item: (item[1].average, by_key(item[0]))
    return lambda item: by_key(item[0])


def make_key_order(value: v.Value | None) -> Callable[[Buffer], tuple[Any, ...]]:
    """Compile the sort key of a map's raw keys: integers by number, strings by bytes, tuples element by element."""
    if value is None:
        return lambda raw: ()
    leaves = list(_leaves(value, 0))
    return lambda raw: tuple([leaf(raw) for leaf in leaves])


def _leaves(value: v.Value, base: int) -> Iterable[Callable[[Buffer], Any]]:
    if isinstance(value, v.TupleV):
        for offset, element in value.elements:
            yield from _leaves(element, base + offset)
    elif isinstance(value, v.RecordV):
        for _, offset, element in value.fields:
            yield from _leaves(element, base + offset)
    elif isinstance(value, v.StrV):
        size = value.size
        yield lambda raw: string_bytes(raw, base, size)
    elif isinstance(value, v.IntV | v.EnumV | v.PtrV | v.BoolV | v.KsymV | v.UsernameV | v.TimestampV):
        size, signed = value.size, getattr(value, "signed", False)
        yield lambda raw: int.from_bytes(raw[base : base + size], "little", signed=signed)
    else:
        size = value.size
        yield lambda raw: bytes(raw[base : base + size])


def top_and_divide(items: list[tuple[Any, Any]], value: v.Value | None, top: int, div: int) -> list[tuple[Any, Any]]:
    """Apply ``print(@m, top, div)``: keep the `top` last (greatest) elements, divide their values; 0 means neither."""
    if top and len(items) > top:
        items = items[-top:]
    if div > 1:
        items = [(key, _divided(item, value, div)) for key, item in items]
    return items


def _divided(item: Any, value: v.Value | None, div: int) -> Any:
    if isinstance(value, v.IntV | v.CountV | v.SumV | v.MinV | v.MaxV | v.AvgV):
        return quotient(item, div)
    if isinstance(item, Stats):
        return Stats(item.count, quotient(item.average, div), item.total)
    if isinstance(item, Histogram) and isinstance(value, v.HistV):  # lhist() is not divided, as in bpftrace
        return Histogram(tuple(Bucket(bucket.low, bucket.high, bucket.count // div) for bucket in item.buckets))
    return item
