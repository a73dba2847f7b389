"""The functions that act on the traced system or on the run, as table rows."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import base_name
from trapline.frontends.bpftrace.formats import check_format, conversions
from trapline.frontends.bpftrace.memory import literal_text, pointer_of
from trapline.frontends.bpftrace.tables import Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Op
from trapline.ir.types import I32, I64, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_SIGNAL_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG"
    " XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
_SIGNALS = _SIGNAL_NAMES.split()
_LAST_SIGNAL = 64
# Providers whose probes do not run in the task that is traced.
_NO_TASK = ("begin", "end", "self", "interval", "software", "hardware", "iter", "test", "bench")
_DEBUG_ARGUMENTS = 3


# ---------------------------------------------------------------- signal, override, write_user


def _check_signal(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    provider = typer.site.provider
    if provider in _NO_TASK:
        shown = "special" if provider in ("begin", "end", "self") else provider
        typer.error(f"{call.name}() can not be used for this probetype {shown}", call.span)
    node = call.args[0]
    kind = typer.type_of(node)
    text = typer.literal_string(node)
    if text is not None:
        if _signal_number(text) is None:
            return typer.error(f"Invalid string for signal: {text.decode(errors='replace')}", call.span)
        return t.VOID
    value = typer.constant(node)
    known = value is None or 1 <= value <= _LAST_SIGNAL
    if not known or not isinstance(kind, t.IntT | t.EnumT | t.UnknownT):
        message = f"{call.name}() accepts a string literal or an integer between 1 and {_LAST_SIGNAL} (inclusive)"
        return typer.error(message, call.span)
    return t.VOID


def _signal_number(text: bytes) -> int | None:
    name = text.decode("ascii", "replace").removeprefix("SIG")
    return _SIGNALS.index(name) + 1 if name in _SIGNALS else None


def _check_signal_number(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    text = literal_text(typer, call.args[0], "the name of a signal")
    number = _signal_number(text or b"")
    if number is not None:
        return typer.type_as(call, number)
    if text is not None:
        typer.error(f"Invalid string for signal: {text.decode(errors='replace')}", call.span)
    return t.UNKNOWN


def _lower_signal_number(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    return low.value(low.typer.rewritten[call])


def _lower_signal(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    b = low.b
    text = low.typer.literal_string(call.args[0])
    if text is not None:
        number = b.i32(_signal_number(text) or 0)
    else:
        number = b.resize(low.number(call.args[0]), I32, signed=False)
    helper = "send_signal" if call.name == "signal" else "send_signal_thread"
    result = b.helper(helper, number)
    with b.when(b.compare("slt", result, b.i64(0))):
        low.fault("helper", helper, call, result)


def _check_override(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if typer.site.provider != "kprobe":
        return typer.error("override() can only be used inside kprobes", call.span)
    typer.integer_of(call.args[0], "the argument of override()")
    return t.VOID


def _lower_override(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    low.b.helper("override_return", low.b.context, low.number(call.args[0]))


def _written(node: ast.Expr) -> ast.Expr | None:
    """Return the variable whose memory ``&$x`` names."""
    if isinstance(node, ast.Unary) and node.op == "&" and isinstance(node.operand, ast.Variable):
        return node.operand
    return None


def _check_write(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    target, source, size = call.args
    typer.integer_of(target, "the address that write_user() writes to")
    typer.integer_of(size, "the size of write_user()")
    variable = _written(source)
    kind = typer.type_of(variable or source)
    if variable is None and not isinstance(kind, t.PtrT | t.IntT | t.ArrayT | t.StringT | t.UnknownT):
        return typer.error(f"write_user() cannot write a value of type '{kind}'", source.span, "Give its address.")
    known = typer.constant(size)
    if known is not None and known <= 0:
        return typer.error("write_user() needs a positive size", size.span)
    limit = kind.size if variable is not None or isinstance(kind, t.ArrayT | t.StringT) else None
    if known is not None and limit is not None and known > limit > 0:
        return typer.error(f"write_user() of {known} bytes, and there are {limit}", size.span)
    return t.VOID


def _lower_write(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    b = low.b
    address, source, size = call.args
    variable = _written(source)
    kind = low.type(variable or source)
    limit = low.knowledge.config.integer("max_strlen")
    if variable is not None or isinstance(kind, t.ArrayT | t.StringT):
        limit = kind.size
    known = low.typer.constant(size)
    limit = min(limit, known) if known is not None else limit
    count: Op = b.i64(limit)
    if known is None:
        given = low.number(size)
        count = b.select(b.compare("ult", given, count), given, count)
    copy = b.local(limit, "written", zero=True)
    b.copy(copy, low.address(variable) if variable is not None else pointer_of(low, source), limit)
    there = b.to_pointer(low.number(address), Space.USER)
    result = b.helper("probe_write_user", there, copy, b.resize(count, I32, signed=False))
    with b.when(b.compare("ne", result, b.i64(0))):
        low.fault("helper", "probe_write_user", call, result)


# ---------------------------------------------------------------- unwatch


def _check_unwatch(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if not isinstance(kind, (*t.NUMBERS, t.PtrT, t.WordT, t.UnknownT)):
        typer.error(f"unwatch() only supports int arguments ({base_name(kind)} provided)", call.span)
    return t.VOID


def _lower_unwatch(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    address = low.number(call.args[0])
    with low.record(spec.UnwatchEvent(low.header, low.header + 8)) as record:
        low.b.store(address, low.b.offset(record, low.header))


# ---------------------------------------------------------------- debugf


def _check_debugf(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.warning(
        "The debugf() builtin is not recommended for production use. For more information see bpf_trace_printk in"
        " bpf-helpers(7).",
        call.span,
    )
    typer.type_of(call.args[0])
    text = typer.literal_string(call.args[0])
    kinds = [typer.type_of(a) for a in call.args[1:]]
    if text is None:
        return typer.error("debugf() expects a string literal as its format", call.span)
    format_ = text.decode("utf-8", "surrogateescape")
    for _, message in check_format(format_, kinds, "debugf"):
        return typer.error(message, call.span)
    found = conversions(format_)
    for conversion in found:
        if conversion not in ("d", "i", "u", "x", "X", "p", "s"):
            typer.error(f"Invalid format specifier for `debugf`: {conversion}", call.args[0].span)
    if len(found) > _DEBUG_ARGUMENTS:
        typer.error(f"cannot use more than {_DEBUG_ARGUMENTS} conversion specifiers", call.span)
    for conversion, node, kind in zip(found, call.args[1:], kinds, strict=True):
        if conversion == "s" and not isinstance(kind, t.StringT | t.UnknownT):
            typer.error(f"debugf() shows strings with %s, not a value of type '{kind}'", node.span)
    return t.VOID


def _lower_debugf(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    b = low.b
    text = (low.typer.literal_string(call.args[0]) or b"") + b"\0"
    format_ = b.local(len(text), "format")
    low.store_bytes(format_, text)
    words = []
    for node in call.args[1:]:
        if isinstance(low.type(node), t.StringT):
            words.append(low.readable(node))
        else:
            words.append(b.resize(low.number(node), I64, signed=True))
    b.helper("trace_printk", format_, b.i32(len(text)), *words)


SYSTEM_FUNCTIONS = (
    Function(
        "debugf",
        1,
        1 + _DEBUG_ARGUMENTS + 8,
        _check_debugf,
        _lower_debugf,
        "void debugf(format, …): write to the kernel's trace buffer; at most 3 values",
    ),
    Function(
        "override",
        1,
        1,
        _check_override,
        _lower_override,
        "void override(n): do not run the probed function, return n",
        unsafe=True,
        needs="kprobe of a function that allows error injection (CONFIG_BPF_KPROBE_OVERRIDE)",
    ),
    Function(
        "signal",
        1,
        1,
        _check_signal,
        _lower_signal,
        'void signal(n | "NAME"): send a signal to the current process',
        unsafe=True,
        needs="a probe that runs in the traced task",
    ),
    Function(
        "signal_thread",
        1,
        1,
        _check_signal,
        _lower_signal,
        'void signal_thread(n | "NAME"): send a signal to the current thread',
        unsafe=True,
        needs="a probe that runs in the traced task",
    ),
    Function(
        "__builtin_signal_num",
        1,
        1,
        _check_signal_number,
        _lower_signal_number,
        '__builtin_signal_num("NAME"): the number of a signal',
        when="compile",
    ),
    Function(
        "unwatch",
        1,
        1,
        _check_unwatch,
        _lower_unwatch,
        "void unwatch(address): remove the watchpoints at an address",
        when="reader",
    ),
    Function(
        "write_user",
        3,
        3,
        _check_write,
        _lower_write,
        "void write_user(to, from, size): overwrite memory of the current process",
        unsafe=True,
        needs="a kernel that is not locked down",
    ),
)
