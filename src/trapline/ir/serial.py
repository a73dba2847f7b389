"""Bytes ⇄ the frozen dataclasses of `trapline.ir.spec` and `trapline.ir.values`, for the compile cache.

The text part is JSON: a dataclass is ``[class name, field, field …]``, a tuple is an array, a `bytes` field is its
``[offset, length]`` in the binary part.  The dataclasses' own annotations say what may stand where, and every value is
checked against them when it is read.  `Function` (IR) is not serialised: an `ObjectSpec` has none.

    | "TLOS" | u32 format | u32 CRC-32 of the rest | u32 text size | text | binary |
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable
from functools import cache

from trapline.errors import DecodeError
from trapline.hints import Any, TypeVar
from trapline.ir import spec, values
from trapline.records import annotations_of

_MAGIC = b"TLOS"
_FORMAT = 1
_HEADER = struct.Struct("<4sIII")
_T = TypeVar("_T")

_Reader = Callable[[Any, bytes], Any]
_UNIONS = {"Value": values.Value, "Event": spec.Event, "Attach": spec.Attach}


@cache
def _classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in (values, spec):
        for name, item in vars(module).items():
            if isinstance(item, type) and "__dataclass_fields__" in vars(item):
                found[name] = item
    return found


class _Malformed(Exception):
    """What was expected and what was found."""


def encode(item: object) -> bytes:
    """Return the bytes of a spec or a value layout.

    Args:
        item: a dataclass of `trapline.ir.spec` or `trapline.ir.values`, without IR inside.

    Raises:
        TypeError: something in it is not serialisable.
    """
    import json

    binary = bytearray()
    text = json.dumps(_to_plain(item, binary), separators=(",", ":"), ensure_ascii=True).encode()
    size = struct.pack("<I", len(text))
    checksum = crc32(binary, crc32(text, crc32(size)))
    return _HEADER.pack(_MAGIC, _FORMAT, checksum, len(text)) + text + bytes(binary)


def decode(data: bytes, kind: type[_T]) -> _T:
    """Return the `kind` that `data` holds.

    Raises:
        DecodeError: `data` is not what `encode` made of a `kind`, in this format.
    """
    import json

    if len(data) < _HEADER.size:
        raise DecodeError(f"serialised {kind.__name__}: shorter than its header", offset=len(data))
    magic, version, checksum, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _FORMAT:
        raise DecodeError(f"serialised {kind.__name__}: unknown format")
    if crc32(memoryview(data)[12:]) != checksum:
        raise DecodeError(f"serialised {kind.__name__}: wrong checksum", offset=8)
    text, binary = data[_HEADER.size : _HEADER.size + size], data[_HEADER.size + size :]
    if len(text) != size:
        raise DecodeError(f"serialised {kind.__name__}: text cut short", offset=len(data))
    try:
        plain = json.loads(text.decode("ascii"))
        return _dataclass_reader(kind.__name__)(plain, binary)  # type: ignore[no-any-return]
    except (_Malformed, ValueError, RecursionError) as e:
        raise DecodeError(f"serialised {kind.__name__}: {e}", offset=_HEADER.size) from None


def encode_object(item: spec.ObjectSpec) -> bytes:
    """Return the bytes of a compiled program, for the compile cache."""
    return encode(item)


def decode_object(data: bytes) -> spec.ObjectSpec:
    """Return the compiled program that `encode_object` stored.

    Raises:
        DecodeError: malformed bytes.
    """
    return decode(data, spec.ObjectSpec)


def _to_plain(item: Any, binary: bytearray) -> Any:
    kind: type = type(item)
    if item is None or kind in (int, str, bool):
        return item
    if kind is bytes:
        start = len(binary)
        binary += item
        return [start, len(binary) - start]
    if kind is tuple:
        return [_to_plain(part, binary) for part in item]
    if _classes().get(kind.__name__) is kind:
        return [kind.__name__, *(_to_plain(getattr(item, name), binary) for name in _field_names(kind))]
    raise TypeError(f"cannot serialise {kind.__name__}")


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(annotations_of(kind))


# -- readers, compiled from annotations


def _scalar_reader(kind: type) -> _Reader:
    def read(plain: Any, binary: bytes) -> Any:
        if type(plain) is not kind:
            raise _Malformed(f"expected {kind.__name__}, found {type(plain).__name__}")
        return plain

    return read


def _read_bytes(plain: Any, binary: bytes) -> bytes:
    if type(plain) is not list or len(plain) != 2 or type(plain[0]) is not int or type(plain[1]) is not int:
        raise _Malformed("expected the place of bytes")
    start, size = plain
    if start < 0 or size < 0 or start + size > len(binary):
        raise _Malformed("bytes outside of the binary part")
    return binary[start : start + size]


@cache
def _dataclass_reader(name: str) -> _Reader:
    kind = _classes()[name]
    readers: list[_Reader] | None = None

    def read(plain: Any, binary: bytes) -> Any:
        nonlocal readers
        if readers is None:  # not before the first use: layouts are recursive
            readers = [_reader(text) for text in annotations_of(kind).values()]
        if type(plain) is not list or len(plain) != len(readers) + 1 or plain[0] != name:
            raise _Malformed(f"expected a {name}")
        return kind(*[read_field(part, binary) for read_field, part in zip(readers, plain[1:], strict=True)])

    return read


def _union_reader(names: tuple[str, ...]) -> _Reader:
    allowed = frozenset(names)

    def read(plain: Any, binary: bytes) -> Any:
        if type(plain) is not list or not plain or type(plain[0]) is not str or plain[0] not in allowed:
            raise _Malformed(f"expected one of {', '.join(names)}")
        return _dataclass_reader(plain[0])(plain, binary)

    return read


def _sequence_reader(item: _Reader, *, scalar: type | None) -> _Reader:
    def read(plain: Any, binary: bytes) -> Any:
        if type(plain) is not list:
            raise _Malformed("expected an array")
        if scalar is not None:
            for part in plain:
                if type(part) is not scalar:
                    raise _Malformed(f"expected {scalar.__name__}, found {type(part).__name__}")
            return tuple(plain)
        return tuple([item(part, binary) for part in plain])

    return read


def _fixed_reader(items: list[_Reader]) -> _Reader:
    def read(plain: Any, binary: bytes) -> Any:
        if type(plain) is not list or len(plain) != len(items):
            raise _Malformed(f"expected an array of {len(items)}")
        return tuple([item(part, binary) for item, part in zip(items, plain, strict=True)])

    return read


def _alternatives(readers: dict[type, _Reader]) -> _Reader:
    def read(plain: Any, binary: bytes) -> Any:
        reader = readers.get(type(plain))
        if reader is None:
            raise _Malformed(f"unexpected {type(plain).__name__}")
        return reader(plain, binary)

    return read


_SCALARS: dict[str, type] = {"int": int, "str": str, "bool": bool, "None": type(None)}


@cache
def _reader(annotation: str) -> _Reader:
    parts = _split(annotation, "|")
    if len(parts) > 1:
        return _alternatives({_SCALARS.get(part, list): _reader(part) for part in parts})
    if annotation in _SCALARS:
        return _scalar_reader(_SCALARS[annotation])
    if annotation == "bytes":
        return _read_bytes
    if annotation in _UNIONS:
        return _union_reader(tuple(sorted(kind.__name__ for kind in _UNIONS[annotation].__args__)))
    if annotation.startswith("tuple["):
        items = _split(annotation[len("tuple[") : -1], ",")
        if items[-1] == "...":
            return _sequence_reader(_reader(items[0]), scalar=_SCALARS.get(items[0]))
        return _fixed_reader([_reader(item) for item in items])
    if annotation in _classes():
        return _dataclass_reader(annotation)
    raise _Malformed(f"a field of type {annotation} is not serialised")


def _split(text: str, separator: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "[") - (c == "]")
        if c == separator and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return parts
