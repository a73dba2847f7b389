"""The functions, as table rows: those that give a value."""

from __future__ import annotations

from collections.abc import Callable

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.builtins import DEFAULT_FRAMES, read_stack, store_usym
from trapline.frontends.bpftrace.comptime import base_name
from trapline.frontends.bpftrace.functions_comptime import COMPTIME_FUNCTIONS
from trapline.frontends.bpftrace.functions_kernel import KERNEL_FUNCTIONS
from trapline.frontends.bpftrace.functions_network import NETWORK_FUNCTIONS
from trapline.frontends.bpftrace.functions_output import OUTPUT_FUNCTIONS
from trapline.frontends.bpftrace.functions_strings import STRING_FUNCTIONS
from trapline.frontends.bpftrace.functions_system import SYSTEM_FUNCTIONS
from trapline.frontends.bpftrace.functions_task import TASK_FUNCTIONS
from trapline.frontends.bpftrace.functions_user import USER_FUNCTIONS
from trapline.frontends.bpftrace.memory import check_pointer, literal_text, pointer_of
from trapline.frontends.bpftrace.tables import MANY, Function
from trapline.hints import TYPE_CHECKING
from trapline.ir.function import Op
from trapline.ir.types import I32, I64, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_MAX_FRAMES = 1024
_STACK_MODES = ("bpftrace", "perf", "raw", "build_id")
_MODES_TEXT = "bpftrace, raw, perf, and build_id"


# ---------------------------------------------------------------- memory


def _check_str(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    first = call.args[0]
    literal = typer.literal_string(call)
    if literal is not None:
        if isinstance(first, ast.Positional):
            typer.type_of(first)
        return t.StringT(len(literal) + 1)
    ok = check_pointer(typer, call, typer.type_of(first))
    limit = typer.knowledge.config.integer("max_strlen")
    if len(call.args) == 2:
        typer.integer_of(call.args[1], "the length of str()")
        length = typer.constant(call.args[1])
        if length is not None:
            if length < 0:
                return typer.error(f"str cannot use a negative length ({length})", call.span)
            if length + 1 > limit:
                typer.warning(
                    f"length param ({length}) is too long and will be shortened to {limit} bytes", call.args[1].span
                )
            limit = min(limit, length + 1)
    return t.StringT(limit) if ok else t.UNKNOWN


def _lower_str(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    kind = low.type(call)
    assert isinstance(kind, t.StringT)
    b = low.b
    if isinstance(low.type(call.args[0]), t.StringT):
        low.into(call.args[0], target, kind)
        return
    size: Op = b.i32(kind.size)
    if len(call.args) == 2 and low.typer.constant(call.args[1]) is None:
        length = b.binary("add", low.number(call.args[1]), b.i64(1))
        short = b.compare("ult", length, b.i64(kind.size))
        size = b.resize(b.select(short, length, b.i64(kind.size)), I32, signed=False)
    low.read_string(target, size, pointer_of(low, call.args[0]))


def _check_buf(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    ok = check_pointer(typer, call, kind)
    limit = typer.knowledge.config.integer("max_strlen") - 4
    if len(call.args) == 2:
        typer.integer_of(call.args[1], "the length of buf()")
        length = typer.constant(call.args[1])
        if length is not None and length <= 0:
            return typer.error("buf() needs a positive length", call.args[1].span)
        limit = min(limit, length) if length is not None else limit
    elif isinstance(kind, t.ArrayT):
        limit = min(limit, kind.size)
    elif ok:
        return typer.error(f"buf() expects a length argument for non-array type {base_name(kind)}", call.span)
    return t.BufferT(limit) if ok else t.UNKNOWN


def _lower_buf(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    b = low.b
    kind = low.type(call)
    assert isinstance(kind, t.BufferT)
    size: Op = b.i64(kind.capacity)
    if len(call.args) == 2 and low.typer.constant(call.args[1]) is None:
        length = low.number(call.args[1])
        size = b.select(b.compare("ult", length, size), length, size)
    source = pointer_of(low, call.args[0])
    helper = "probe_read_user" if getattr(source.type, "space", None) is Space.USER else "probe_read"
    b.store(b.resize(size, I32, signed=False), target)
    b.helper(helper, b.offset(target, 4), b.resize(size, I32, signed=False), source)


def _check_space(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    space = Space.USER if call.name == "uptr" else Space.KERNEL
    if isinstance(kind, t.PtrT):
        return t.PtrT(kind.target, space)
    if isinstance(kind, t.IntT):
        return kind
    if isinstance(kind, t.UnknownT):
        return kind
    return typer.error(f"{call.name}() expects a pointer, not {kind}", call.span)


def _lower_space(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    return low.number(call.args[0])


# ---------------------------------------------------------------- symbols, registers, addresses


def _check_word(kind: str) -> Callable[[ExpressionTyper, ast.Call], t.Type]:
    def check(typer: ExpressionTyper, call: ast.Call) -> t.Type:
        typer.integer_of(call.args[0], f"the argument of {call.name}()")
        for other in call.args[1:]:
            typer.type_of(other)
        return t.UsymT() if kind == "usym_t" else t.WordT(kind)

    return check


def _lower_word(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    return low.number(call.args[0])


def _lower_usym(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    store_usym(low, low.number(call.args[0]), target)


def _check_kaddr(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    name = literal_text(typer, call.args[0], "the argument of kaddr()")
    if name is not None and typer.knowledge.target.symbol_address(name.decode("utf-8", "replace")) is None:
        return typer.error(f"Failed to resolve kernel symbol: {name.decode('utf-8', 'replace')}", call.span)
    return t.UINT64


def _lower_kaddr(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    name = low.typer.literal_string(call.args[0]) or b""
    return low.b.i64(low.knowledge.target.symbol_address(name.decode()) or 0)


def _check_reg(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    text = literal_text(typer, call.args[0], "the register's name")
    if not typer.site.has_registers and typer.site.program_type != "PERF_EVENT":
        return typer.error(f'reg can not be used with "{typer.site.provider}" probes', call.span)
    arch = typer.knowledge.target.arch
    if text is not None and _register_offset(typer, text) is None:
        known = " ".join(sorted(arch.registers))
        return typer.error(f"'{text.decode(errors='replace')}' is not a register of {arch.name}", call.span, known)
    return t.UINT64


def _register_offset(typer: ExpressionTyper, text: bytes) -> int | None:
    arch = typer.knowledge.target.arch
    name = text.decode("ascii", "replace")
    aliases = {"pc": arch.ip, "ip": arch.ip, "sp": arch.sp}
    return arch.registers.get(name, arch.registers.get(aliases.get(name, "")))


def _lower_reg(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    offset = _register_offset(low.typer, low.typer.literal_string(call.args[0]) or b"")
    return low.b.load(I64, low.b.offset(low.b.context, offset or 0))


def _check_stack(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    limit, mode = DEFAULT_FRAMES, typer.knowledge.config.text("stack_mode")
    if call.name == "kstack" and mode == "build_id":
        mode = "raw"  # the setting is meant for user stacks
    for position, node in enumerate(call.args):
        if isinstance(node, ast.Identifier) and node.name not in typer.knowledge.builtins:
            if node.name not in _STACK_MODES:
                message = f"{call.name}: Invalid value for stack_mode: valid values are {_MODES_TEXT}."
                return typer.error(f"Error parsing stack mode: {message}", node.span)
            if position:
                return typer.error("Expected stack mode as first argument", call.span)
            mode = node.name
            continue
        typer.type_of(node)
        value = typer.constant(node)
        if value is None or value < 0:
            return typer.error(f"{call.name}: invalid limit value", call.span)
        if value > _MAX_FRAMES:
            message = f"{call.name}([int limit]): limit shouldn't exceed {_MAX_FRAMES}, {value} given"
            return typer.error(message, call.span)
        limit = value
    if mode == "build_id" and call.name == "kstack":
        return typer.error("'build_id' stack mode can only be used for ustack", call.span)
    return t.StackT(call.name == "kstack", limit, mode)


def _lower_stack(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    kind = low.type(call)
    assert isinstance(kind, t.StackT) and target is not None
    read_stack(low, kind, target)


# ---------------------------------------------------------------- bytes


def _check_strncmp(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    for node in call.args[:2]:
        kind = typer.type_of(node)
        if not isinstance(kind, t.StringT | t.UnknownT):
            return typer.error(f"strncmp() only supports string arguments ({base_name(kind)} provided)", call.span)
    typer.type_of(call.args[2])
    size = typer.constant(call.args[2])
    if size is None or size < 0:
        return typer.error("Builtin strncmp requires a non-negative literal", call.span)
    return t.UINT64


def _lower_strncmp(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    limit = low.typer.constant(call.args[2]) or 0
    if not limit:
        return low.b.i64(0)
    equal = low.strings_equal(call.args[0], call.args[1], limit)
    return low.b.resize(low.b.invert(equal), I64, signed=False)


# ---------------------------------------------------------------- not yet


def _check_unsupported(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    return typer.unsupported(f"{call.name}() is", call.span)


def _lower_unsupported(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    raise AssertionError(f"{call.name} was lowered")


_LATER = "dw_ustack"

FUNCTIONS: dict[str, Function] = {
    row.name: row
    for row in (
        *OUTPUT_FUNCTIONS,
        *STRING_FUNCTIONS,
        *COMPTIME_FUNCTIONS,
        *KERNEL_FUNCTIONS,
        *NETWORK_FUNCTIONS,
        *SYSTEM_FUNCTIONS,
        *TASK_FUNCTIONS,
        *USER_FUNCTIONS,
        Function("buf", 1, 2, _check_buf, _lower_buf, "buffer buf(p[, n]): bytes of memory"),
        Function(
            "kaddr",
            1,
            1,
            _check_kaddr,
            _lower_kaddr,
            'uint64 kaddr("symbol"): address of a kernel symbol',
            when="compile",
        ),
        Function("kptr", 1, 1, _check_space, _lower_space, "T * kptr(p): the same pointer, into the kernel's memory"),
        Function("kstack", 0, 2, _check_stack, _lower_stack, "kstack_t kstack([mode][, limit]): kernel stack"),
        Function("ksym", 1, 1, _check_word("ksym_t"), _lower_word, "ksym_t ksym(a): kernel symbol of an address"),
        Function("reg", 1, 1, _check_reg, _lower_reg, 'uint64 reg("name"): a CPU register'),
        Function("str", 1, 2, _check_str, _lower_str, "string str(p[, n]): the string at an address"),
        Function(
            "strncmp", 3, 3, _check_strncmp, _lower_strncmp, "uint64 strncmp(a, b, n): 0 if the first n bytes are equal"
        ),
        Function("uptr", 1, 1, _check_space, _lower_space, "T * uptr(p): the same pointer, into user memory"),
        Function("ustack", 0, 2, _check_stack, _lower_stack, "ustack_t ustack([mode][, limit]): user stack"),
        Function("usym", 1, 1, _check_word("usym_t"), _lower_usym, "usym_t usym(a): user symbol of an address"),
        *(
            Function(name, 0, MANY, _check_unsupported, _lower_unsupported, "not supported yet")
            for name in _LATER.split()
        ),
    )
}
