"""``table.method(…)``: each method is a rule, as BCC's rewriter defines it."""

from __future__ import annotations

from collections.abc import Callable

from trapline.clang.ctype import CInt, CPointer, CVoid
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_calls import call_helper, strip_casts
from trapline.frontends.bcc_c.lowerer import Lowerer
from trapline.frontends.bcc_c.result import IntC, TableInfo
from trapline.ir import function as f
from trapline.ir.types import Int, Ptr, Space

BPF_NOEXIST = 1
BPF_F_CURRENT_CPU = 0xFFFFFFFF


def value_method(lo: Lowerer, expr: tree.CallMethod) -> f.Op:
    """Lower a method call on a map."""
    rule = _METHODS.get(expr.method)
    if rule is None:
        raise lo.unsupported(f"maps have no method '{expr.method}'", expr)
    table = lo.unit.tables[expr.table]
    kinds, apply = rule
    if kinds and table.kind not in kinds:
        raise lo.unsupported(f"'{expr.table}' is a {table.kind} map, which has no method '{expr.method}'", expr)
    return apply(lo, expr, table)


def _lookup(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return lo.b.map_lookup(table.name, lo.value(expr.arguments[0]))


def _lookup_or_try_init(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    key, initial = lo.value(expr.arguments[0]), lo.value(expr.arguments[1])
    slot = lo.local(8, "leaf")
    first = lo.b.map_lookup(table.name, key)
    lo.b.store(first, slot)
    with lo.b.when(lo.b.compare("eq", first, lo.b.null())):
        lo.b.map_update(table.name, key, initial, BPF_NOEXIST)
        lo.b.store(lo.b.map_lookup(table.name, key), slot)
    return lo.b.load(Ptr(Space.MAP), slot)


def _lookup_or_init(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    leaf = _lookup_or_try_init(lo, expr, table)
    with lo.b.when(lo.b.compare("eq", leaf, lo.b.null())):
        lo.returning_zero()  # BCC leaves the enclosing function
    return leaf


def _update(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return _with_flags(lo, expr, table, 0)


def _insert(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    if table.kind in ("array", "percpu_array"):
        lo.unit.diagnostics.warning(
            f"all elements of the array '{table.name}' exist already: insert() will always fail",
            lo.unit.source.span(*expr.span) if expr.span else None,
            "use update()",
        )
    return _with_flags(lo, expr, table, BPF_NOEXIST)


def _with_flags(lo: Lowerer, expr: tree.CallMethod, table: TableInfo, flags: int) -> f.Op:
    key, value = lo.value(expr.arguments[0]), lo.value(expr.arguments[1])
    return _result(lo, lo.b.map_update(table.name, key, value, flags), expr)


def _delete(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return _result(lo, lo.b.map_delete(table.name, lo.value(expr.arguments[0])), expr)


def _increment(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return _add(lo, expr, table, atomic=False)


def _atomic_increment(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return _add(lo, expr, table, atomic=True)


def _add(lo: Lowerer, expr: tree.CallMethod, table: TableInfo, *, atomic: bool) -> f.Op:
    leaf_type = table.leaf
    if not isinstance(leaf_type, IntC) or leaf_type.size > 8:
        raise lo.unsupported(f"the values of '{table.name}' are no integers to be incremented", expr)
    if atomic and leaf_type.size not in (4, 8):
        raise lo.unsupported("atomic_increment() needs values of 4 or 8 bytes", expr)
    type_ = Int(leaf_type.size * 8)
    argument = expr.arguments[0]
    key = lo.local(table.key.size, "key")
    value = lo.value(argument)
    if isinstance(argument.type, (CInt, CPointer)):
        lo.b.store(value, key)
    else:
        lo.b.copy(key, value, argument.type.size)
    amount = lo.b.const(type_, 1)
    if len(expr.arguments) > 1:
        extra = expr.arguments[1]
        signed = isinstance(extra.type, CInt) and extra.type.signed
        amount = lo.b.resize(lo.to_integer(lo.value(extra)), type_, signed=signed)
    leaf = lo.b.map_lookup(table.name, key)
    found, missing, after = lo.b.new_block("found"), lo.b.new_block("missing"), lo.b.new_block("after")
    lo.b.branch(lo.b.compare("ne", leaf, lo.b.null()), found, missing)
    lo.b.start(found)
    if atomic:
        lo.b.atomic("add", leaf, amount)
    else:
        lo.b.store(lo.b.binary("add", lo.b.load(type_, leaf), amount), leaf)
    lo.b.jump(after)
    lo.b.start(missing)
    if table.map_type == "HASH":  # as BCC: other kinds only count what exists
        lo.b.map_update(table.name, key, lo.variable(amount), BPF_NOEXIST)
    lo.b.jump(after)
    lo.b.start(after)
    return lo.b.i32(0)


def _perf_submit(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    context, data, size = expr.arguments
    _note_event(lo, table, data)
    flags = lo.b.i64(BPF_F_CURRENT_CPU)
    arguments = [lo.value(context), lo.b.map(table.name), flags, lo.value(data), lo.size(size)]
    return call_helper(lo, "perf_event_output", arguments, expr.type)


def _perf_submit_skb(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    context, length, data, size = expr.arguments
    _note_event(lo, table, data)
    flags = lo.b.binary("or", lo.b.binary("shl", lo.wide(length), lo.b.i64(32)), lo.b.i64(BPF_F_CURRENT_CPU))
    arguments = [lo.value(context), lo.b.map(table.name), flags, lo.value(data), lo.size(size)]
    return call_helper(lo, "perf_event_output", arguments, expr.type)


def _ringbuf_output(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    data, size, flags = expr.arguments
    _note_event(lo, table, data)
    arguments = [lo.b.map(table.name), lo.value(data), lo.size(size), lo.wide(flags)]
    return call_helper(lo, "ringbuf_output", arguments, expr.type)


def _ringbuf_reserve(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    arguments = [lo.b.map(table.name), lo.wide(expr.arguments[0]), lo.b.i64(0)]
    return call_helper(lo, "ringbuf_reserve", arguments, expr.type)


def _ringbuf_submit(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    _note_event(lo, table, expr.arguments[0])
    return _ringbuf_end(lo, expr, "ringbuf_submit")


def _ringbuf_discard(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    return _ringbuf_end(lo, expr, "ringbuf_discard")


def _ringbuf_end(lo: Lowerer, expr: tree.CallMethod, helper: str) -> f.Op:
    call_helper(lo, helper, [lo.value(expr.arguments[0]), lo.wide(expr.arguments[1])], expr.type)
    return lo.b.i32(0)


def _note_event(lo: Lowerer, table: TableInfo, data: tree.Expr) -> None:
    """Remember what type the table sends, for ``event()``."""
    data = strip_casts(data)
    pointee = data.type.pointee if isinstance(data.type, CPointer) else data.type
    if not isinstance(pointee, CVoid):
        lo.unit.events[table.name] = pointee


def _get_stackid(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    context, flags = expr.arguments
    arguments = [lo.value(context), lo.b.map(table.name), lo.wide(flags)]
    return call_helper(lo, "get_stackid", arguments, expr.type)


def _call(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
    context, index = expr.arguments
    return call_helper(lo, "tail_call", [lo.value(context), lo.b.map(table.name), lo.wide(index)], expr.type)


def _map_first(helper: str) -> Callable[[Lowerer, tree.CallMethod, TableInfo], f.Op]:
    """Make the rule for a helper that takes the map and then the method's arguments."""

    def rule(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
        arguments = [lo.b.map(table.name), *(lo.wide(argument) for argument in expr.arguments)]
        return call_helper(lo, helper, arguments, expr.type)

    return rule


def _context_first(helper: str) -> Callable[[Lowerer, tree.CallMethod, TableInfo], f.Op]:
    """Make the rule for a helper that takes the first argument, the map, and the rest."""

    def rule(lo: Lowerer, expr: tree.CallMethod, table: TableInfo) -> f.Op:
        first, *rest = (lo.wide(argument) for argument in expr.arguments)
        return call_helper(lo, helper, [first, lo.b.map(table.name), *rest], expr.type)

    return rule


def _result(lo: Lowerer, value: f.Op, expr: tree.CallMethod) -> f.Op:
    return lo.b.resize(value, Int(expr.type.bits), signed=True) if isinstance(expr.type, CInt) else value


_Rule = Callable[[Lowerer, tree.CallMethod, TableInfo], f.Op]
_ANY: tuple[str, ...] = ()
_RING = ("ringbuf",)

_METHODS: dict[str, tuple[tuple[str, ...], _Rule]] = {
    "lookup": (_ANY, _lookup),
    "lookup_or_init": (_ANY, _lookup_or_init),
    "lookup_or_try_init": (_ANY, _lookup_or_try_init),
    "lookup_percpu": (_ANY, _map_first("map_lookup_percpu_elem")),
    "update": (_ANY, _update),
    "insert": (_ANY, _insert),
    "delete": (_ANY, _delete),
    "increment": (_ANY, _increment),
    "atomic_increment": (_ANY, _atomic_increment),
    "push": (("queue", "stack"), _map_first("map_push_elem")),
    "pop": (("queue", "stack"), _map_first("map_pop_elem")),
    "peek": (("queue", "stack"), _map_first("map_peek_elem")),
    "perf_submit": (("perf_output",), _perf_submit),
    "perf_submit_skb": (("perf_output",), _perf_submit_skb),
    "perf_read": (("perf_array",), _map_first("perf_event_read")),
    "perf_counter_value": (("perf_array",), _map_first("perf_event_read_value")),
    "get_stackid": (("stacktrace",), _get_stackid),
    "ringbuf_output": (_RING, _ringbuf_output),
    "ringbuf_reserve": (_RING, _ringbuf_reserve),
    "ringbuf_submit": (_RING, _ringbuf_submit),
    "ringbuf_discard": (_RING, _ringbuf_discard),
    "ringbuf_query": (_RING, _map_first("ringbuf_query")),
    "call": (("prog",), _call),
    "check_current_task": (("cgroup_array",), _map_first("current_task_under_cgroup")),
    "redirect_map": (_ANY, _map_first("redirect_map")),
    "sock_map_update": (_ANY, _context_first("sock_map_update")),
    "sock_hash_update": (_ANY, _context_first("sock_hash_update")),
    "msg_redirect_hash": (_ANY, _context_first("msg_redirect_hash")),
    "sk_redirect_hash": (_ANY, _context_first("sk_redirect_hash")),
    "msg_redirect_map": (_ANY, _context_first("msg_redirect_map")),
    "sk_redirect_map": (_ANY, _context_first("sk_redirect_map")),
    "sk_storage_get": (_ANY, _map_first("sk_storage_get")),
    "sk_storage_delete": (_ANY, _map_first("sk_storage_delete")),
    "inode_storage_get": (_ANY, _map_first("inode_storage_get")),
    "inode_storage_delete": (_ANY, _map_first("inode_storage_delete")),
    "task_storage_get": (_ANY, _map_first("task_storage_get")),
    "task_storage_delete": (_ANY, _map_first("task_storage_delete")),
    "get_local_storage": (_ANY, _map_first("get_local_storage")),
}
