"""The functions on strings and bytes in memory, as table rows."""

from __future__ import annotations

from collections.abc import Callable

from trapline.abi.number_names import ERRORS, SIGNALS, SYSCALLS, number_names
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.memory import pointer_of
from trapline.frontends.bpftrace.promotion import promote
from trapline.frontends.bpftrace.tables import Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.builder import Builder
from trapline.ir.function import Op
from trapline.ir.types import I8, I32, I64, Ptr, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

_NAME_BYTES = 64
_BPF_F_RDONLY_PROG = 1 << 7


def _string_like(typer: ExpressionTyper, node: ast.Expr) -> bool:
    """Type an argument that must be a string, bytes, or the address of either."""
    kind = typer.type_of(node)
    if isinstance(kind, t.UnknownT):
        return False
    if isinstance(kind, t.StringT | t.PtrT) or (isinstance(kind, t.ArrayT) and kind.element.size == 1):
        return True
    typer.error("string-like values must be either strings, arrays or pointers", node.span)
    return False


def _capacity(low: Lowerer | ExpressionTyper, kind: t.Type) -> int:
    """Return the bytes that a string-like value takes at most, its NUL included."""
    return low.knowledge.config.integer("max_strlen") if isinstance(kind, t.PtrT) else kind.size


def _source(low: Lowerer, node: ast.Expr) -> Op:
    """Return where the bytes of a string-like value are."""
    return pointer_of(low, node) if isinstance(low.type(node), t.PtrT) else low.address(node)


def _read(low: Lowerer, node: ast.Expr, target: Op, size: int) -> Op:
    """Read a string-like value to `target`, up to its NUL; return its length without it (i64, 0 if unreadable)."""
    b = low.b
    result = low.read_string(target, b.i32(size), _source(low, node))
    positive = b.compare("sgt", result, b.i64(0))
    return b.select(positive, b.binary("sub", result, b.i64(1)), b.i64(0))


# ---------------------------------------------------------------- strlen, strcap, str_concat


def _check_length(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    return t.UINT64 if _string_like(typer, call.args[0]) else t.UNKNOWN


def _lower_strlen(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    node = call.args[0]
    size = _capacity(low, low.type(node)) + 1  # one more than there is: a value may fill its place to the end
    return _read(low, node, low.b.local(size, "text"), size)


def _lower_strcap(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    node = call.args[0]
    kind = low.type(node)
    return _lower_strlen(low, call, target) if isinstance(kind, t.PtrT) else low.b.i64(kind.size)


def _check_concat(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    fits = [_string_like(typer, node) for node in call.args]
    # Its own size, so that $s = str_concat($s, "x") has a type at all.
    return t.StringT(typer.knowledge.config.integer("max_strlen")) if all(fits) else t.UNKNOWN


def _lower_concat(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    b = low.b
    first, second = (_capacity(low, low.type(node)) + 1 for node in call.args)
    limit = low.type(call).size
    both = b.local(first + second, "text")
    length = _read(low, call.args[0], both, first)
    inside = b.select(b.compare("ult", length, b.i64(first)), length, b.i64(0))  # the verifier does not know
    rest = b.element(both, inside, 1)
    b.store(b.const(I8, 0), rest)
    _read(low, call.args[1], rest, second)
    low.read_string(target, b.i32(limit), both)


# ---------------------------------------------------------------- strstr, strcontains, memcmp


def _check_search(result: t.Type) -> Callable[[ExpressionTyper, ast.Call], t.Type]:
    def check(typer: ExpressionTyper, call: ast.Call) -> t.Type:
        fits = [_string_like(typer, node) for node in call.args]
        return result if all(fits) else t.UNKNOWN

    return check


def _copy_string(low: Lowerer, node: ast.Expr) -> tuple[Op, int]:
    """Return the address and the size of a copy of a string-like value; NUL follows it in any case."""
    size = _capacity(low, low.type(node)) + 1
    copy = low.b.local(size, "text", zero=size <= 64)
    low.b.store(low.b.const(I8, 0), copy)
    _read(low, node, copy, size)
    return copy, size


def _lower_strstr(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    haystack, size = _copy_string(low, call.args[0])
    needle, needle_size = _copy_string(low, call.args[1])
    name = low.add_subprogram(f"strstr_{size}_{needle_size}", lambda name: _search(name, size, needle_size))
    state = b.local(24, "search", scratch=False)  # {haystack, needle, result}
    b.store(haystack, state)
    b.store(needle, b.offset(state, 8))
    b.store(b.i64(-1), b.offset(state, 16))
    b.helper("loop", b.i32(size), b.function_address(name), state, b.i64(0))
    return b.load(I64, b.offset(state, 16))


def _search(name: str, size: int, needle_size: int) -> Builder:
    """Build the step of a search: whether the needle stands at one position of the haystack."""
    b = Builder(name, (I64, Ptr(Space.STACK)))
    index, state = b.function.parameters
    haystack, needle = b.load(Ptr(Space.MAP), state), b.load(Ptr(Space.MAP), b.offset(state, 8))
    start = b.binary("and", index, b.i64(0xFFFFFFFF))
    at = b.variable(b.i64(0), "at")
    head, body, ended, inside, equal, differ, found, stop = (
        b.new_block(n) for n in ("head", "body", "ended", "inside", "equal", "differ", "found", "stop")
    )
    b.jump(head)
    b.start(head)
    place = b.load(I64, at)
    b.branch(b.compare("ult", place, b.i64(needle_size)), body, stop)
    b.start(body)
    wanted = b.load(I8, b.element(needle, place, 1))
    b.branch(b.truth(wanted), ended, found)
    b.start(ended)
    position = b.barrier(b.binary("add", start, place))  # else LLVM adds to the address what it has not compared
    b.branch(b.compare("ult", position, b.i64(size)), inside, stop)
    b.start(inside)
    here = b.load(I8, b.element(haystack, position, 1))
    b.branch(b.compare("eq", here, wanted), equal, differ)
    b.start(equal)
    b.store(b.binary("add", place, b.i64(1)), at)
    b.jump(head)
    b.start(differ)
    b.ret(b.resize(b.compare("eq", here, b.const(I8, 0)), I64, signed=False))  # 1 ends the loop
    b.start(found)
    b.store(start, b.offset(state, 16))
    b.jump(stop)
    b.start(stop)
    b.ret(b.i64(1))
    return b


def _lower_strcontains(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    return b.resize(b.compare("sge", _lower_strstr(low, call, target), b.i64(0)), I8, signed=False)


def _check_memcmp(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kinds = [typer.type_of(node) for node in call.args[:2]]
    typer.integer_of(call.args[2], "the size of memcmp()")
    for node, kind in zip(call.args, kinds, strict=False):
        if isinstance(kind, t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
            return typer.error(f"memcmp() cannot compare a value of type '{kind}'", node.span)
    return t.UNKNOWN if any(isinstance(kind, t.UnknownT) for kind in kinds) else t.INT32


def _check_memcmp_record(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    left, right = (t.decay(typer.type_of(node)) for node in call.args[:2])
    typer.integer_of(call.args[2], "the size of memcmp_record()")
    if isinstance(left, t.UnknownT) or isinstance(right, t.UnknownT):
        return t.UNKNOWN
    if promote(left, right) is None:
        message = f"memcmp_record() cannot compare values of the types '{left}' and '{right}'"
        return typer.error(message, call.args[1].span)
    return t.INT32


def _lower_memcmp_record(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    """Compare with a copy of the second record whose fields are ordered like those of the first."""
    kind = promote(*(t.decay(low.type(node)) for node in call.args[:2]))
    assert kind is not None
    copies = []
    for node in call.args[:2]:
        copy = low.b.local(kind.size, "record", zero=True)
        low.into(node, copy, kind)
        copies.append(copy)
    return _compare(low, call, copies, _most(low, call, kind.size))


def _most(low: Lowerer, call: ast.Call, size: int) -> int:
    """Return how many of `size` bytes a comparison may look at."""
    known = low.typer.constant(call.args[2])
    return size if known is None else max(0, min(size, known))


def _lower_memcmp(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    limit = _most(low, call, min(_capacity(low, low.type(node)) for node in call.args[:2]))
    copies = []
    for node in call.args[:2] if limit else ():
        copy = low.b.local(limit, "bytes", zero=True)
        low.b.copy(copy, _source(low, node), limit)
        copies.append(copy)
    return _compare(low, call, copies, limit)


def _compare(low: Lowerer, call: ast.Call, copies: list[Op], limit: int) -> Op:
    """Compare at most `limit` bytes, and at most as many as the third argument says."""
    b = low.b
    result = b.variable(b.i32(0), "difference")
    if limit == 0:
        return b.load(I32, result)
    count = b.i64(limit) if low.typer.constant(call.args[2]) is not None else low.number(call.args[2])
    at = b.variable(b.i64(0), "at")
    head, more, body, same, differ, after = (
        b.new_block(n) for n in ("compare", "more", "bytes", "same", "differ", "compared")
    )
    b.jump(head)
    b.start(head)
    index = b.load(I64, at)
    b.branch(b.compare("ult", index, b.i64(limit)), more, after)
    b.start(more)
    b.branch(b.compare("ult", index, count), body, after)
    b.start(body)
    left, right = (b.resize(b.load(I8, b.element(copy, index, 1)), I32, signed=False) for copy in copies)
    b.branch(b.compare("eq", left, right), same, differ)
    b.start(same)
    b.store(b.binary("add", index, b.i64(1)), at)
    b.jump(head)
    b.start(differ)
    b.store(b.binary("sub", left, right), result)
    b.jump(after)
    b.start(after)
    return b.load(I32, result)


# ---------------------------------------------------------------- names of numbers


def _check_name(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.integer_of(call.args[0], f"the argument of {call.name}()")
    return t.UNKNOWN if isinstance(kind, t.UnknownT) else t.StringT(_NAME_BYTES)


def _table_of(low: Lowerer, name: str) -> str:
    return {"strerror": ERRORS, "signal_name": SIGNALS}.get(name) or SYSCALLS + low.knowledge.target.arch.name


def _lower_name(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    """Copy the text out of a constant map: for a name that is a key, is compared or kept."""
    assert target is not None
    b = low.b
    names, other = number_names(_table_of(low, call.name))
    texts = b"".join([text.encode()[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0") for text in (*names, other)])
    table = spec.MapSpec(f".{call.name}", "ARRAY", 4, len(texts), 1, _BPF_F_RDONLY_PROG, initial=texts, frozen=True)
    name = low.module.add_map(table)
    number = b.resize(b.resize(low.number(call.args[0]), I32, signed=True), I64, signed=True)
    if call.name == "strerror":
        number = b.select(b.compare("slt", number, b.i64(0)), b.binary("sub", b.i64(0), number), number)
    inside = b.compare("ult", number, b.i64(len(names)))
    number = b.select(inside, number, b.i64(len(names)))
    b.copy(target, b.element(b.map_value(name), number, _NAME_BYTES), _NAME_BYTES)


def _print_name(low: Lowerer, call: ast.Call) -> tuple[Op, t.Type]:
    """Send the number only: the reader knows the names."""
    number = low.b.resize(low.b.resize(low.number(call.args[0]), I32, signed=True), I64, signed=True)
    return number, t.WordT("name", _table_of(low, call.name))


STRING_FUNCTIONS = (
    Function(
        "memcmp_record",
        3,
        3,
        _check_memcmp_record,
        _lower_memcmp_record,
        "int32 memcmp_record(a, b, size): memcmp() of two records, the fields of both in the order of the first",
    ),
    Function(
        "memcmp",
        3,
        3,
        _check_memcmp,
        _lower_memcmp,
        "int32 memcmp(a, b, size): compare bytes; 0 when they are equal, else the difference of the first that are not",
    ),
    Function(
        "signal_name", 1, 1, _check_name, _lower_name, "string signal_name(n): what a signal means", printed=_print_name
    ),
    Function("str_concat", 2, 2, _check_concat, _lower_concat, "string str_concat(a, b): one string behind the other"),
    Function(
        "strcap",
        1,
        1,
        _check_length,
        _lower_strcap,
        "uint64 strcap(s): bytes that a string or array has room for, the NUL included; of a pointer, like strlen",
    ),
    Function(
        "strcontains",
        2,
        2,
        _check_search(t.BOOL),
        _lower_strcontains,
        "bool strcontains(s, part): whether a string has another one in it",
        needs="bpf_loop (Linux 5.17)",
    ),
    Function(
        "strerror", 1, 1, _check_name, _lower_name, "string strerror(n): what an errno means", printed=_print_name
    ),
    Function("strlen", 1, 1, _check_length, _lower_strlen, "uint64 strlen(s): bytes before the NUL"),
    Function(
        "strstr",
        2,
        2,
        _check_search(t.INT64),
        _lower_strstr,
        "int64 strstr(s, part): where a string begins in another one, or -1",
        needs="bpf_loop (Linux 5.17)",
    ),
    Function(
        "syscall_name",
        1,
        1,
        _check_name,
        _lower_name,
        "string syscall_name(n): name of a system call by its number",
        printed=_print_name,
    ),
)
