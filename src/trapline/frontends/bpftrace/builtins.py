"""The built-ins: bare words that have a value, as table rows."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import find_type
from trapline.frontends.bpftrace.tables import Builtin
from trapline.hints import TYPE_CHECKING
from trapline.ir.function import Helper, Local, Offset, Op
from trapline.ir.types import I8, I32, I64, Ptr, Space, integer

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

COMM_BYTES = 16
DEFAULT_FRAMES = 127
_USER_CODE_SEGMENT = 3


def fixed(type_: t.Type) -> Callable[[ExpressionTyper, ast.Node], t.Type]:
    """Return a type rule that always gives `type_`."""
    return lambda typer, node: type_


def _helper(name: str, bits: int = 64) -> Callable[[Lowerer, ast.Identifier, Op | None], Op]:
    width = I64 if bits == 64 else I32

    def lower(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
        return low.b.resize(low.b.helper(name), width, signed=False)

    return lower


def _lower_pid(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.current_pid()


def _lower_tid(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.current_tid()


def _lower_uid(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.binary("and", low.b.helper("get_current_uid_gid"), low.b.i64(0xFFFFFFFF))


def _lower_gid(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.binary("lshr", low.b.helper("get_current_uid_gid"), low.b.i64(32))


def _lower_comm(low: Lowerer, node: ast.Identifier, target: Op | None) -> None:
    assert target is not None
    b = low.b
    at = low.task_members().get("comm", -1)
    if at % 8 or not _is_aligned(target):
        b.helper("get_current_comm", target, b.i32(COMM_BYTES))
        return
    task = b.helper("get_current_task_btf", returns=Ptr(Space.BTF))
    for word in range(0, COMM_BYTES, 8):
        part = b.load(I64, b.offset(task, at + word, "comm"))
        if word == COMM_BYTES - 8:  # as the helper: it ends with NUL, even if the kernel's is longer one day
            part = b.binary("and", part, b.i64((1 << 56) - 1))
        b.store(part, b.offset(target, word))


def _is_aligned(place: Op) -> bool:
    """Tell whether 8 bytes can be stored at a place: variables and records begin at a multiple of 8."""
    distance = 0
    while isinstance(place, Offset):
        if place.index is not None:
            return False
        distance += place.constant
        place = place.pointer
    return distance % 8 == 0 and (isinstance(place, Helper) or (isinstance(place, Local) and place.align == 8))


def _check_task(typer: ExpressionTyper, node: ast.Node) -> t.Type:
    target = typer.knowledge.target
    task = find_type(target.btf, "struct", "task_struct") if target.has_btf else None
    return t.PtrT(task) if task is not None else t.UINT64


def _lower_task(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.helper("get_current_task")


RELATIVES = {
    "leader_comm": ("group_leader", "comm"),
    "leader_tid": ("group_leader", "pid"),
    "pcomm": ("real_parent", "comm"),
    "ppid": ("real_parent", "tgid"),
}


def _check_relative(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    task = _check_task(typer, node)
    if not isinstance(task, t.PtrT):
        return typer.error(f"{node.name} needs the kernel's type information", node.span)
    return check_path(typer, node, task, RELATIVES[node.name])


def check_path(typer: ExpressionTyper, node: ast.Expr, kind: t.Type, path: tuple[str, ...]) -> t.Type:
    """Return the type of the member that a path leads to, from a pointer to a record."""
    for name in path:
        record = kind.target if isinstance(kind, t.PtrT) else kind
        field = record.members.field(name) if isinstance(record, t.RecordT) else None
        if field is None:
            return typer.error(f"Can not access field '{name}' on expression of type '{record}'", node.span)
        kind = field.type
    return kind


def _lower_relative(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op | None:
    task = low.b.helper("get_current_task")
    return lower_path(low, task, _check_task(low.typer, node), RELATIVES[node.name], target)


def lower_path(low: Lowerer, start: Op, kind: t.Type, path: tuple[str, ...], target: Op | None) -> Op | None:
    """Follow a path of members from the pointer `start`: return the last one's value, or write it to `target`."""
    b = low.b
    at: Op = b.to_pointer(start, Space.KERNEL)
    for name in path:
        if isinstance(kind, t.PtrT):
            kind = kind.target
        assert isinstance(kind, t.RecordT)
        field = kind.members.field(name)
        assert field is not None
        at = b.offset(at, field.offset, name)
        kind = field.type
        if name != path[-1] and isinstance(kind, t.PtrT):
            at = b.to_pointer(b.load(I64, at), Space.KERNEL)
    if target is None:
        return b.load(integer(kind.size), at)
    low.copy(at, kind, target, kind)
    return None


def _lower_ncpus(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.i64(low.knowledge.target.possible_cpus)


def _lower_elapsed(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    b = low.b
    now = b.helper("ktime_get_boot_ns")
    start_at = low.knowledge.options.start_nsecs
    if start_at:
        return b.binary("sub", now, b.i64(start_at))
    place = b.map_value(low.start_map())
    with b.when(b.compare("eq", b.load(I64, place), b.i64(0))):
        b.store(now, place)
    return b.binary("sub", now, b.load(I64, place))


def _check_func(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    site = typer.site
    if site.user:
        if site.at_return and not typer.knowledge.target.has("uprobe_multi"):
            return typer.error("func in a uretprobe needs Linux 6.6", node.span, "Use probe, or a uprobe.")
        return t.UsymT()
    if site.provider in ("kprobe", "kretprobe", "fentry", "fexit"):
        return t.WordT("ksym_t")
    return typer.error(f"func is not available in a {site.provider} probe", node.span)


def _lower_func(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op | None:
    b = low.b
    site = low.site
    point = site.point
    if site.provider == "kprobe" and (point.offset or point.address is not None):
        return _register(low, low.knowledge.target.arch.ip)
    if not site.user:
        return b.helper("get_func_ip", b.context)
    assert target is not None
    store_usym(low, probed_address(low), target)
    return None


def probed_address(low: Lowerer) -> Op:
    """Return where the probe is: of a uretprobe the function's start."""
    # The helper knows uprobes since Linux 6.6, as uprobe_multi; before, a uretprobe knows its caller only.
    if low.site.at_return and low.knowledge.target.has("uprobe_multi"):
        return low.b.helper("get_func_ip", low.b.context)
    return _register(low, low.knowledge.target.arch.ip)


def store_usym(low: Lowerer, address: Op, target: Op) -> None:
    """Write a user address with the process it belongs to."""
    b = low.b
    b.store(address, target)
    b.store(b.resize(low.current_pid(), I64, signed=False), b.offset(target, 8))


def _register(low: Lowerer, name: str) -> Op:
    arch = low.knowledge.target.arch
    return low.b.load(I64, low.b.offset(low.b.context, arch.registers[name], name))


def _check_probe(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    typer.uses_probe = True
    return t.WordT("probe")


def _lower_probe(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.cookie()


def _check_probetype(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    return t.StringT(len(_probetype(typer.site.provider)) + 1)


def _probetype(provider: str) -> bytes:
    return b"special" if provider in ("begin", "end", "self", "test", "bench") else provider.encode()


def _lower_probetype(low: Lowerer, node: ast.Identifier, target: Op | None) -> None:
    assert target is not None
    low.store_bytes(target, _probetype(low.site.provider) + b"\0")


def _check_retval(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    site = typer.site
    if site.retval is not None:
        return site.retval
    if site.provider == "fexit":
        return typer.error(f"{site.label} returns nothing", node.span)
    return typer.error(
        f"retval is not available in a {site.provider} probe", node.span, "Use a kretprobe, fexit or uretprobe."
    )


def _lower_retval(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    b = low.b
    if low.site.has_registers:
        return _register(low, low.knowledge.target.arch.ret)
    value = b.local(8, "retval", zero=True)
    b.helper("get_func_ret", b.context, value)
    return b.load(integer(low.type(node).size), value)


def _check_args(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    arguments = typer.arguments
    if arguments.missing:
        return typer.error(arguments.missing, node.span, *([arguments.hint] if arguments.hint else []))
    return t.ArgsT()


def _lower_nothing(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.i64(0)


def _lower_context(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.to_integer(low.b.context)


def _check_context(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    if typer.site.provider == "iter":
        return t.ArgsT()
    if not typer.site.has_registers and typer.site.program_type != "PERF_EVENT":
        return typer.error(f"ctx is not available in a {typer.site.provider} probe", node.span)
    return t.UINT64


def _lower_child(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.i64(low.knowledge.options.child_pid)


def _lower_has_child(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    return low.b.const(I8, int(low.knowledge.options.child_pid != 0))


def _check_usermode(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    if typer.knowledge.target.arch.name != "x86_64":
        return typer.error("usermode is known on x86_64 only", node.span)
    if not typer.site.has_registers and typer.site.program_type != "PERF_EVENT":
        return typer.error(f"usermode is not available in a {typer.site.provider} probe", node.span)
    return t.BOOL


def _lower_usermode(low: Lowerer, node: ast.Identifier, target: Op | None) -> Op:
    b = low.b
    segment = _register(low, "cs")
    user = b.compare("eq", b.binary("and", segment, b.i64(_USER_CODE_SEGMENT)), b.i64(_USER_CODE_SEGMENT))
    return b.resize(user, I8, signed=False)


def _check_stack(typer: ExpressionTyper, node: ast.Identifier) -> t.Type:
    mode = typer.knowledge.config.text("stack_mode")
    if node.name == "kstack" and mode == "build_id":
        mode = "raw"  # the setting is meant for user stacks
    return t.StackT(node.name == "kstack", DEFAULT_FRAMES, mode)


def _lower_stack(low: Lowerer, node: ast.Identifier, target: Op | None) -> None:
    kind = low.typer.types.get(node) or _check_stack(low.typer, node)
    assert isinstance(kind, t.StackT) and target is not None
    read_stack(low, kind, target)


_BPF_F_USER_STACK = 1 << 8
_BPF_F_USER_BUILD_ID = 1 << 11


def read_stack(low: Lowerer, kind: t.StackT, target: Op) -> None:
    """Write the current stack to memory: the process, the number of frames, and the frames (see `StackV`)."""
    b = low.b
    flags = 0 if kind.kernel else _BPF_F_USER_STACK | (_BPF_F_USER_BUILD_ID if kind.mode == "build_id" else 0)
    count = b.i64(0)
    if kind.limit:
        context = low.context_for_helpers()
        frames = b.offset(target, 8)
        size = b.helper("get_stack", context, frames, b.i32(kind.frame_size * kind.limit), b.i64(flags))
        whole = b.binary("lshr", size, b.i64(kind.frame_size.bit_length() - 1))
        count = b.select(b.compare("sgt", size, b.i64(0)), whole, b.i64(0))
    pid = b.i32(0) if kind.kernel else low.current_pid()
    b.store(pid, target)
    b.store(b.resize(count, I32, signed=False), b.offset(target, 4))


UINT = t.UINT64
BUILTINS: dict[str, Builtin] = {
    row.name: row
    for row in (
        Builtin(
            "args",
            _check_args,
            _lower_nothing,
            "the probe's arguments: args.NAME",
            "struct",
            "tracepoint, rawtracepoint, kprobe, kretprobe, fentry, fexit, uprobe",
        ),
        Builtin(
            "cgroup", fixed(UINT), _helper("get_current_cgroup_id"), "cgroup (v2) id of the current process", "uint64"
        ),
        Builtin("comm", fixed(t.StringT(COMM_BYTES)), _lower_comm, "name of the current thread", "string[16]"),
        Builtin("cpid", fixed(UINT), _lower_child, "pid of the command that -c started", "uint64", "-c"),
        Builtin("cpu", fixed(UINT), _helper("get_smp_processor_id"), "number of the CPU", "uint64"),
        Builtin(
            "ctx",
            _check_context,
            _lower_context,
            "address of the probe's raw context",
            "uint64",
            "kprobe, uprobe, profile, interval, software, hardware",
        ),
        Builtin("curtask", _check_task, _lower_task, "the current struct task_struct *", "struct task_struct *"),
        Builtin("elapsed", fixed(UINT), _lower_elapsed, "nanoseconds since the start", "uint64"),
        Builtin(
            "func",
            _check_func,
            _lower_func,
            "the probed function",
            "ksym_t or usym_t",
            "kprobe, kretprobe, fentry, fexit, uprobe, uretprobe",
        ),
        Builtin("gid", fixed(UINT), _lower_gid, "group id", "uint64"),
        Builtin("has_cpid", fixed(t.BOOL), _lower_has_child, "whether -c started a command", "bool"),
        Builtin("jiffies", fixed(UINT), _helper("jiffies64"), "the kernel's jiffies", "uint64"),
        Builtin("kstack", _check_stack, _lower_stack, "kernel stack", "kstack_t"),
        Builtin(
            "leader_comm",
            _check_relative,
            _lower_relative,
            "name of the thread group's leader",
            "string[16]",
            "the kernel's type information",
        ),
        Builtin(
            "leader_tid",
            _check_relative,
            _lower_relative,
            "thread id of the thread group's leader",
            "int32",
            "the kernel's type information",
        ),
        Builtin("ncpus", fixed(UINT), _lower_ncpus, "number of possible CPUs", "uint64"),
        Builtin("nsecs", fixed(UINT), _helper("ktime_get_boot_ns"), "nanoseconds since boot", "uint64"),
        Builtin("numaid", fixed(t.UINT32), _helper("get_numa_node_id", 32), "NUMA node", "uint32"),
        Builtin(
            "pcomm",
            _check_relative,
            _lower_relative,
            "name of the parent process",
            "string[16]",
            "the kernel's type information",
        ),
        Builtin("pid", fixed(t.UINT32), _lower_pid, "process id", "uint32"),
        Builtin(
            "ppid",
            _check_relative,
            _lower_relative,
            "process id of the parent",
            "int32",
            "the kernel's type information",
        ),
        Builtin("probe", _check_probe, _lower_probe, "full name of the probe", "string"),
        Builtin("probetype", _check_probetype, _lower_probetype, "the probe's provider", "string"),
        Builtin("rand", fixed(t.UINT32), _helper("get_prandom_u32", 32), "a random number", "uint32"),
        Builtin(
            "retval",
            _check_retval,
            _lower_retval,
            "what the function returned",
            "uint64, or the function's type",
            "kretprobe, fexit, uretprobe",
        ),
        Builtin("tid", fixed(t.UINT32), _lower_tid, "thread id", "uint32"),
        Builtin("uid", fixed(UINT), _lower_uid, "user id", "uint64"),
        Builtin(
            "usermode",
            _check_usermode,
            _lower_usermode,
            "whether user code was interrupted",
            "bool",
            "x86_64; kprobe, uprobe, profile, interval, software, hardware",
        ),
        Builtin("username", fixed(t.WordT("username_t")), _lower_uid, "name of the user", "username_t"),
        Builtin("ustack", _check_stack, _lower_stack, "user stack", "ustack_t"),
    )
}
