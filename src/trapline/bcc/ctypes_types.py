"""C types of keys, leaves and events ⇄ ctypes classes, named and padded as BCC does it."""

from __future__ import annotations

import ctypes as ct

from trapline.bcc.failures import BccError
from trapline.frontends.bcc_c.result import ArrayC, FieldC, IntC, PointerC, RecordC, TypeC, VoidC
from trapline.hints import Any, TypeAlias

# A ctypes class: simple, array, structure or union.  Typeshed has no public common base for them.
CType: TypeAlias = Any

_INTEGERS: dict[str, CType] = {
    "_Bool": ct.c_bool,
    "bool": ct.c_bool,
    "char": ct.c_char,
    "signed char": ct.c_byte,
    "unsigned char": ct.c_ubyte,
    "short": ct.c_short,
    "unsigned short": ct.c_ushort,
    "int": ct.c_int,
    "unsigned int": ct.c_uint,
    "long": ct.c_long,
    "unsigned long": ct.c_ulong,
    "long long": ct.c_longlong,
    "unsigned long long": ct.c_ulonglong,
    "__int128": ct.c_int64 * 2,
    "unsigned __int128": ct.c_uint64 * 2,
}

_BY_SIZE: dict[tuple[int, bool], CType] = {
    (1, True): ct.c_byte,
    (1, False): ct.c_ubyte,
    (2, True): ct.c_int16,
    (2, False): ct.c_uint16,
    (4, True): ct.c_int32,
    (4, False): ct.c_uint32,
    (8, True): ct.c_int64,
    (8, False): ct.c_uint64,
    (16, True): ct.c_int64 * 2,
    (16, False): ct.c_uint64 * 2,
}


def build_ctype(type_: TypeC) -> CType:
    """Return the ctypes class of a key or leaf.

    Structs get an explicit ``__pad_N`` member before member N where the C layout has a gap (``__pad_end`` at the end)
    and are packed; anonymous members are called ``__anonN`` and their fields are reachable directly; pointers are
    unsigned 64-bit integers, enums integers, 128-bit integers two 64-bit ones.
    """
    if isinstance(type_, RecordC):
        return _build_record(type_, ct.c_uint64, padded=True)
    return _build(type_, ct.c_uint64, padded=True)


def build_event_ctype(type_: TypeC) -> CType:
    """Return the ctypes class of a sent event: as a key's, but unpadded where ctypes' own layout is the C one.

    Pointers are ``c_void_p``.
    """
    return _build(type_, ct.c_void_p, padded=False)


def _build(type_: TypeC, pointer: CType, *, padded: bool) -> CType:
    if isinstance(type_, IntC):
        found = None if type_.enum else _INTEGERS.get(type_.name)
        if found is not None and ct.sizeof(found) == type_.size:
            return found
        return _BY_SIZE[type_.size, type_.signed]
    if isinstance(type_, PointerC):
        return pointer
    if isinstance(type_, ArrayC):
        return _build(type_.element, pointer, padded=padded) * type_.count
    if isinstance(type_, VoidC):
        return ct.c_char * 0
    if not padded:
        natural = _build_natural(type_, pointer)
        if natural is not None:
            return natural
    return _build_record(type_, pointer, padded=True)


def _members(record: RecordC, pointer: CType, *, padded: bool) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return ctypes members (without padding) and the names of the anonymous ones."""
    members: list[tuple[Any, ...]] = []
    anonymous: list[str] = []
    for field in record.fields:
        name = field.name
        if not name:
            name = f"__anon{len(anonymous)}"
            anonymous.append(name)
        built = _build(field.type, pointer, padded=padded)
        members.append((name, built, field.bits) if field.bits else (name, built))
    return members, anonymous


def _build_natural(record: RecordC, pointer: CType) -> CType | None:
    """Return the record in ctypes' own layout, or ``None`` when that is not the C one."""
    members, anonymous = _members(record, pointer, padded=False)
    base = ct.Union if record.kind == "union" else ct.Structure
    cls = type(record.name, (base,), {"_anonymous_": anonymous, "_fields_": members})
    if ct.sizeof(cls) != record.size:
        return None
    for field, member in zip(record.fields, members, strict=True):
        if not field.bits and getattr(cls, member[0]).offset != field.offset:
            return None
    return cls


def _build_record(record: RecordC, pointer: CType, *, padded: bool) -> CType:
    # As BCC: unions, bit-fields and flexible arrays keep ctypes' own layout.
    if record.kind == "union" or any(f.bits or _is_flexible(f) for f in record.fields):
        natural = _build_natural(record, pointer)
        if natural is None:
            raise BccError(
                f"the layout of {record.kind} {record.name or '(anonymous)'} cannot be expressed with ctypes",
                hint="give get_table() a keytype or leaftype of your own",
            )
        return natural
    members, anonymous = _members(record, pointer, padded=padded)
    padded_members: list[tuple[Any, ...]] = []
    end = 0
    for index, (field, member) in enumerate(zip(record.fields, members, strict=True)):
        if field.offset > end:
            padded_members.append((f"__pad_{index}", ct.c_char * (field.offset - end)))
        padded_members.append(member)
        end = field.offset + field.type.size
    if record.size > end:
        padded_members.append(("__pad_end", ct.c_char * (record.size - end)))
    body: dict[str, Any] = {"_pack_": 1, "_layout_": "ms", "_anonymous_": anonymous, "_fields_": padded_members}
    return type(record.name, (ct.Structure,), body)


def _is_flexible(field: FieldC) -> bool:
    return isinstance(field.type, ArrayC) and field.type.count == 0


# ---------------------------------------------------------------- values ⇄ bytes


def encode_value(ctype: CType, value: Any, size: int) -> bytes:
    """Return the `size` bytes of a key or leaf.

    Args:
        ctype: the table's type.
        value: an instance of `ctype`, any other ctypes object (cut or zero-filled, as a little-endian machine would
            read it through a pointer), bytes, or what `ctype` can be made from (an int).
        size: bytes of the kernel's element.

    Raises:
        TypeError: it is none of these.
    """
    if (isinstance(value, (bytes, bytearray)) and not issubclass(ctype, ct.c_char)) or isinstance(
        value, (ct.Structure, ct.Union, ct.Array, ct._SimpleCData)
    ):
        data = bytes(value)
    else:
        data = bytes(ctype(value))
    return data[:size].ljust(size, b"\0")


def decode_value(ctype: CType, data: bytes) -> Any:
    """Return a new `ctype` holding `data` (cut or zero-filled to its size)."""
    size = ct.sizeof(ctype)
    return ctype.from_buffer_copy(data[:size].ljust(size, b"\0"))


def format_value(value: Any) -> bytes:
    """Return the text that BCC's ``key_sprintf`` gives: ``0x1``, ``{ 0x1 0x2 [ 0x3 0x4 ] }``; char arrays quoted."""
    return _format(value, type(value)).encode("utf-8", "surrogateescape")


def _format(value: Any, ctype: CType) -> str:
    if issubclass(ctype, ct.Structure):
        shown = [_format_member(value, name) for name in _visible_fields(ctype)]
        return "{ " + " ".join(shown) + " }"
    if issubclass(ctype, ct.Union):
        return "{ " + _format_member(value, ctype._fields_[0][0]) + " }"
    if issubclass(ctype, ct.Array):
        if issubclass(ctype._type_, ct.c_char):
            text = value if isinstance(value, bytes) else value.value
            return '"' + text.decode("utf-8", "surrogateescape") + '"'
        return "[ " + " ".join(_format(element, ctype._type_) for element in value) + " ]"
    number = value.value if isinstance(value, ct._SimpleCData) else value
    number = number[0] if isinstance(number, bytes) else int(number or 0)
    return f"0x{number & ((1 << 8 * ct.sizeof(ctype)) - 1):x}"


def _visible_fields(cls: CType) -> list[str]:
    return [field[0] for field in cls._fields_ if not field[0].startswith("__pad_")]


def _format_member(record: Any, name: str) -> str:
    declared = next(field[1] for field in type(record)._fields_ if field[0] == name)
    return _format(getattr(record, name), declared)


def parse_value(ctype: CType, text: bytes) -> Any:
    """Return the value that `format_value` would show as `text`.

    Raises:
        BccError: the text does not have the type's shape.
    """
    tokens = _tokenise(text.decode("utf-8", "surrogateescape"))
    value, rest = _parse(ctype, tokens)
    if rest:
        raise BccError(f"cannot read {text!r} as a value of the table: extra text after the value")
    return value


def _tokenise(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == '"':
            end = text.find('"', position + 1)
            end = len(text) if end < 0 else end
            tokens.append(text[position : end + 1])
            position = end + 1
        elif text[position].isspace():
            position += 1
        else:
            end = position
            while end < len(text) and not text[end].isspace():
                end += 1
            tokens.append(text[position:end])
            position = end
    return tokens


def _expect(tokens: list[str], wanted: str) -> list[str]:
    if not tokens or tokens[0] != wanted:
        raise BccError(f"cannot read the value: expected '{wanted}', found '{tokens[0] if tokens else 'the end'}'")
    return tokens[1:]


def _parse(ctype: CType, tokens: list[str]) -> tuple[Any, list[str]]:
    value = ctype()
    if issubclass(ctype, (ct.Structure, ct.Union)):
        tokens = _expect(tokens, "{")
        names = _visible_fields(ctype)[: 1 if issubclass(ctype, ct.Union) else None]
        kinds = {field[0]: field[1] for field in ctype._fields_}
        for name in names:
            member, tokens = _parse(kinds[name], tokens)
            # A bit-field takes numbers only: of an object, ctypes copies more bytes than there are.
            plain = isinstance(member, ct._SimpleCData) or (isinstance(member, ct.Array) and hasattr(member, "value"))
            setattr(value, name, member.value if plain else member)
        return value, _expect(tokens, "}")
    if issubclass(ctype, ct.Array):
        if issubclass(ctype._type_, ct.c_char):
            if not tokens or not tokens[0].startswith('"'):
                raise BccError("cannot read the value: expected a quoted text")
            value.value = tokens[0].strip('"').encode("utf-8", "surrogateescape")
            return value, tokens[1:]
        tokens = _expect(tokens, "[")
        for index in range(ctype._length_):
            value[index], tokens = _parse(ctype._type_, tokens)
        return value, _expect(tokens, "]")
    if not tokens:
        raise BccError("cannot read the value: expected a number, found the end")
    try:
        number = int(tokens[0], 0)
    except ValueError:
        raise BccError(f"cannot read the value: '{tokens[0]}' is not a number") from None
    if issubclass(ctype, ct.c_char):
        value.value = bytes([number & 0xFF])
    else:
        value.value = number
    return value, tokens[1:]
