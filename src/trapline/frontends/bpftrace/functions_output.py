"""The functions that send something to the reader or act on whole maps, as table rows."""

from __future__ import annotations

from collections.abc import Sequence

from trapline.abi.flag_names import GFP
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.aggregates import AGGREGATES
from trapline.frontends.bpftrace.comptime import base_name
from trapline.frontends.bpftrace.formats import check_format, conversions
from trapline.frontends.bpftrace.lower_base import Part
from trapline.frontends.bpftrace.readers import value_of
from trapline.frontends.bpftrace.seq_output import check_seq_printf, is_pinned, lower_seq_printf
from trapline.frontends.bpftrace.suggestions import near_map
from trapline.frontends.bpftrace.tables import MANY, Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I8, I32, I64, Space
from trapline.ir.values import FlagsV

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.knowledge import MapInfo
    from trapline.frontends.bpftrace.lower import Lowerer

_JOIN_LIMIT, _JOIN_SLOT = 16, 1024
_STREAMS = {"printf": "out", "errorf": "error", "warnf": "warn", "system": "system", "cat": "cat"}


# ---------------------------------------------------------------- printf and its kin


def _no_literal(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    found = base_name(typer.type_of(call.args[0]))
    return typer.error(f"{call.name}() expects a string literal ({found} provided)", call.span)


def _check_printf(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.type_of(call.args[0])
    text = typer.literal_string(call.args[0])
    kinds = [typer.type_of(a) for a in call.args[1:]]
    if text is None:
        return _no_literal(typer, call)
    if is_pinned(typer.site):
        check_seq_printf(typer, call, kinds)
    for _, message in check_format(text.decode("utf-8", "surrogateescape"), kinds, call.name):
        typer.error(message, call.span)
    for node, kind in zip(call.args[1:], kinds, strict=True):
        if isinstance(kind, t.AggregateT) and not typer.castable(kind):
            typer.error(f"{kind} cannot be printed with {call.name}()", node.span, "Use print(@map).")
        elif not isinstance(kind, t.UnknownT) and value_of(kind) is None:
            typer.error(f"{call.name}() cannot print a value of type '{kind}'", node.span)
    return t.VOID


def _lower_printf(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    if is_pinned(low.site):
        lower_seq_printf(low, call)
        return
    format_ = (low.typer.literal_string(call.args[0]) or b"").decode("utf-8", "surrogateescape")
    nodes = call.args[1:]
    parts = _parts(low, nodes)
    kinds = [part[1] if isinstance(part, tuple) else _printed(low.type(part)) for part in parts]
    fields, size = low.plan_fields(kinds, [n.span.text for n in nodes])
    fields = tuple([_as_shown(f, c) for f, c in zip(fields, conversions(format_), strict=True)])
    event = spec.PrintfEvent(format_, fields, size, _STREAMS[call.name], call.span.range, call.span.chain[1:])
    parts = low.scalars_first(parts)
    with low.record(event) as record:
        low.fill_fields(record, fields, kinds, parts)


def _parts(low: Lowerer, nodes: Sequence[ast.Expr]) -> list[Part]:
    """Return what is sent of each value: of some functions' results something smaller."""
    parts: list[Part] = []
    for node in nodes:
        row = low.knowledge.functions.get(node.name) if isinstance(node, ast.Call) else None
        if row is not None and row.printed is not None and isinstance(node, ast.Call):
            parts.append(row.printed(low, node))
        else:
            parts.append(node)
    return parts


def _as_shown(field: spec.Field, conversion: str) -> spec.Field:
    """Return the field with the layout that its conversion asks for: ``%gr`` shows an integer as flags."""
    return spec.Field(field.offset, FlagsV(field.value.size, GFP), field.name) if conversion == "gr" else field


def _printed(kind: t.Type) -> t.Type:
    """Return the type of a value in a record: a map's aggregate is a number there."""
    if isinstance(kind, t.AggregateT):
        return t.aggregate_number(kind)
    return t.decay(kind)


# ---------------------------------------------------------------- print, clear, zero


def _map_argument(typer: ExpressionTyper, node: ast.Expr) -> MapInfo | None:
    return typer.map_info(node) if isinstance(node, ast.MapName) else None


def _check_print(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node = call.args[0]
    info = _map_argument(typer, node)
    if info is not None:
        if isinstance(info.value, t.UnknownT):
            typer.error(f"Undefined map: {info.name}", node.span, *near_map(typer.knowledge, info.name))
        for option, name in zip(call.args[1:], ("top", "div"), strict=False):
            typer.type_of(option)
            value = typer.constant(option)
            if value is None or value < 0:
                typer.error(f"print(): the {name} argument must be a non-negative literal", option.span)
        return t.VOID
    if len(call.args) > 1:
        return typer.error(f"Non-map print() only takes 1 argument, {len(call.args)} found", call.span)
    kind = typer.type_of(node)
    if isinstance(kind, t.ArgsT):
        if node not in typer.rewritten:
            typer.rewritten[node] = _whole_arguments(typer, node)
        kind = typer.type_of(typer.rewritten[node])
    if isinstance(kind, t.AggregateT) and kind.histogram:
        message = f"Map type {kind} cannot print the value of individual keys. You must print the whole map."
        return typer.error(message, call.span)
    if not isinstance(kind, t.UnknownT) and value_of(kind) is None:
        return typer.error(f"print() cannot print a value of type '{kind}'", node.span)
    return t.VOID


def _whole_arguments(typer: ExpressionTyper, node: ast.Expr) -> ast.Record:
    """Return the record that ``args`` as a whole stands for: every argument that can be read."""
    arguments = typer.arguments
    shown = [name for name, argument in arguments.items.items() if value_of(argument.type) is not None]
    return ast.Record(node.span, tuple((name, ast.FieldAccess(node.span, node, name)) for name in shown))


def _lower_print(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    node = call.args[0]
    if isinstance(node, ast.MapName):
        top, div = (*[low.typer.constant(a) or 0 for a in call.args[1:]], 0, 0)[:2]
        with low.record(spec.PrintMapEvent(node.name, top, div, low.header)):
            pass
        return
    node = low.typer.rewritten.get(node, node)
    kind = low.type(node)
    if isinstance(node, ast.MapElement):
        _print_element(low, node, kind)
        return
    parts = _parts(low, [node])
    kind = t.decay(parts[0][1] if isinstance(parts[0], tuple) else kind)
    (field,), size = low.plan_fields([kind], [node.span.text])
    parts = low.scalars_first(parts)
    with low.record(spec.PrintValueEvent(field, size)) as record:
        low.fill_fields(record, [field], [kind], parts)


def _print_element(low: Lowerer, node: ast.MapElement, kind: t.Type) -> None:
    b = low.b
    info = low.info(node)
    fields, size = low.plan_fields([info.key, info.value], ["key", "value"])
    event = spec.PrintMapElementEvent(info.name, fields[0], fields[1], size)
    key = low.key(node)
    words = low.aggregate_sum(node, info.value)[:2] if isinstance(info.value, t.AggregateT) else None
    with low.record(event) as record:
        b.copy(b.offset(record, fields[0].offset), key, info.key.size)
        place = b.offset(record, fields[1].offset)
        if words is not None:
            for index in range(info.value.size // 8):
                b.store(words[index], b.offset(place, 8 * index))
        else:
            low.into(node, place, info.value)


def _check_whole_map(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    info = _map_argument(typer, call.args[0])
    if info is None:
        return typer.error(f"{call.name}() expects a map argument", call.args[0].span)
    if isinstance(info.value, t.UnknownT):
        typer.error(f"Undefined map: {info.name}", call.args[0].span, *near_map(typer.knowledge, info.name))
    return t.VOID


def _lower_clear(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    node = call.args[0]
    assert isinstance(node, ast.MapName)
    with low.record(spec.ClearMapEvent(node.name, call.name == "zero", low.header)):
        pass


# ---------------------------------------------------------------- elements


def _check_element(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node = call.args[0]
    info: MapInfo | None = None
    if isinstance(node, ast.MapElement) and len(call.args) == 1 and call.name == "delete":
        info = typer.use_map(node)
    elif isinstance(node, ast.MapName):
        info = typer.map_info(node)
        if len(call.args) == 2:
            typer.use_key(info, (call.args[1],), call.span)
        elif call.name == "delete":
            typer.use_map(node)
        else:
            return typer.error(f"{call.name}() requires a map and a key", call.span)
    if info is None:
        return typer.error(f"{call.name}() expects a map to be provided", call.span, f"Write {call.name}(@map, key).")
    if isinstance(info.value, t.AggregateT) and info.value.histogram:
        return typer.unsupported(f"{call.name}() on a map of histograms is", call.span)
    info.can_lack |= call.name == "delete"
    return t.BOOL


def _element_key(low: Lowerer, call: ast.Call) -> tuple[MapInfo, Op]:
    node = call.args[0]
    assert isinstance(node, ast.MapName | ast.MapElement)
    info = low.info(node)
    if len(call.args) == 2:
        return info, low.key_of(info, (call.args[1],))
    return info, low.key(node)


def _lower_delete(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    info, key = _element_key(low, call)
    result = b.map_delete(info.name, key)
    if low.knowledge.options.warnings:
        with b.when(b.compare("ne", result, b.i64(0))):
            low.fault("missing_key", "map_delete_elem", call, b.resize(result, I32, signed=True))
    return b.resize(b.compare("eq", result, b.i64(0)), I8, signed=False)


def _lower_has_key(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    info, key = _element_key(low, call)
    return b.resize(b.compare("ne", b.map_lookup(info.name, key), b.null(Space.MAP)), I8, signed=False)


def _check_len(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node = call.args[0]
    info = _map_argument(typer, node)
    if info is not None:
        target = typer.knowledge.target
        if not target.has_btf or target.btf.func("bpf_map_sum_elem_count") is None:
            return typer.error("len() of a map needs Linux 6.6 (bpf_map_sum_elem_count)", call.span)
        return t.INT64
    kind = typer.type_of(node)
    if not isinstance(kind, t.StackT | t.UnknownT):
        return typer.error("call to len() expects a map, ustack, or kstack", call.span)
    return t.INT64


def _lower_len(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    node = call.args[0]
    if isinstance(node, ast.MapName):
        return b.kfunc("bpf_map_sum_elem_count", b.map(node.name))
    return b.resize(b.load(I32, b.offset(low.address(node), 4)), I64, signed=False)


# ---------------------------------------------------------------- exit, time, join


def _check_exit(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if call.args:
        kind = typer.type_of(call.args[0])
        if not isinstance(kind, (*t.NUMBERS, t.UnknownT)) and not typer.castable(kind):
            typer.error(f"exit() only supports int arguments ({base_name(kind)} provided)", call.span)
    return t.VOID


def _lower_exit(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    b = low.b
    code = low.number(call.args[0]) if call.args else b.i64(0)
    with low.record(spec.ExitEvent(low.header, low.header + 8)) as record:
        b.store(code, b.offset(record, low.header))
    low.leave()


def _check_time(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if call.args:
        typer.type_of(call.args[0])
        if typer.literal_string(call.args[0]) is None:
            _no_literal(typer, call)
    return t.VOID


def _lower_time(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    text = low.typer.literal_string(call.args[0]) if call.args else b"%H:%M:%S\n"
    with low.record(spec.TimeEvent((text or b"").decode("utf-8", "surrogateescape"), low.header)):
        pass


def _check_join(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if not isinstance(kind, t.IntT | t.PtrT | t.UnknownT):
        typer.error(f"join() expects an integer or a pointer ({kind} provided)", call.args[0].span)
    if len(call.args) == 2:
        typer.type_of(call.args[1])
        if typer.literal_string(call.args[1]) is None:
            typer.error("the separator of join() must be a string literal", call.args[1].span)
    return t.VOID


def _lower_join(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    b = low.b
    separator = (low.typer.literal_string(call.args[1]) if len(call.args) == 2 else None) or b" "
    if len(call.args) == 2 and not low.typer.literal_string(call.args[1]):
        separator = b""
    kind = low.type(call.args[0])
    space = kind.space if isinstance(kind, t.PtrT) and kind.space is Space.USER else Space.UNKNOWN
    vector = b.to_pointer(low.number(call.args[0]), space)
    offset = low.header
    size = offset + 8 + _JOIN_LIMIT * _JOIN_SLOT
    event = spec.JoinEvent(separator.decode("utf-8", "surrogateescape"), offset, _JOIN_SLOT, _JOIN_LIMIT, size)
    with low.record(event) as record:
        b.store(b.i64(0), b.offset(record, offset))
        done = b.new_block("joined")
        for index in range(_JOIN_LIMIT):
            text = b.load(I64, b.offset(vector, 8 * index))
            more = b.new_block("argument")
            b.branch(b.compare("eq", text, b.i64(0)), done, more)
            b.start(more)
            slot = b.offset(record, offset + 8 + index * _JOIN_SLOT)
            low.read_string(slot, b.i32(_JOIN_SLOT), b.to_pointer(text, space))
            b.store(b.i32(index + 1), b.offset(record, offset))
        b.jump(done)
        b.start(done)


def _check_aggregate(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    for node in call.args:
        typer.type_of(node)
    return typer.error(f"{call.name}() must be assigned directly to a map", call.span, f"@ = {call.name}(…);")


def _lower_aggregate(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    raise AssertionError(f"{call.name} was lowered as a value")


OUTPUT_FUNCTIONS = (
    Function("cat", 1, MANY, _check_printf, _lower_printf, "void cat(format, …): print a file", when="reader"),
    Function("clear", 1, 1, _check_whole_map, _lower_clear, "void clear(@m): delete all elements", when="reader"),
    Function("delete", 1, 2, _check_element, _lower_delete, "bool delete(@m, key): delete an element"),
    Function(
        "errorf",
        1,
        MANY,
        _check_printf,
        _lower_printf,
        "void errorf(format, …): print an error with its place",
        when="reader",
    ),
    Function("exit", 0, 1, _check_exit, _lower_exit, "void exit([code]): end the run", when="reader"),
    Function("has_key", 2, 2, _check_element, _lower_has_key, "bool has_key(@m, key): whether there is an element"),
    Function(
        "join", 1, 2, _check_join, _lower_join, "void join(argv[, separator]): print an array of strings", when="reader"
    ),
    Function("len", 1, 1, _check_len, _lower_len, "int64 len(@m) or len(stack): number of elements or frames"),
    Function(
        "print",
        1,
        3,
        _check_print,
        _lower_print,
        "void print(x) or print(@m[, top[, div]]): a value, or a map (its greatest elements, divided)",
        when="reader",
    ),
    Function("printf", 1, MANY, _check_printf, _lower_printf, "void printf(format, …): print text", when="reader"),
    Function(
        "system",
        1,
        MANY,
        _check_printf,
        _lower_printf,
        "void system(format, …): run a command",
        unsafe=True,
        when="reader",
    ),
    Function("time", 0, 1, _check_time, _lower_time, "void time([format]): print the time of day", when="reader"),
    Function(
        "warnf",
        1,
        MANY,
        _check_printf,
        _lower_printf,
        "void warnf(format, …): print a warning with its place",
        when="reader",
    ),
    Function("zero", 1, 1, _check_whole_map, _lower_clear, "void zero(@m): set all values to 0", when="reader"),
    *(Function(row.name, 0, MANY, _check_aggregate, _lower_aggregate, row.doc) for row in AGGREGATES.values()),
)
