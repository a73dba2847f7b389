"""Calls by name: static functions are inlined, compiler built-ins expanded, the rest are helpers of the kernel."""

from __future__ import annotations

from collections.abc import Callable

from trapline.abi.helper_ids import HELPERS
from trapline.clang.ctype import CArray, CInt, CPointer, CRecord, CType, CVoid
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_packets import PACKET_FUNCTIONS
from trapline.frontends.bcc_c.lowerer import Frame, Lowerer, ir_type, is_scalar
from trapline.frontends.bcc_c.printk_format import complaint
from trapline.ir import function as f
from trapline.ir.types import I8, I32, I64, Int, Ptr, Space

_MAX_DEPTH = 64
_INLINE_STRING = 256
_ATOMICS = {"add": "add", "sub": "add", "and": "and", "or": "or", "xor": "xor"}

# Helpers whose result is a pointer, and where it points.
_POINTERS = {
    "map_lookup_elem": Space.MAP,
    "map_lookup_percpu_elem": Space.MAP,
    "ringbuf_reserve": Space.RECORD,
    "get_local_storage": Space.MAP,
    "sk_storage_get": Space.MAP,
    "inode_storage_get": Space.MAP,
    "task_storage_get": Space.MAP,
    "cgrp_storage_get": Space.MAP,
    "get_current_task_btf": Space.BTF,
    "per_cpu_ptr": Space.BTF,
    "this_cpu_ptr": Space.BTF,
    "skc_to_tcp_sock": Space.BTF,
    "skc_to_tcp6_sock": Space.BTF,
    "skc_to_udp6_sock": Space.BTF,
    "skc_to_unix_sock": Space.BTF,
    "sock_from_file": Space.BTF,
}


def strip_casts(expr: tree.Expr) -> tree.Expr:
    """Return the expression without the conversions around it."""
    while isinstance(expr, tree.Cast):
        expr = expr.operand
    return expr


def value_call(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    """Lower a call."""
    builtin = _BUILTINS.get(expr.name)
    if builtin is not None:
        return builtin(lo, expr)
    if expr.callee is not None:
        return inline(lo, expr.callee, expr.arguments, expr)
    if expr.name.startswith("__sync_"):
        return _sync(lo, expr)
    name = expr.name.removeprefix("bpf_")
    if expr.name.startswith("bpf_") and name in HELPERS:
        return call_helper(lo, name, [_helper_argument(lo, argument) for argument in expr.arguments], expr.type)
    raise lo.unsupported(f"the function '{expr.name}' is not available in BPF programs", expr)


def _helper_argument(lo: Lowerer, argument: tree.Expr) -> f.Op:
    size = isinstance(argument.type, CInt) and argument.type.bits == 32 and not argument.type.signed
    return lo.size(argument) if size else lo.wide(argument)


def call_helper(lo: Lowerer, name: str, arguments: list[f.Op], type_: CType) -> f.Op:
    """Call a helper and convert its result to a C type."""
    if len(arguments) > 5:
        raise lo.unsupported(f"bpf_{name}() takes at most 5 arguments", None)
    space = _POINTERS.get(name)
    if space is not None:
        return lo.b.helper(name, *arguments, returns=Ptr(space))
    result = lo.b.helper(name, *arguments)
    if isinstance(type_, CPointer):
        return lo.b.to_pointer(result, Space.INFER)
    return lo.b.resize(result, Int(type_.bits), signed=True) if isinstance(type_, CInt) else result


def inline(lo: Lowerer, function: tree.FunctionTree, arguments: tuple[tree.Expr, ...], node: tree.Node | None) -> f.Op:
    """Lower a function's body in place of its call."""
    if any(frame.function is function for frame in lo.frames):
        raise lo.unsupported(f"'{function.name}' calls itself: recursion is not possible in BPF", node)
    if len(lo.frames) > _MAX_DEPTH:
        raise lo.unsupported("functions are nested too deeply", node)
    frame = Frame(function, lo.b.new_block("returned"), None)
    for parameter, argument in zip(function.parameters, arguments, strict=False):
        bind_parameter(lo, frame, parameter, _argument(lo, argument, parameter.type))
    if not isinstance(function.returns, CVoid):
        frame.result = lo.temporary(function.returns)
    lo.frames.append(frame)
    lo.statement(function.body)
    lo.frames.pop()
    lo.b.jump(frame.end)
    lo.b.start(frame.end)
    if frame.result is None:
        return lo.b.i32(0)
    if isinstance(function.returns, CRecord):
        return frame.result
    return lo.b.load(ir_type(function.returns), frame.result)


def _argument(lo: Lowerer, argument: tree.Expr, type_: CType) -> f.Op:
    return lo.converted(argument, type_) if is_scalar(type_) else lo.value(argument)


def bind_parameter(lo: Lowerer, frame: Frame, parameter: tree.Variable, value: f.Op) -> None:
    """Give a parameter its value."""
    if is_scalar(parameter.type):
        if parameter.changed:
            frame.bindings[parameter] = lo.variable(value, parameter.name)
        else:
            frame.bindings[parameter] = value
            frame.values.add(parameter)
        return
    address = lo.temporary(parameter.type, parameter.name)
    lo.b.copy(address, value, parameter.type.size)
    frame.bindings[parameter] = address


# ---------------------------------------------------------------- built-ins of the compiler


def _constant_argument(lo: Lowerer, expr: tree.CallFunction, index: int) -> int:
    argument = expr.arguments[index]
    while isinstance(argument, tree.Cast) and isinstance(argument.type, CInt):
        argument = argument.operand
    value = lo.value(argument)
    if not isinstance(value, f.Const):
        raise lo.unsupported(
            f"the size given to {expr.name.removeprefix('__builtin_')}() must be a constant",
            expr.arguments[index],
            "bpf_probe_read_kernel() copies a number of bytes that is only known when the program runs",
        )
    return value.value


def _memcpy(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    target = lo.value(expr.arguments[0])
    size = _constant_argument(lo, expr, 2)
    source = lo.value(expr.arguments[1])
    literal = lo.unit.statics.literal_at(source)
    if literal is not None and size <= _INLINE_STRING:
        # Scripts copy sizeof(field) bytes of a shorter literal: what C leaves undefined is zero here.
        lo.store_bytes(target, literal[:size].ljust(size, b"\0"))
        return target
    if size:
        lo.b.copy(target, source, size)
    return target


def _memset(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    target = lo.value(expr.arguments[0])
    byte = _constant_argument(lo, expr, 1)
    size = _constant_argument(lo, expr, 2)
    if size:
        lo.b.fill(target, size, byte & 0xFF)
    return target


def _memcmp(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    left, right = lo.value(expr.arguments[0]), lo.value(expr.arguments[1])
    size = _constant_argument(lo, expr, 2)
    slot = lo.local(4)
    after = lo.b.new_block("compared")
    for index in range(size):
        first = lo.b.resize(lo.b.load(I8, lo.b.offset(left, index)), I32, signed=False)
        second = lo.b.resize(lo.b.load(I8, lo.b.offset(right, index)), I32, signed=False)
        lo.b.store(lo.b.binary("sub", first, second), slot)
        same = lo.b.new_block("same")
        lo.b.branch(lo.b.compare("ne", first, second), after, same)
        lo.b.start(same)
    if not size:
        lo.b.store(lo.b.i32(0), slot)
    lo.b.jump(after)
    lo.b.start(after)
    return lo.b.load(I32, slot)


def _expect(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    return lo.converted(expr.arguments[0], expr.type)


def _constant_p(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    return lo.b.i32(int(isinstance(expr.arguments[0], tree.IntLiteral)))


def _bswap(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    value = lo.converted(expr.arguments[0], expr.type)
    return lo.b.emit(f.Convert(value.type, "bswap", value))


def _same(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    return lo.value(expr.arguments[0])


def _unreachable(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    lo.returning_zero()
    return lo.b.i32(0)


def _sync(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    name = expr.name.removeprefix("__sync_")
    pointer_type = expr.arguments[0].type
    if name == "synchronize" or not isinstance(pointer_type, CPointer):
        lo.b.barrier()
        return lo.b.i32(0)
    element = pointer_type.pointee
    pointer = lo.value(expr.arguments[0])
    if not isinstance(element, CInt) or element.size not in (4, 8):
        raise lo.unsupported("atomic operations need 4 or 8 bytes", expr)
    value = lo.converted(expr.arguments[1], element)
    if name == "lock_test_and_set":
        return lo.b.atomic("xchg", pointer, value, fetch=True)
    before = name.startswith("fetch_and_")
    operation = name.removeprefix("fetch_and_") if before else name.removesuffix("_and_fetch")
    if operation not in _ATOMICS:
        raise lo.unsupported(f"'{expr.name}' is not supported", expr)
    amount = lo.b.binary("sub", lo.b.const(value.type, 0), value) if operation == "sub" else value
    old = lo.b.atomic(_ATOMICS[operation], pointer, amount, fetch=not expr.unused)
    if before or expr.unused:
        return old
    return lo.b.binary(_ATOMICS[operation], old, amount)


# ---------------------------------------------------------------- functions that BCC rewrites


def _trace_printk(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    """Copy the format to the stack and give its size: ``bpf_trace_printk(fmt, size, …)``."""
    if not expr.arguments:
        raise lo.unsupported("bpf_trace_printk() needs a format string", expr)
    rest = expr.arguments[1:]
    first = strip_casts(expr.arguments[0])
    if not isinstance(first.type, CArray):
        raise lo.unsupported(
            "the format of bpf_trace_printk() must be a string literal", expr, 'write bpf_trace_printk("...", ...)'
        )
    if isinstance(first, tree.StringLiteral):
        address = lo.local(len(first.data), "format")
        lo.store_bytes(address, first.data)
        wrong = complaint(first.data.rstrip(b"\0"))
        if wrong is not None:
            message, hint = wrong
            lo.unit.diagnostics.warning(message, lo.unit.source.span(*first.span) if first.span else None, hint)
    else:
        address = lo.place(first).address
        if rest and isinstance(rest[0], tree.IntLiteral) and rest[0].value == first.type.size:
            rest = rest[1:]  # written for the bare helper: bpf_trace_printk(fmt, sizeof(fmt), …)
    if len(rest) > 3:
        raise lo.unsupported(
            "bpf_trace_printk() prints at most 3 values", rest[3], "use BPF_PERF_OUTPUT and perf_submit() instead"
        )
    values = [lo.wide(argument) for argument in rest]
    result = lo.b.helper("trace_printk", address, lo.b.i64(first.type.size), *values)
    return lo.b.resize(result, I32, signed=True)


def _num_cpus(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    return lo.b.i32(lo.unit.target.possible_cpus)


def _usdt_readarg(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    """Call the reader that the Python side put before the text: ``_bpf_readarg_<program>_<i>``."""
    number = _constant_argument(lo, expr, 0)
    reader = lo.unit.find_function(f"_bpf_readarg_{lo.program.name}_{number}")
    if reader is None:
        raise lo.unsupported(
            f"no USDT probe with an argument {number} is enabled for '{lo.program.name}'",
            expr,
            "call USDT.enable_probe() with this function's name, and pass usdt_contexts= to BPF()",
        )
    pointee = expr.arguments[2].type
    target = expr.arguments[2]
    while isinstance(target, tree.Cast) and isinstance(target.operand.type, CPointer):
        target = target.operand
        pointee = target.type
    size = pointee.pointee.size if isinstance(pointee, CPointer) else 8
    length = tree.IntLiteral(CInt("unsigned long", 8, False, 4), size, span=expr.span)
    return inline(lo, reader, (expr.arguments[1], expr.arguments[2], length), expr)


def _usdt_readarg_p(lo: Lowerer, expr: tree.CallFunction) -> f.Op:
    """Read an argument, and then the user memory that it points to."""
    slot = lo.local(8, "argument")
    lo.b.store(lo.b.i64(0), slot)
    number = _constant_argument(lo, expr, 0)
    reader = lo.unit.find_function(f"_bpf_readarg_{lo.program.name}_{number}")
    if reader is None:
        raise lo.unsupported(f"no USDT probe with an argument {number} is enabled for '{lo.program.name}'", expr)
    frame_variable = tree.Variable("argument", CInt("unsigned long long", 8, False, 5), changed=True)
    lo.frame.bindings[frame_variable] = slot
    reference = tree.VariableRef(frame_variable.type, frame_variable)
    pointer = tree.Unary(expr.arguments[2].type, "&", reference)
    length = tree.IntLiteral(CInt("unsigned long", 8, False, 4), 8, span=expr.span)
    inline(lo, reader, (expr.arguments[1], pointer, length), expr)
    address = lo.b.load(I64, slot)
    result = lo.b.helper("probe_read_user", lo.value(expr.arguments[2]), lo.wide(expr.arguments[3]), address)
    return lo.b.resize(result, I32, signed=True)


VALUE_CALL = value_call

_BUILTINS: dict[str, Callable[[Lowerer, tree.CallFunction], f.Op]] = {
    "__builtin_memcpy": _memcpy,
    "__builtin_memmove": _memcpy,
    "__builtin_memset": _memset,
    "__builtin_memcmp": _memcmp,
    "memcpy": _memcpy,
    "memmove": _memcpy,
    "memset": _memset,
    "memcmp": _memcmp,
    "__builtin_expect": _expect,
    "__builtin_constant_p": _constant_p,
    "__builtin_bswap16": _bswap,
    "__builtin_bswap32": _bswap,
    "__builtin_bswap64": _bswap,
    "__builtin_preserve_access_index": _same,
    "__builtin_unreachable": _unreachable,
    "__builtin_trap": _unreachable,
    "bpf_trace_printk": _trace_printk,
    "bpf_num_cpus": _num_cpus,
    "bpf_usdt_readarg": _usdt_readarg,
    "bpf_usdt_readarg_p": _usdt_readarg_p,
    **PACKET_FUNCTIONS,
}
