"""The functions on tasks, cgroups and clocks, as table rows."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.errors import TargetError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.builtins import BUILTINS, COMM_BYTES, RELATIVES, check_path, lower_path
from trapline.frontends.bpftrace.memory import literal_text
from trapline.frontends.bpftrace.tables import Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I32, I64, Ptr, Space
from trapline.records import annotations_of

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_CLOCKS = {"boot": "ktime_get_boot_ns", "monotonic": "ktime_get_ns", "tai": "ktime_get_tai_ns", "sw_tai": ""}
# Program types that may call bpf_task_from_pid (Linux 6.2, since 6.12 the last two).
_TASK_KFUNCS = ("TRACING", "TRACEPOINT", "PERF_EVENT")


def _as_builtin(call: ast.Call) -> ast.Identifier:
    return ast.Identifier(call.span, call.name)


# ---------------------------------------------------------------- comm, ppid, pcomm, leader_tid, leader_comm


def _check_comm(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if not call.args:
        return BUILTINS["comm"].check(typer, _as_builtin(call))
    typer.integer_of(call.args[0], "the argument of comm()")
    target = typer.knowledge.target
    if not target.has_btf or target.btf.func("bpf_task_from_pid") is None:
        return typer.error("comm(pid) needs Linux 6.2 (bpf_task_from_pid)", call.span)
    if typer.site.program_type not in _TASK_KFUNCS:
        return typer.error(f"comm(pid) is not supported in a {typer.site.provider} probe", call.span)
    return t.StringT(COMM_BYTES)


def _lower_comm(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    b = low.b
    if not call.args:
        BUILTINS["comm"].lower(low, _as_builtin(call), target)
        return
    kind = BUILTINS["curtask"].check(low.typer, _as_builtin(call))
    assert isinstance(kind, t.PtrT) and isinstance(kind.target, t.RecordT)
    field = kind.target.members.field("comm")
    assert field is not None
    number = b.resize(low.number(call.args[0]), I32, signed=True)
    task = b.kfunc("bpf_task_from_pid", number, returns=Ptr(Space.BTF))
    found, missing, after = b.new_block("found"), b.new_block("missing"), b.new_block("named")
    b.branch(b.compare("ne", task, b.null(Space.BTF)), found, missing)
    b.start(found)
    address = b.binary("add", b.to_integer(task), b.i64(field.offset))
    low.read_string(target, b.i32(COMM_BYTES), b.to_pointer(address, Space.KERNEL))
    b.kfunc("bpf_task_release", task)
    b.jump(after)
    b.start(missing)
    low.store_bytes(target, b"N/A\0")
    fields, size = low.plan_fields([t.INT32], ["pid"])
    place = (call.span.start, call.span.end)
    with low.record(spec.PrintfEvent("No such process (pid=%d)", fields, size, "warn", place)) as record:
        b.store(number, b.offset(record, fields[0].offset))
    b.jump(after)
    b.start(after)


def _check_relative(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if not call.args:
        return BUILTINS[call.name].check(typer, _as_builtin(call))
    kind = typer.type_of(call.args[0])
    if isinstance(kind, t.UnknownT):
        return kind
    path = RELATIVES[call.name]
    if not isinstance(kind, t.PtrT) or not isinstance(kind.target, t.RecordT):
        return typer.error(f"Can not access field '{path[0]}' on expression of type '{kind}'", call.span)
    return check_path(typer, call, kind, path)


def _lower_relative(low: Lowerer, call: ast.Call, target: Op | None) -> Op | None:
    if not call.args:
        return BUILTINS[call.name].lower(low, _as_builtin(call), target)
    return lower_path(low, low.number(call.args[0]), low.type(call.args[0]), RELATIVES[call.name], target)


# ---------------------------------------------------------------- pid, tid, cgroups


def _check_id(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if call.args:
        node = call.args[0]
        if not isinstance(node, ast.Identifier):
            return typer.error(f"{call.name}() only supports curr_ns and init as the argument", call.span)
        if node.name not in ("curr_ns", "init"):
            message = f"Invalid PID namespace mode: {node.name} (expects: curr_ns or init)"
            return typer.error(message, node.span)
    return t.UINT32


def _lower_id(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    node = call.args[0] if call.args else None
    b = low.b
    if isinstance(node, ast.Identifier) and node.name == "init":
        both = b.helper("get_current_pid_tgid")
        return b.resize(b.binary("lshr", both, b.i64(32)) if call.name == "pid" else both, I32, signed=False)
    return low.current_pid() if call.name == "pid" else low.current_tid()


def _check_cgroupid(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    path = literal_text(typer, call.args[0], "the argument of cgroupid()")
    if path is None:
        return t.UNKNOWN
    try:
        typer.knowledge.target.cgroup_id(path.decode("utf-8", "surrogateescape"))
    except TargetError as error:
        return typer.error(error.message, call.span, *([error.hint] if error.hint else []))
    return t.UINT64


def _lower_cgroupid(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    path = (low.typer.literal_string(call.args[0]) or b"").decode("utf-8", "surrogateescape")
    return low.b.i64(low.knowledge.target.cgroup_id(path))


def _check_cgroup_path(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.integer_of(call.args[0], "the argument of cgroup_path()")
    pattern: bytes | None = b""
    if len(call.args) == 2:
        pattern = literal_text(typer, call.args[1], "the filter of cgroup_path()")
    return t.UNKNOWN if pattern is None else t.WordT("cgroup_path_t", pattern.decode("utf-8", "surrogateescape"))


def _lower_cgroup_path(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    return low.number(call.args[0])


# ---------------------------------------------------------------- clocks


def _check_clock(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if call.args:
        node = call.args[0]
        if not isinstance(node, ast.Identifier):
            return typer.error("nsecs() takes boot, monotonic, tai or sw_tai", node.span)
        if node.name not in _CLOCKS:
            return typer.error(f"Invalid timestamp mode: {node.name}", node.span, f"Known: {', '.join(_CLOCKS)}.")
    return t.UINT64


def _mode(call: ast.Call) -> str:
    node = call.args[0] if call.args else None
    return node.name if isinstance(node, ast.Identifier) else "boot"


def _lower_clock(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    mode = _mode(call)
    if mode != "sw_tai":
        return b.helper(_CLOCKS[mode])
    # The clock's distance from the boot clock, as it was when the program was loaded.
    offset = b.map_value(low.module.add_map(spec.MapSpec(spec.TAI, "ARRAY", 4, 8, 1)))
    return b.binary("add", b.helper("ktime_get_boot_ns"), b.load(I64, offset))


def _check_strftime(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    text = literal_text(typer, call.args[0], "the format of strftime()")
    typer.integer_of(call.args[1], "the time of strftime()")
    clock = _clock_of(typer, call.args[1])
    if clock == "monotonic":
        return typer.error("strftime() can not take a monotonic timestamp", call.span, "Use nsecs or nsecs(tai).")
    return t.UNKNOWN if text is None else t.WordT("timestamp", text.decode("utf-8", "surrogateescape"), clock)


def _clock_of(typer: ExpressionTyper, node: ast.Expr) -> str:
    """Return the clock that a time was read from: by the call itself, or by what its variable was assigned."""
    if isinstance(node, ast.Call) and node.name == "nsecs":
        return _mode(node)
    if isinstance(node, ast.Variable):
        for statement in _statements(typer.site.probe.body):
            if isinstance(statement, ast.Assign | ast.Let) and isinstance(statement.value, ast.Call):
                target = statement.target
                if isinstance(target, ast.Variable) and target.name == node.name and statement.value.name == "nsecs":
                    return _mode(statement.value)
    return "boot"


def _statements(node: object) -> Iterator[ast.Node]:
    if isinstance(node, tuple):
        for item in node:
            yield from _statements(item)
    elif isinstance(node, ast.Node):
        yield node
        for name in annotations_of(type(node)):
            yield from _statements(getattr(node, name))


def _lower_strftime(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    return low.number(call.args[1])


def _relative(name: str) -> Function:
    what = BUILTINS[name].doc
    gives = BUILTINS[name].gives
    return Function(name, 0, 1, _check_relative, _lower_relative, f"{gives} {name}([task]): {what}")


TASK_FUNCTIONS: tuple[Function, ...] = (
    Function(
        "cgroup_path",
        1,
        2,
        _check_cgroup_path,
        _lower_cgroup_path,
        'cgroup_path_t cgroup_path(id[, "hierarchies"]): the path of a cgroup, found when it is printed',
    ),
    Function(
        "cgroupid",
        1,
        1,
        _check_cgroupid,
        _lower_cgroupid,
        'uint64 cgroupid("path"): the id of a cgroup (v2)',
        when="compile",
    ),
    Function(
        "comm",
        0,
        1,
        _check_comm,
        _lower_comm,
        "string comm([pid]): name of the current thread, or of another one",
        needs="with a pid: Linux 6.2 and a probe that may call bpf_task_from_pid()",
    ),
    *(_relative(name) for name in RELATIVES),
    Function(
        "nsecs",
        0,
        1,
        _check_clock,
        _lower_clock,
        "uint64 nsecs([boot | monotonic | tai | sw_tai]): nanoseconds of a clock",
    ),
    Function(
        "pid", 0, 1, _check_id, _lower_id, "uint32 pid([curr_ns | init]): process id, as that pid namespace numbers it"
    ),
    Function(
        "strftime",
        2,
        2,
        _check_strftime,
        _lower_strftime,
        "timestamp strftime(format, nsecs): a time as text; also %f microseconds, %l milliseconds, %k nanoseconds",
    ),
    Function(
        "tid", 0, 1, _check_id, _lower_id, "uint32 tid([curr_ns | init]): thread id, as that pid namespace numbers it"
    ),
)
