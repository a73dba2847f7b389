"""The functions on pointers into the kernel, and on its paths, as table rows."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import base_name
from trapline.frontends.bpftrace.tables import Function
from trapline.hints import TYPE_CHECKING
from trapline.ir.function import Op
from trapline.ir.target import Target as Machine
from trapline.ir.types import I8, I64, Ptr, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_MAX_ERRNO = 4095
_PATH_PROVIDERS = ("fentry", "fexit", "iter")


# ---------------------------------------------------------------- percpu_kaddr


def _check_per_cpu(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node = call.args[0]
    kind = typer.type_of(node)
    name = typer.literal_string(node)
    for number in call.args[1:]:
        given = typer.type_of(number)
        if not isinstance(given, t.IntT | t.UnknownT):
            typer.error(f"percpu_kaddr() only supports int arguments ({base_name(given)} provided)", call.span)
    if name is None:
        return typer.error(f"percpu_kaddr() expects a string literal ({base_name(kind)} provided)", call.span)
    if _per_cpu_address(typer.knowledge.target, name) is None:
        text = name.decode("utf-8", "replace")
        hint = f"The kernel's symbols, which root can read in /proc/kallsyms, have no variable {text} kept per CPU."
        return typer.error(f'Could not resolve variable "{text}" from BTF', call.span, hint)
    return t.PtrT(t.UINT64)


def _per_cpu_address(target: Machine, name: bytes) -> int | None:
    """Return where each CPU's copy of a variable is, before the CPU's offset is added."""
    marks = ("__per_cpu_start", "__per_cpu_end", "__per_cpu_offset", name.decode("utf-8", "replace"))
    start, end, offsets, address = map(target.symbol_address, marks)
    if end is None or offsets is None or address is None:
        return None
    return address if (start or 0) <= address < end else None  # until Linux 6.15, x86 has them from address 0 on


def _lower_per_cpu(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    machine = low.knowledge.target
    address = _per_cpu_address(machine, low.typer.literal_string(call.args[0]) or b"")
    offsets = machine.symbol_address("__per_cpu_offset")
    assert address is not None and offsets is not None
    if len(call.args) == 1:
        cpu = b.resize(b.helper("get_smp_processor_id"), I64, signed=False)
    else:
        cpu = low.number(call.args[1])
    there = b.compare("ult", cpu, b.i64(machine.possible_cpus))
    place = b.element(b.const(Ptr(Space.KERNEL), offsets), b.select(there, cpu, b.i64(0)), 8)
    return b.select(there, b.binary("add", b.load(I64, place), b.i64(address)), b.i64(0))


# ---------------------------------------------------------------- is_err, container_of


def _check_error(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if not isinstance(kind, t.PtrT | t.IntT | t.UnknownT):
        return typer.error(f"is_err() expects a pointer, not {kind}", call.span)
    return t.BOOL


def _lower_error(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    return b.resize(b.compare("uge", low.number(call.args[0]), b.i64(-_MAX_ERRNO)), I8, signed=False)


def _member_path(node: ast.Expr) -> tuple[str, ...] | None:
    """Return the names of ``a.b.c``."""
    if isinstance(node, ast.Identifier):
        return (node.name,)
    if isinstance(node, ast.FieldAccess):
        before = _member_path(node.base)
        return None if before is None else (*before, node.name)
    return None


def _container(typer: ExpressionTyper, call: ast.Call) -> tuple[t.Type, int] | None:
    """Return the type around a member and the member's offset; ``None`` after an error."""
    node = call.args[1]
    if not isinstance(node, ast.TypeArgument):
        typer.error("container_of() takes a type as its second argument", node.span, "Write typeof(struct name).")
        return None
    outer = kind = typer.written_type(node.type)
    path = _member_path(call.args[2])
    if path is None:
        typer.error("container_of() takes the name of a member as its third argument", call.args[2].span)
        return None
    at = 0
    for name in path:
        found = kind.members.field(name) if isinstance(kind, t.RecordT) else None
        if found is None:
            if not isinstance(kind, t.UnknownT):
                typer.error(f"'{kind}' has no field named '{name}'", call.span)
            return None
        at += found.offset
        kind = found.type
    return outer, at


def _check_container(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    found = _container(typer, call)
    if found is None or isinstance(kind, t.UnknownT):
        return t.UNKNOWN
    if not isinstance(kind, t.PtrT | t.IntT):
        return typer.error(f"container_of() expects a pointer, not {kind}", call.args[0].span)
    return t.PtrT(found[0], kind.space if isinstance(kind, t.PtrT) else typer.default_space())


def _lower_container(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    found = _container(low.typer, call)
    assert found is not None
    return low.b.binary("sub", low.number(call.args[0]), low.b.i64(found[1]))


# ---------------------------------------------------------------- path


def _check_path(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if typer.site.provider not in _PATH_PROVIDERS:
        return typer.error("The path function can only be used with 'fentry', 'fexit', 'iter' probes", call.span)
    kind = typer.type_of(call.args[0])
    limit = typer.knowledge.config.integer("max_strlen")
    if len(call.args) == 2:
        typer.type_of(call.args[1])
        size = typer.constant(call.args[1])
        if size is None or size <= 0:
            return typer.error("path() takes a positive literal as its size", call.args[1].span)
        limit = min(limit, size)
    record = kind.target if isinstance(kind, t.PtrT) else kind
    if isinstance(kind, t.UnknownT):
        return kind
    if not isinstance(record, t.RecordT) or record.name != "struct path":
        return typer.error(f"path() expects a struct path or a pointer to one, not {kind}", call.span)
    return t.StringT(limit)


def _lower_path(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    b = low.b
    node = call.args[0]
    kind = low.type(node)
    pointer = b.to_pointer(low.number(node), Space.KERNEL) if isinstance(kind, t.PtrT) else low.address(node)
    b.store(b.const(I8, 0), target)
    result = b.helper("d_path", pointer, target, b.i32(low.type(call).size))
    with b.when(b.compare("slt", result, b.i64(0))):
        low.fault("helper", "d_path", call, result)


# ---------------------------------------------------------------- find


def _check_find(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    node, key, place = call.args
    if not isinstance(node, ast.MapName):
        return typer.error("find() expects a map to be provided", call.span)
    if not isinstance(place, ast.Variable):
        return typer.error("find() writes to a scratch variable", place.span, "let $v; find(@map, key, $v);")
    info = typer.map_info(node)
    typer.use_key(info, (key,), call.span)
    if isinstance(info.value, t.AggregateT) and info.value.histogram:
        return typer.unsupported("find() on a map of histograms is", call.span)
    variable = typer.written_variable(place)
    if variable is not None and not isinstance(info.value, t.UnknownT):
        kind = t.INT64 if isinstance(info.value, t.AggregateT) else info.value
        typer.assign_variable(variable, kind, call.span)
        typer.type_of(place)
    return t.BOOL


def _lower_find(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    node, key, place = call.args
    assert isinstance(node, ast.MapName) and isinstance(place, ast.Variable)
    info = low.info(node)
    memory, kind = low.address(place), low.type(place)
    element = ast.MapElement(call.span, node, (key,))
    found = b.map_lookup(info.name, low.key_of(info, (key,)))
    there = b.compare("ne", found, b.null(Space.MAP))
    result = b.variable(b.resize(there, I8, signed=False), "found")
    with b.when(there):
        if isinstance(info.value, t.AggregateT):
            b.store(low.aggregate_sum(element, info.value)[2], memory)
        else:
            low.copy_part(found, info.value, memory, kind)
    return b.load(I8, result)


KERNEL_FUNCTIONS = (
    Function(
        "container_of",
        3,
        3,
        _check_container,
        _lower_container,
        "T * container_of(p, typeof(T), member): the T around the member that p points to",
    ),
    Function(
        "find",
        3,
        3,
        _check_find,
        _lower_find,
        "bool find(@m, key, $v): whether there is an element; $v becomes its value",
    ),
    Function(
        "percpu_kaddr",
        1,
        2,
        _check_per_cpu,
        _lower_per_cpu,
        'uint64 * percpu_kaddr("symbol"[, cpu]): address of a CPU\'s copy of a variable; 0 if there is no such CPU',
    ),
    Function("is_err", 1, 1, _check_error, _lower_error, "bool is_err(p): whether a pointer of the kernel is an error"),
    Function(
        "path",
        1,
        2,
        _check_path,
        _lower_path,
        "string path(p[, size]): the file name of a struct path",
        needs="fentry, fexit or iter, where the kernel allows bpf_d_path()",
    ),
)
