"""``tseries``: what happened to a number in each of the last intervals of time."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import base_name
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I64

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer


def check_tseries(typer: ExpressionTyper, call: ast.Call) -> t.AggregateT | t.UnknownT:
    """Type ``tseries(n, interval_ns, num_intervals[, aggregate])``."""
    _check_stability(typer, call)
    count = len(call.args)
    if not 3 <= count <= 4:
        words = "requires at least 3" if count < 3 else "takes up to 4"
        typer.error(f"tseries() {words} arguments ({count} provided)", call.span)
        return t.UNKNOWN
    kind = typer.type_of(call.args[0])
    if not isinstance(kind, (*t.NUMBERS, t.PtrT, t.UnknownT)) and not typer.castable(kind):
        typer.error(f"tseries() only supports int arguments ({base_name(kind)} provided)", call.span)
        return t.UNKNOWN
    numbers = []
    for node, name in zip(call.args[1:3], ("interval_ns", "num_intervals"), strict=True):
        typer.type_of(node)
        value = typer.constant(node)
        if value is None or value < 0:
            typer.error(f"tseries: invalid {name} value (must be non-negative literal)", call.span)
            return t.UNKNOWN
        if value == 0:
            typer.error(f"tseries() {name} must be >= 1 (0 provided)", call.span)
            return t.UNKNOWN
        numbers.append(value)
    aggregate = _aggregate(typer, call)
    if aggregate is None or isinstance(kind, t.UnknownT):
        return t.UNKNOWN
    signed = not (isinstance(kind, t.IntT | t.EnumT) and not kind.signed)
    return t.AggregateT("tseries", signed, (*numbers, aggregate))


def _aggregate(typer: ExpressionTyper, call: ast.Call) -> int | None:
    if len(call.args) < 4:
        return 0
    node = call.args[3]
    typer.type_of(node)
    text = typer.literal_string(node)
    if text is None:
        typer.error("tseries() expects a string literal as its aggregation function", call.span)
        return None
    name = text.decode("utf-8", "replace")
    if not name or name not in t.SERIES_AGGREGATES:
        known = ", ".join(filter(None, t.SERIES_AGGREGATES))
        message = f'tseries() expects one of the following aggregation functions: {known} ("{name}" provided)'
        typer.error(message, call.span)
        return None
    return t.SERIES_AGGREGATES.index(name)


def _check_stability(typer: ExpressionTyper, call: ast.Call) -> None:
    setting = typer.knowledge.config.text("unstable_tseries")
    if setting == "error":
        typer.error(
            "tseries feature is not enabled by default. To enable this unstable feature, set the config flag to"
            " enable. unstable_tseries=enable",
            call.span,
        )
    elif setting == "warn":
        typer.warning(
            "Script is using an unstable feature: tseries. To prevent this warning you must explicitly enable it in"
            " the config e.g. unstable_tseries=enable",
            call.span,
        )


def lower_tseries(low: Lowerer, call: ast.Call, target: ast.MapName | ast.MapElement) -> None:
    """Lower one step: into the bucket of the current interval, which starts anew when it was of an older one."""
    b = low.b
    info = low.info(target)
    kind = info.value
    assert isinstance(kind, t.AggregateT)
    interval, count, index = kind.params
    aggregate = t.SERIES_AGGREGATES[index]
    value = low.number(call.args[0])
    # The clock's distance from the boot clock, as it was when the program was loaded.
    offset = b.load(I64, b.map_value(low.module.add_map(spec.MapSpec(spec.WALL, "ARRAY", 4, 8, 1))))
    now = b.binary("add", b.helper("ktime_get_boot_ns"), offset)
    epoch = b.binary("udiv", now, b.i64(interval))
    key = low.key(target)
    low.store_bucket(info, key, b.binary("urem", epoch, b.i64(count)))
    first = now if not aggregate else b.i64(1)

    def change(place: Op) -> None:
        older = b.compare("ne", b.load(I64, b.offset(place, 16)), epoch)
        extra = b.offset(place, 8)
        kept, seen = b.load(I64, place), b.load(I64, extra)
        if aggregate in ("avg", "sum"):
            both = b.binary("add", kept, value)
        elif aggregate:
            sign = "s" if kind.signed else "u"
            better = b.compare(sign + ("lt" if aggregate == "min" else "gt"), value, kept)
            both = b.select(better, value, kept)
        else:
            both = value
        more = b.binary("add", seen, b.i64(1)) if aggregate else now
        b.store(b.select(older, value, both), place)
        b.store(b.select(older, first, more), extra)
        b.store(epoch, b.offset(place, 16))

    low.update_part(info, key, change, (value, first, epoch), call)
