"""Function and line information of programs: read from ``.BTF.ext``, written as bpf(2) wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct, error

from trapline.errors import DecodeError
from trapline.hints import TypeVar
from trapline.records import record

_HEADER = Struct("<HBBI4I")  # the leading part of struct btf_ext_header
_SECTION = Struct("<II")  # struct btf_ext_info_sec
_FUNC = Struct("<II")  # struct bpf_func_info
_LINE = Struct("<IIII")  # struct bpf_line_info
_MAGIC = 0xEB9F
_MAX_LINE = (1 << 22) - 1
_MAX_COLUMN = (1 << 10) - 1

FUNC_INFO_SIZE = _FUNC.size
"""``func_info_rec_size`` for bpf(2)."""

LINE_INFO_SIZE = _LINE.size
"""``line_info_rec_size`` for bpf(2)."""

R = TypeVar("R")


@record(frozen=True)
class FuncInfo:
    """A function starts at instruction `insn` (index); `type_id` is its ``Func``."""

    insn: int
    type_id: int


@record(frozen=True)
class LineInfo:
    """Instruction `insn` (index) comes from a source line.

    `file_name` and `text` are offsets into the string section of the program's BTF; `line` and `column` count from 1
    (0: unknown).
    """

    insn: int
    file_name: int
    text: int
    line: int
    column: int


@record(frozen=True)
class ExtInfo:
    """What ``.BTF.ext`` says, by name of the ELF section that the instructions are in."""

    functions: dict[str, tuple[FuncInfo, ...]]
    lines: dict[str, tuple[LineInfo, ...]]


def encode_func_info(records: Iterable[FuncInfo]) -> bytes:
    """Encode ``struct bpf_func_info`` records for bpf(2), sorted by instruction."""
    return b"".join(_FUNC.pack(r.insn, r.type_id) for r in sorted(records, key=lambda r: r.insn))


def encode_line_info(records: Iterable[LineInfo]) -> bytes:
    """Encode ``struct bpf_line_info`` records for bpf(2), sorted by instruction; large columns are capped at 1023."""
    return b"".join(
        _LINE.pack(r.insn, r.file_name, r.text, min(r.line, _MAX_LINE) << 10 | min(r.column, _MAX_COLUMN))
        for r in sorted(records, key=lambda r: r.insn)
    )


def decode_ext(data: bytes | memoryview, string: Callable[[int], str]) -> ExtInfo:
    """Decode a ``.BTF.ext`` section.

    Args:
        data: the section's bytes.
        string: reads a string of the accompanying BTF (`trapline.btf.Btf.string`).

    Raises:
        DecodeError: malformed bytes.
    """
    try:
        magic, version, _, header, func_start, func_length, line_start, line_length = _HEADER.unpack_from(data)
    except error:
        raise DecodeError("BTF.ext is shorter than its header") from None
    if magic != _MAGIC or version != 1:
        raise DecodeError(f"not BTF.ext: magic {magic:#06x}, version {version}")
    return ExtInfo(
        _decode_table(data, header + func_start, func_length, _FUNC, _func, string),
        _decode_table(data, header + line_start, line_length, _LINE, _line, string),
    )


def _func(insn: int, type_id: int) -> FuncInfo:
    return FuncInfo(insn // 8, type_id)


def _line(insn: int, file_name: int, text: int, position: int) -> LineInfo:
    return LineInfo(insn // 8, file_name, text, position >> 10, position & _MAX_COLUMN)


def _decode_table(
    data: bytes | memoryview,
    start: int,
    length: int,
    layout: Struct,
    build: Callable[..., R],
    string: Callable[[int], str],
) -> dict[str, tuple[R, ...]]:
    found: dict[str, tuple[R, ...]] = {}
    if length == 0:
        return found
    end = start + length
    if end > len(data) or length < 4:
        raise DecodeError("a BTF.ext table is misplaced", offset=start)
    size = int.from_bytes(data[start : start + 4], "little")
    if size < layout.size:
        raise DecodeError(f"BTF.ext records of {size} bytes", offset=start)
    position = start + 4
    while position < end:
        try:
            name, count = _SECTION.unpack_from(data, position)
        except error:
            raise DecodeError("a BTF.ext table is cut off", offset=position) from None
        position += _SECTION.size
        if position + count * size > end:
            raise DecodeError("a BTF.ext table is cut off", offset=position)
        records = (build(*layout.unpack_from(data, position + i * size)) for i in range(count))
        found[string(name)] = found.get(string(name), ()) + tuple(records)
        position += count * size
    return found
