"""The functions that aggregate into a map: ``count sum min max avg stats hist lhist``."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.time_series import check_tseries, lower_tseries
from trapline.hints import TYPE_CHECKING
from trapline.ir.buckets import MAX_BITS
from trapline.ir.function import Op
from trapline.ir.types import I64
from trapline.records import record

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_MAX_BUCKETS = 1000
Target = ast.MapName | ast.MapElement


@record(frozen=True)
class Aggregate:
    """An aggregating function: `check` gives the map's type, `lower` does one step."""

    name: str
    check: Callable[[ExpressionTyper, ast.Call], t.AggregateT | t.UnknownT]
    lower: Callable[[Lowerer, ast.Call, Target], None]
    doc: str


def _arity(typer: ExpressionTyper, call: ast.Call, *counts: int) -> bool:
    if len(call.args) in counts:
        return True
    words = {0: "no", 1: "one"}
    wanted = " or ".join(words.get(count, str(count)) for count in counts)
    noun = "argument" if counts == (1,) else "arguments"
    typer.error(f"{call.name}() requires {wanted} {noun} ({len(call.args)} provided)", call.span)
    return False


def _check_count(typer: ExpressionTyper, call: ast.Call) -> t.AggregateT | t.UnknownT:
    return t.AggregateT("count") if _arity(typer, call, 0) else t.UNKNOWN


def _check_number(typer: ExpressionTyper, call: ast.Call) -> t.AggregateT | t.UnknownT:
    if not _arity(typer, call, 1):
        return t.UNKNOWN
    kind = typer.read(typer.type_of(call.args[0]))
    if isinstance(kind, t.UnknownT):
        return t.UNKNOWN
    if not isinstance(kind, t.IntT | t.EnumT | t.BoolT | t.PtrT | t.WordT):
        typer.error(f"{call.name}() only supports integer arguments ({kind} provided)", call.span)
        return t.UNKNOWN
    return t.AggregateT(call.name, not (isinstance(kind, t.IntT | t.EnumT) and not kind.signed))


def _literal(typer: ExpressionTyper, node: ast.Expr, what: str) -> int | None:
    typer.type_of(node)
    value = typer.constant(node)
    if value is None:
        typer.error(f"{what} must be a literal", node.span)
    return value


def _check_hist(typer: ExpressionTyper, call: ast.Call) -> t.AggregateT | t.UnknownT:
    if not _arity(typer, call, 1, 2):
        return t.UNKNOWN
    typer.integer_of(call.args[0], "the argument of hist()")
    bits = _literal(typer, call.args[1], "hist() bits") if len(call.args) == 2 else 0
    if bits is None:
        return t.UNKNOWN
    if not 0 <= bits <= MAX_BITS:
        typer.error(f"hist: bits {bits} must be 0..{MAX_BITS}", call.args[1].span)
        return t.UNKNOWN
    return t.AggregateT("hist", True, (bits,))


def _check_lhist(typer: ExpressionTyper, call: ast.Call) -> t.AggregateT | t.UnknownT:
    if not _arity(typer, call, 4):
        return t.UNKNOWN
    typer.integer_of(call.args[0], "the argument of lhist()")
    names = ("min", "max", "step")
    values = [_literal(typer, a, f"lhist() {n}") for a, n in zip(call.args[1:], names, strict=True)]
    low, high, step = values
    if low is None or high is None or step is None:
        return t.UNKNOWN
    if step <= 0:
        typer.error(f"lhist() step must be >= 1 ({step} provided)", call.span)
    elif low < 0:
        typer.error(f"lhist() min must be non-negative (provided min {low})", call.span)
    elif low > high:
        typer.error(f"lhist() min must be less than max (provided min {low} and max {high})", call.span)
    elif (high - low) // step > _MAX_BUCKETS:
        count = (high - low) // step
        typer.error(f"lhist() too many buckets, must be <= {_MAX_BUCKETS} (would need {count})", call.span)
    elif (high - low) < step:
        typer.error(
            f"lhist() step is too large for the given range (provided step {step} for range {high - low})", call.span
        )
    else:
        return t.AggregateT("lhist", True, (low, high, step))
    return t.UNKNOWN


def _lower_count(low: Lowerer, call: ast.Call, target: Target) -> None:
    low.add_words(low.info(target), low.key(target), (low.b.i64(1),), call)


def _lower_sum(low: Lowerer, call: ast.Call, target: Target) -> None:
    value = low.number(call.args[0])
    low.add_words(low.info(target), low.key(target), (value,), call)


def _lower_average(low: Lowerer, call: ast.Call, target: Target) -> None:
    value = low.number(call.args[0])
    low.add_words(low.info(target), low.key(target), (value, low.b.i64(1)), call)


def _lower_extreme(low: Lowerer, call: ast.Call, target: Target) -> None:
    value = low.number(call.args[0])
    info = low.info(target)
    assert isinstance(info.value, t.AggregateT)
    low.keep_extreme(info, low.key(target), value, info.value, call)


def _lower_hist(low: Lowerer, call: ast.Call, target: Target) -> None:
    info = low.info(target)
    assert isinstance(info.value, t.AggregateT)
    bucket = _log2_bucket(low, low.number(call.args[0]), info.value.params[0])
    low.count_bucket(info, low.key(target), bucket, call)


def _log2_bucket(low: Lowerer, value: Op, bits: int) -> Op:
    """Return what `trapline.ir.buckets.hist_index` computes."""
    b = low.b
    rest = b.variable(value, "rest")
    log = b.variable(b.i64(0), "log")
    for step in (32, 16, 8, 4, 2, 1):
        word = b.load(I64, rest)
        big = b.compare("uge", word, b.i64(1 << step))
        b.store(b.select(big, b.binary("lshr", word, b.i64(step)), word), rest)
        old = b.load(I64, log)
        b.store(b.select(big, b.binary("add", old, b.i64(step)), old), log)
    exponent = b.load(I64, log)
    large = b.compare("sgt", exponent, b.i64(bits))
    shift = b.select(large, b.binary("sub", exponent, b.i64(bits)), b.i64(0))
    shift = b.binary("and", shift, b.i64(63))
    group = b.binary("shl", shift, b.i64(bits))
    index = b.binary("add", b.binary("add", group, b.binary("lshr", value, shift)), b.i64(1))
    return b.select(b.compare("slt", value, b.i64(0)), b.i64(0), index)


def _lower_lhist(low: Lowerer, call: ast.Call, target: Target) -> None:
    b = low.b
    info = low.info(target)
    assert isinstance(info.value, t.AggregateT)
    least, most, step = info.value.params
    value = low.number(call.args[0])
    offset = b.binary("sub", value, b.i64(least))
    inside = b.binary("add", b.binary("udiv", offset, b.i64(step)), b.i64(1))
    above = b.compare("sge", value, b.i64(most))
    bucket = b.select(above, b.i64(1 + (most - least) // step), inside)
    bucket = b.select(b.compare("slt", value, b.i64(least)), b.i64(0), bucket)
    low.count_bucket(info, low.key(target), bucket, call)


AGGREGATES: dict[str, Aggregate] = {
    row.name: row
    for row in (
        Aggregate("count", _check_count, _lower_count, "count_t count(): count the times this is reached"),
        Aggregate("sum", _check_number, _lower_sum, "sum_t sum(n): sum up"),
        Aggregate("min", _check_number, _lower_extreme, "min_t min(n): keep the least value"),
        Aggregate("max", _check_number, _lower_extreme, "max_t max(n): keep the greatest value"),
        Aggregate("avg", _check_number, _lower_average, "avg_t avg(n): average"),
        Aggregate("stats", _check_number, _lower_average, "stats_t stats(n): count, average and total"),
        Aggregate("hist", _check_hist, _lower_hist, "hist_t hist(n[, bits]): histogram of powers of two"),
        Aggregate("lhist", _check_lhist, _lower_lhist, "lhist_t lhist(n, min, max, step): linear histogram"),
        Aggregate(
            "tseries",
            check_tseries,
            lower_tseries,
            "tseries_t tseries(n, interval, buckets[, aggregate]): the last value, or an aggregate, in each interval",
        ),
    )
}
