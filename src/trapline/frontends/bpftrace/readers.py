"""How a reader decodes values of the language's types: types → `trapline.ir.values`."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import types as t
from trapline.ir import values as v

_WORDS: dict[str, v.Value] = {
    "ksym_t": v.KsymV(),
    "username_t": v.UsernameV(),
    "probe": v.ProbeNameV(),
}
_MAX_DEPTH = 8


def value_of(type_: t.Type, depth: int = 0) -> v.Value | None:
    """Return the layout that a reader needs for values of a type; ``None`` when such values cannot be shown."""
    if isinstance(type_, t.IntT):
        return v.IntV(type_.size, type_.signed)
    if isinstance(type_, t.BoolT):
        return v.BoolV()
    if isinstance(type_, t.EnumT):
        return v.EnumV(type_.size, type_.signed, type_.name, type_.values)
    if isinstance(type_, t.PtrT | t.ContextT):
        return v.PtrV()
    if isinstance(type_, t.StringT):
        return v.StrV(type_.size)
    if isinstance(type_, t.BufferT):
        return v.BufV(type_.size)
    if isinstance(type_, t.InetT):
        return v.InetV()
    if isinstance(type_, t.UsymT):
        return v.UsymV()
    if isinstance(type_, t.MacT):
        return v.MacV()
    if isinstance(type_, t.StackT):
        return v.StackV(type_.kernel, type_.limit, type_.mode)
    if isinstance(type_, t.WordT):
        if type_.kind == "name":
            return v.NameV(type_.format)
        if type_.kind == "timestamp":
            return v.TimestampV(type_.format, type_.clock)
        return v.CgroupPathV(type_.format) if type_.kind == "cgroup_path_t" else _WORDS[type_.kind]
    if isinstance(type_, t.ArrayT):
        element = value_of(type_.element, depth + 1)
        return v.ArrayV(element, type_.count) if element else None
    if isinstance(type_, t.TupleT):
        parts = [value_of(e, depth + 1) for e in type_.elements]
        elements = tuple((o, p) for o, p in zip(type_.offsets, parts, strict=True) if p is not None)
        return v.TupleV(elements, type_.size) if len(elements) == len(parts) else None
    if isinstance(type_, t.AggregateT):
        return aggregate_value(type_)
    if isinstance(type_, t.RecordT | t.NamedTupleT) and depth < _MAX_DEPTH:
        return _record_value(type_, depth)
    return None


def _record_value(record: t.RecordT | t.NamedTupleT, depth: int) -> v.RecordV:
    fields = []
    for field in record.members.fields():
        value: v.Value | None
        if field.bits:
            unit = max(1, (field.bit_offset + field.bits + 7) // 8)
            signed = isinstance(field.type, t.IntT | t.EnumT) and field.type.signed
            value = v.BitsV(unit, field.bit_offset, field.bits, signed)
        else:
            value = value_of(field.type, depth + 1)
        if value is not None:
            fields.append((field.name, field.offset, value))
    return v.RecordV(tuple(fields), record.size, record.name if isinstance(record, t.RecordT) else "")


def aggregate_value(type_: t.AggregateT) -> v.Value:
    """Return the layout of an aggregate in a map."""
    if type_.kind == "count":
        return v.CountV()
    if type_.kind == "hist":
        return v.HistV(type_.params[0])
    if type_.kind == "tseries":
        interval, count, aggregate = type_.params
        return v.SeriesV(interval, count, t.SERIES_AGGREGATES[aggregate], type_.signed)
    if type_.kind == "lhist":
        return v.LhistV(*type_.params)
    signed: dict[str, Callable[[bool], v.Value]] = {
        "sum": v.SumV,
        "min": v.MinV,
        "max": v.MaxV,
        "avg": v.AvgV,
        "stats": v.StatsV,
    }
    return signed[type_.kind](type_.signed)
