"""The functions on addresses and packets of the network, and on byte order, as table rows."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.comptime import base_name
from trapline.frontends.bpftrace.memory import check_pointer, pointer_of
from trapline.frontends.bpftrace.tables import Function
from trapline.hints import TYPE_CHECKING
from trapline.ir import spec
from trapline.ir.function import Convert, Op
from trapline.ir.types import I32, Space

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
    from trapline.frontends.bpftrace.lower import Lowerer

AF_INET, AF_INET6 = 2, 10
_BPF_F_CURRENT_CPU = 0xFFFFFFFF
_MOST_BYTES = 0xFFFFF  # BPF_F_CTXLEN_MASK >> 32
_PACKET_HEADER = 16


# ---------------------------------------------------------------- ntop, pton


def _check_ntop(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kinds = [typer.type_of(a) for a in call.args]
    kind = kinds[-1]
    if len(kinds) == 2 and not isinstance(kinds[0], t.IntT | t.EnumT | t.UnknownT):
        return typer.error(f"ntop() takes the address family as an integer, not {kinds[0]}", call.span)
    if isinstance(kind, t.ArrayT | t.StringT):
        if kind.size not in (4, 16) or (isinstance(kind, t.ArrayT) and kind.element.size != 1):
            return typer.error("ntop() expects an array of 4 or 16 bytes", call.span)
    elif not isinstance(kind, t.IntT | t.PtrT | t.UnknownT):
        return typer.error(f"ntop() expects an integer or an array of bytes, not {kind}", call.span)
    return t.InetT()


def _lower_ntop(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    b = low.b
    node = call.args[-1]
    kind = low.type(node)
    memory = isinstance(kind, t.ArrayT | t.StringT)
    size = kind.size if memory else 16 if isinstance(kind, t.PtrT) else 4
    family: Op = b.i32(AF_INET6 if size == 16 else AF_INET)
    if len(call.args) == 2:
        family = b.resize(low.number(call.args[0]), I32, signed=False)
    b.store(family, target)
    if memory or isinstance(kind, t.PtrT):
        b.copy(b.offset(target, 4), low.address(node) if memory else pointer_of(low, node), size)
    else:
        b.store(b.resize(low.number(node), I32, signed=False), b.offset(target, 4))
    for at in range(4 + size, 20, 4):
        b.store(b.i32(0), b.offset(target, at))


def _check_pton(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    typer.type_of(call.args[0])
    text = typer.literal_string(call.args[0])
    if text is None:
        return typer.error("pton() expects a string literal as its argument", call.span)
    shown = text.decode("utf-8", "replace")
    if b"." not in text and b":" not in text:
        return typer.error(f"pton() expects an IPv4 or IPv6 address, got {shown}", call.span)
    address = _parse_address(shown)
    if address is None:
        return typer.error(f"pton() expects a valid IPv4/IPv6 address, got {shown}", call.span)
    return t.ArrayT(t.IntT(1, False), len(address))


def _parse_address(text: str) -> bytes | None:
    import socket  # few programs need it

    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return None


def _lower_pton(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    text = low.typer.literal_string(call.args[0]) or b""
    low.store_bytes(target, _parse_address(text.decode("utf-8", "replace")) or b"")


# ---------------------------------------------------------------- macaddr, bswap


def _check_macaddr(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if typer.literal_string(call.args[0]) is not None:
        return typer.error("macaddr() does not support literal string arguments", call.span)
    if isinstance(kind, t.ArrayT | t.StringT) and kind.size < 6:
        return typer.error("macaddr() argument must be at least 6 bytes in size", call.span)
    return t.MacT() if check_pointer(typer, call, kind) else t.UNKNOWN


def _lower_macaddr(low: Lowerer, call: ast.Call, target: Op | None) -> None:
    assert target is not None
    low.b.copy(target, pointer_of(low, call.args[0]), 6)


def _check_bswap(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    kind = typer.type_of(call.args[0])
    if isinstance(kind, t.UnknownT):
        return kind
    if not isinstance(kind, t.IntT | t.EnumT):
        return typer.error(f"bswap() only supports integer arguments ({base_name(kind)} provided)", call.span)
    return t.IntT(kind.size, False)


def _lower_bswap(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    value = low.value(call.args[0])
    if value.type.size == 1:
        return value
    return low.b.emit(Convert(value.type, "bswap", value))


# ---------------------------------------------------------------- sockets

_TRAMPOLINES = ("fentry", "fexit", "rawtracepoint", "iter")


def _check_cookie(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    if typer.site.provider not in _TRAMPOLINES:
        typer.error(f'socket_cookie can not be used with "{typer.site.provider}" probes', call.span)
    kind = typer.type_of(call.args[0])
    wanted = isinstance(kind, t.PtrT) and isinstance(kind.target, t.RecordT)
    if not wanted and not isinstance(kind, t.UnknownT):
        return typer.error(f"socket_cookie() expects a struct sock *, not {kind}", call.span)
    return t.UINT64


def _lower_cookie(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    pointer = low.b.to_pointer(low.number(call.args[0]), Space.KERNEL)
    return low.b.helper("get_socket_cookie", pointer)


# ---------------------------------------------------------------- skboutput


def _check_skboutput(typer: ExpressionTyper, call: ast.Call) -> t.Type:
    path, packet, *numbers = call.args
    kinds = [typer.type_of(node) for node in call.args]
    if typer.site.program_type != "TRACING":
        return typer.error(f'skboutput can not be used with "{typer.site.provider}" probes', call.span)
    if typer.literal_string(path) is None:
        return typer.error(f"skboutput() expects a string literal ({base_name(kinds[0])} provided)", call.span)
    if not isinstance(kinds[1], t.PtrT | t.UnknownT):
        return typer.error(f"skboutput() only supports pointer arguments ({base_name(kinds[1])} provided)", call.span)
    record = kinds[1].target if isinstance(kinds[1], t.PtrT) else t.UNKNOWN
    if not isinstance(record, t.UnknownT) and str(record) != "struct sk_buff":
        return typer.error(f"skboutput() expects a struct sk_buff *, not {kinds[1]}", packet.span)
    for kind in kinds[2:]:
        if not isinstance(kind, t.IntT | t.UnknownT):
            return typer.error(f"skboutput() only supports int arguments ({base_name(kind)} provided)", call.span)
    if typer.constant(numbers[1]) is None:
        return typer.error(f"skboutput() expects an int literal ({base_name(kinds[3])} provided)", call.span)
    return t.INT64


def _lower_skboutput(low: Lowerer, call: ast.Call, target: Op | None) -> Op:
    b = low.b
    path = (low.typer.literal_string(call.args[0]) or b"").decode("utf-8", "surrogateescape")
    event = spec.PacketEvent(path, low.typer.constant(call.args[3]) or 0, _PACKET_HEADER)
    number = low.module.add_event(event)
    cpus = low.knowledge.target.possible_cpus
    packets = low.module.add_map(spec.MapSpec(spec.PACKETS, "PERF_EVENT_ARRAY", 4, 4, cpus))
    packet = b.to_pointer(low.number(call.args[1]), Space.KERNEL)
    length = b.binary("and", low.number(call.args[2]), b.i64(_MOST_BYTES))
    header = b.local(_PACKET_HEADER, "packet")
    shifted = b.binary("shl", length, b.i64(32))
    b.store(b.binary("or", shifted, b.i64(number)), header)  # {u32 event; u32 length}, little endian
    b.store(b.helper("ktime_get_boot_ns"), b.offset(header, 8))
    flags = b.binary("or", shifted, b.i64(_BPF_F_CURRENT_CPU))
    result = b.helper("skb_output", packet, b.map(packets), flags, header, b.i64(_PACKET_HEADER))
    with b.when(b.compare("slt", result, b.i64(0))):
        low.fault("helper", "skb_output", call, result)
    return result


NETWORK_FUNCTIONS = (
    Function("bswap", 1, 1, _check_bswap, _lower_bswap, "uintN bswap(n): reverse the bytes of an integer of N bits"),
    Function("macaddr", 1, 1, _check_macaddr, _lower_macaddr, "macaddr_t macaddr(p): the hardware address at p"),
    Function(
        "ntop",
        1,
        2,
        _check_ntop,
        _lower_ntop,
        "inet ntop([family,] address): an IP address as text; an integer or 4 bytes are IPv4, 16 bytes IPv6",
    ),
    Function(
        "skboutput",
        4,
        4,
        _check_skboutput,
        _lower_skboutput,
        'int64 skboutput("file", skb, length, skip): write a packet to a pcap file; 0, or what went wrong',
        needs="fentry, fexit",
    ),
    Function(
        "pton",
        1,
        1,
        _check_pton,
        _lower_pton,
        'uint8[] pton("address"): the bytes of an IPv4 (4) or IPv6 (16) address',
        when="compile",
    ),
    Function(
        "socket_cookie",
        1,
        1,
        _check_cookie,
        _lower_cookie,
        "uint64 socket_cookie(sk): the kernel's number of a socket",
        needs="fentry, fexit, rawtracepoint or iter",
    ),
)
