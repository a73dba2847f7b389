"""Bytes → Python objects: a value layout is compiled once into a closure, which then decodes every record.

make_decoder(TupleV(((0, IntV(4)), (8, StrV(16))), 24), namer)(record, 16)  →  (1, "cat")
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from trapline.errors import DecodeError, InternalError
from trapline.hints import Any
from trapline.ir import values as v
from trapline.runtime.merge import make_aggregate
from trapline.runtime.objects import (
    Enumerator,
    KernelSymbol,
    Namer,
    Pointer,
    Record,
    Stack,
    Timestamp,
    UserSymbol,
)

Buffer = bytes | bytearray | memoryview
Decoder = Callable[[Buffer, int], Any]

AF_INET = 2
AF_INET6 = 10

_INT_CODES = {(1, True): "b", (2, True): "h", (4, True): "i", (8, True): "q"}
_INT_CODES.update({(size, False): code.upper() for (size, _), code in list(_INT_CODES.items())})
_U32_PAIR = struct.Struct("<II")


def int_code(size: int, signed: bool) -> str:
    """Return the `struct` code of an integer of `size` bytes; an empty string when there is none."""
    return _INT_CODES.get((size, signed), "")


def make_decoder(value: v.Value, namer: Namer) -> Decoder:
    """Compile a layout.

    Args:
        value: the layout; of an aggregate, one part.
        namer: gives names to addresses, user ids, probes.

    Returns:
        ``decode(buffer, offset)``; it raises `DecodeError` when the buffer ends too early.
    """
    decode = _make(value, namer)
    size = value.size

    def checked(buffer: Buffer, offset: int) -> Any:
        if offset < 0 or len(buffer) - offset < size:
            raise DecodeError(f"a value of {size} bytes does not fit into {len(buffer)} bytes", offset=offset)
        return decode(buffer, offset)

    return checked


def decode(value: v.Value, buffer: Buffer, offset: int, namer: Namer) -> Any:
    """Decode one value; see `make_decoder`."""
    return make_decoder(value, namer)(buffer, offset)


def text_of(raw: bytes) -> str:
    """Return the text of kernel bytes: UTF-8, other bytes as surrogate escapes."""
    return raw.decode("utf-8", "surrogateescape")


def string_bytes(buffer: Buffer, offset: int, size: int) -> bytes:
    """Return the bytes before the first NUL in a field of `size` bytes."""
    raw = bytes(buffer[offset : offset + size])
    end = raw.find(b"\0")
    return raw if end < 0 else raw[:end]


def inet_text(family: int, address: bytes) -> str:
    """Return the text of an address: ``1.2.3.4`` or ``::1``; empty for an unknown family.

    Args:
        family: AF_INET or AF_INET6.
        address: 16 bytes; an IPv4 address is in the first four.
    """
    if family == AF_INET:
        return ".".join(map(str, address[:4]))
    if family == AF_INET6:
        import socket  # 2 ms that few programs need

        return socket.inet_ntop(socket.AF_INET6, address)
    return ""


def _make(value: v.Value, namer: Namer) -> Decoder:
    maker = _MAKERS.get(type(value))
    if maker is None:
        raise InternalError(f"no decoder for {type(value).__name__}")
    return maker(value, namer)


def _int(value: v.IntV, namer: Namer) -> Decoder:
    code = int_code(value.size, value.signed)
    if code:
        unpack = struct.Struct("<" + code).unpack_from
        return lambda buffer, offset: unpack(buffer, offset)[0]
    size, signed = value.size, value.signed
    return lambda buffer, offset: int.from_bytes(buffer[offset : offset + size], "little", signed=signed)


def _bool(value: v.BoolV, namer: Namer) -> Decoder:
    return lambda buffer, offset: buffer[offset] != 0


def _enum(value: v.EnumV, namer: Namer) -> Decoder:
    number = _int(v.IntV(value.size, value.signed), namer)
    known = {n: Enumerator(n, name) for n, name in reversed(value.names)}

    def decode(buffer: Buffer, offset: int) -> Enumerator:
        n = number(buffer, offset)
        found = known.get(n)
        return Enumerator(n, str(n)) if found is None else found

    return decode


def _pointer(value: v.PtrV, namer: Namer) -> Decoder:
    number = _int(v.IntV(value.size, False), namer)
    return lambda buffer, offset: Pointer(number(buffer, offset))


def _string(value: v.StrV, namer: Namer) -> Decoder:
    size = value.size
    return lambda buffer, offset: string_bytes(buffer, offset, size).decode("utf-8", "surrogateescape")


def _buffer(value: v.BufV, namer: Namer) -> Decoder:
    limit = value.size - 4
    length = struct.Struct("<I").unpack_from

    def decode(buffer: Buffer, offset: int) -> bytes:
        count = min(length(buffer, offset)[0], limit)
        return bytes(buffer[offset + 4 : offset + 4 + count])

    return decode


def _kernel_symbol(value: v.KsymV, namer: Namer) -> Decoder:
    number = _int(v.IntV(8, False), namer)
    return lambda buffer, offset: KernelSymbol(number(buffer, offset), namer)


def _user_symbol(value: v.UsymV, namer: Namer) -> Decoder:
    unpack = struct.Struct("<QI").unpack_from

    def decode(buffer: Buffer, offset: int) -> UserSymbol:
        address, pid = unpack(buffer, offset)
        return UserSymbol(address, pid, namer)

    return decode


_BUILD_ID = struct.Struct("<i20sQ")  # struct bpf_stack_build_id: status, build id, offset in the file or address
_VALID = 1  # BPF_STACK_BUILD_ID_VALID


def _stack(value: v.StackV, namer: Namer) -> Decoder:
    kernel, limit, mode = value.kernel, value.limit, value.mode

    def decode(buffer: Buffer, offset: int) -> Stack:
        pid, count = _U32_PAIR.unpack_from(buffer, offset)
        if mode == "build_id":
            frames = [_BUILD_ID.unpack_from(buffer, offset + 8 + 32 * i) for i in range(min(count, limit))]
            ids = tuple(build_id.hex() if status == _VALID else "" for status, build_id, _ in frames)
            return Stack(tuple(frame[2] for frame in frames), pid, kernel, mode, namer, ids)
        addresses = struct.unpack_from(f"<{min(count, limit)}Q", buffer, offset + 8)
        return Stack(addresses, 0 if kernel else pid, kernel, mode, namer)

    return decode


def _inet(value: v.InetV, namer: Namer) -> Decoder:
    family = struct.Struct("<I").unpack_from
    return lambda buffer, offset: inet_text(family(buffer, offset)[0], bytes(buffer[offset + 4 : offset + 20]))


def _mac(value: v.MacV, namer: Namer) -> Decoder:
    return lambda buffer, offset: bytes(buffer[offset : offset + 6]).hex(":").upper()


def _username(value: v.UsernameV, namer: Namer) -> Decoder:
    number = _int(v.IntV(8, False), namer)
    return lambda buffer, offset: namer.username(number(buffer, offset))


def _timestamp(value: v.TimestampV, namer: Namer) -> Decoder:
    number = _int(v.IntV(8, False), namer)
    format, clock = value.format, value.clock
    return lambda buffer, offset: Timestamp(number(buffer, offset), format, clock, namer)


def _cgroup_path(value: v.CgroupPathV, namer: Namer) -> Decoder:
    if value.filter:
        from fnmatch import fnmatchcase  # few programs need it

        if not fnmatchcase("unified", value.filter.replace("[", "[[]").replace("?", "[?]")):
            return lambda buffer, offset: ""
    number = _int(v.IntV(8, False), namer)
    return lambda buffer, offset: namer.cgroup_path(number(buffer, offset))


def _probe_name(value: v.ProbeNameV, namer: Namer) -> Decoder:
    number = _int(v.IntV(8, False), namer)
    return lambda buffer, offset: namer.probe_name(number(buffer, offset))


def _number_name(value: v.NameV, namer: Namer) -> Decoder:
    from trapline.abi.number_names import number_name  # few programs need it

    number, table = _int(v.IntV(8), namer), value.table
    return lambda buffer, offset: number_name(table, number(buffer, offset))


def _flags(value: v.FlagsV, namer: Namer) -> Decoder:
    from trapline.abi.flag_names import flag_text  # few programs need it

    number, table = _int(v.IntV(value.size, False), namer), value.table
    return lambda buffer, offset: flag_text(table, number(buffer, offset))


def _array(value: v.ArrayV, namer: Namer) -> Decoder:
    element, count = value.element, value.count
    if isinstance(element, v.IntV) and int_code(element.size, element.signed):
        unpack = struct.Struct(f"<{count}{int_code(element.size, element.signed)}").unpack_from
        return lambda buffer, offset: unpack(buffer, offset)
    item, step = _make(element, namer), element.size
    places = [index * step for index in range(count)]
    return lambda buffer, offset: tuple([item(buffer, offset + place) for place in places])


def _tuple(value: v.TupleV, namer: Namer) -> Decoder:
    items = [(place, _make(element, namer)) for place, element in value.elements]
    return lambda buffer, offset: tuple([item(buffer, offset + place) for place, item in items])


def _record(value: v.RecordV, namer: Namer) -> Decoder:
    items = [(name, place, _make(element, namer)) for name, place, element in value.fields]
    return lambda buffer, offset: Record({name: item(buffer, offset + place) for name, place, item in items})


def _bits(value: v.BitsV, namer: Namer) -> Decoder:
    number = _int(v.IntV(value.size, False), namer)
    shift, mask = value.shift, (1 << value.bits) - 1
    sign = 1 << (value.bits - 1) if value.signed else 0
    return lambda buffer, offset: ((number(buffer, offset) >> shift & mask) ^ sign) - sign


def _aggregate(value: v.Value, namer: Namer) -> Decoder:
    """An element that a record captured: the program merged the CPUs' parts into one."""
    merge, size = make_aggregate(value), value.size
    assert merge is not None
    return lambda buffer, offset: merge(buffer[offset : offset + size])


_MAKERS: dict[type, Callable[[Any, Namer], Decoder]] = {
    v.IntV: _int,
    v.BoolV: _bool,
    v.EnumV: _enum,
    v.PtrV: _pointer,
    v.StrV: _string,
    v.BufV: _buffer,
    v.KsymV: _kernel_symbol,
    v.UsymV: _user_symbol,
    v.StackV: _stack,
    v.InetV: _inet,
    v.MacV: _mac,
    v.UsernameV: _username,
    v.TimestampV: _timestamp,
    v.CgroupPathV: _cgroup_path,
    v.ProbeNameV: _probe_name,
    v.NameV: _number_name,
    v.FlagsV: _flags,
    v.ArrayV: _array,
    v.TupleV: _tuple,
    v.RecordV: _record,
    v.BitsV: _bits,
    v.CountV: _aggregate,
    v.SumV: _aggregate,
    v.MinV: _aggregate,
    v.MaxV: _aggregate,
    v.AvgV: _aggregate,
    v.StatsV: _aggregate,
}
