"""Python objects → the bytes of map keys and values: the inverse of `trapline.runtime.decode`, for `Session.maps`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from trapline.hints import Any
from trapline.ir import values as v
from trapline.runtime.objects import Stack, UserSymbol

Encoder = Callable[[Any], bytes]


def make_encoder(value: v.Value) -> Encoder:
    """Compile a layout.

    Returns:
        ``encode(item)``; it raises `TypeError` or `ValueError` when the item does not fit the layout.
    """
    maker = _MAKERS.get(type(value))
    if maker is None:
        raise TypeError(f"values of layout {type(value).__name__} cannot be written")
    return maker(value)


def _int(value: Any) -> Encoder:
    size, signed = value.size, getattr(value, "signed", False)

    def encode(item: Any) -> bytes:
        if not isinstance(item, int):
            raise TypeError(f"expected an integer, got {type(item).__name__}")
        bits = 8 * size
        if not -(1 << (bits - 1)) <= item < 1 << bits:
            raise ValueError(f"{item} does not fit into {size} bytes")
        if not signed and item < 0:
            raise ValueError(f"{item} is negative, and the layout is unsigned")
        return bytes((int(item) & ((1 << bits) - 1)).to_bytes(size, "little"))

    return encode


def _enum(value: v.EnumV) -> Encoder:
    number = _int(value)
    names = {name: n for n, name in value.names}

    def encode(item: Any) -> bytes:
        if isinstance(item, str):
            if item not in names:
                raise ValueError(f"enum {value.name} has no {item}")
            item = names[item]
        return number(item)

    return encode


def _string(value: v.StrV) -> Encoder:
    size = value.size

    def encode(item: Any) -> bytes:
        if isinstance(item, str):
            item = item.encode("utf-8", "surrogateescape")
        if not isinstance(item, bytes):
            raise TypeError(f"expected a string, got {type(item).__name__}")
        if len(item) > size:
            raise ValueError(f"a string of {len(item)} bytes does not fit into {size}")
        return item.ljust(size, b"\0")

    return encode


def _buffer(value: v.BufV) -> Encoder:
    limit = value.size - 4

    def encode(item: Any) -> bytes:
        raw = bytes(item)
        if len(raw) > limit:
            raise ValueError(f"{len(raw)} bytes do not fit into {limit}")
        return struct.pack("<I", len(raw)) + raw.ljust(limit, b"\0")

    return encode


def _kernel_symbol(value: v.KsymV) -> Encoder:
    number = _int(value)
    return lambda item: number(getattr(item, "address", item))


def _user_symbol(value: v.UsymV) -> Encoder:
    def encode(item: Any) -> bytes:
        if not isinstance(item, UserSymbol):
            raise TypeError(f"expected a UserSymbol, got {type(item).__name__}")
        return struct.pack("<QII", item.address, item.pid, 0)

    return encode


def _stack(value: v.StackV) -> Encoder:
    def encode(item: Any) -> bytes:
        if not isinstance(item, Stack):
            raise TypeError(f"expected a Stack, got {type(item).__name__}")
        count = len(item.addresses)
        if value.mode == "build_id":
            frames = b"".join(
                struct.pack("<i20sQ", 1 if build_id else 2, bytes.fromhex(build_id), place)
                for place, build_id in zip(item.addresses, item.build_ids, strict=True)
            )
            return (struct.pack("<II", item.pid, count) + frames).ljust(value.size, b"\0")
        return struct.pack(f"<II{count}Q", item.pid, count, *item.addresses).ljust(value.size, b"\0")

    return encode


def _mac(value: v.MacV) -> Encoder:
    return lambda item: bytes.fromhex(item.replace(":", "")) if isinstance(item, str) else bytes(item)


def _inet(value: v.InetV) -> Encoder:
    def encode(item: Any) -> bytes:
        import socket

        family = 10 if ":" in item else 2
        return struct.pack("<I", family) + socket.inet_pton(family, item).ljust(16, b"\0")

    return encode


def _array(value: v.ArrayV) -> Encoder:
    element, count = make_encoder(value.element), value.count

    def encode(item: Any) -> bytes:
        if len(item) != count:
            raise ValueError(f"expected {count} elements, got {len(item)}")
        return b"".join([element(part) for part in item])

    return encode


def _tuple(value: v.TupleV) -> Encoder:
    elements = [(place, make_encoder(element)) for place, element in value.elements]
    size = value.size

    def encode(item: Any) -> bytes:
        if not isinstance(item, tuple) or len(item) != len(elements):
            raise TypeError(f"expected a tuple of {len(elements)}")
        raw = bytearray(size)
        for (place, element), part in zip(elements, item, strict=True):
            data = element(part)
            raw[place : place + len(data)] = data
        return bytes(raw)

    return encode


def _record(value: v.RecordV) -> Encoder:
    elements = [(name, place, make_encoder(element)) for name, place, element in value.fields]
    size = value.size

    def encode(item: Any) -> bytes:
        if not isinstance(item, Mapping) or set(item) != {name for name, _, _ in elements}:
            raise TypeError(f"expected a mapping with {', '.join(name for name, _, _ in elements)}")
        raw = bytearray(size)
        for name, place, element in elements:
            data = element(item[name])
            raw[place : place + len(data)] = data
        return bytes(raw)

    return encode


_MAKERS: dict[type, Callable[[Any], Encoder]] = {
    v.IntV: _int,
    v.BoolV: _int,
    v.EnumV: _enum,
    v.PtrV: _int,
    v.KsymV: _kernel_symbol,
    v.UsernameV: _int,
    v.TimestampV: _int,
    v.CgroupPathV: _int,
    v.ProbeNameV: _int,
    v.CountV: _int,
    v.SumV: _int,
    v.StrV: _string,
    v.BufV: _buffer,
    v.UsymV: _user_symbol,
    v.StackV: _stack,
    v.MacV: _mac,
    v.InetV: _inet,
    v.ArrayV: _array,
    v.TupleV: _tuple,
    v.RecordV: _record,
}
