"""From LLVM's object file to `ObjectProgram`: bytecode with resolved calls, references to maps and kfuncs, spans."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from trapline.abi.instructions import (
    BPF_ADD,
    BPF_ALU64,
    BPF_CALL,
    BPF_JMP,
    BPF_K,
    BPF_LDX,
    BPF_MOV,
    BPF_PSEUDO_CALL,
    BPF_PSEUDO_FUNC,
    BPF_PSEUDO_KFUNC_CALL,
    BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_VALUE,
    BPF_ST,
    BPF_STX,
    BPF_X,
    LD_IMM64,
)
from trapline.codegen.tables import References
from trapline.errors import InternalError
from trapline.ir.function import SpanT
from trapline.ir.spec import KfuncRef, MapRef, SubprogramInfo

_SLOT = struct.Struct("<BBhi")
_CALL = BPF_JMP | BPF_CALL
_ADD = BPF_ALU64 | BPF_ADD | BPF_K
_MOVE = BPF_ALU64 | BPF_MOV | BPF_X

_R_BPF_64_64 = 1
_R_BPF_64_32 = 10


@dataclass(frozen=True)
class Symbol:
    """A symbol of the object file."""

    name: str
    value: int
    section: int
    kind: int


class ObjectFile:
    """LLVM's ELF output, as far as it is needed: it was made in this process and is trusted.

    Args:
        data: the file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        table, count, names_index = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 60)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]
        names_at = headers[names_index][4]
        self.sections: dict[str, tuple[int, bytes]] = {}
        self._relocations: dict[int, bytes] = {}
        symbols = strings = b""
        for index, (name, kind, _, _, offset, size, link, info, _, _) in enumerate(headers):
            body = data[offset : offset + size]
            self.sections[_string(data, names_at + name)] = (index, body)
            if kind == 2:
                symbols, strings = body, data[headers[link][4] : headers[link][4] + headers[link][5]]
            elif kind == 9:
                self._relocations[info] = body
        self.symbols = [
            Symbol(_string(strings, name), value, section, info & 15)
            for name, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", symbols)
        ]

    def relocations(self, section: int) -> list[tuple[int, int, Symbol]]:
        """Return (offset, type, symbol) of a section's relocations."""
        body = self._relocations.get(section, b"")
        return [(at, info & 0xFFFFFFFF, self.symbols[info >> 32]) for at, info in struct.iter_unpack("<QQ", body)]

    def lines(self) -> dict[str, list[tuple[int, int]]]:
        """Return (instruction, line) for each section that has line information, in order of instructions."""
        entry = self.sections.get(".BTF.ext")
        if entry is None:
            return {}
        data = entry[1]
        header, _, _, line_at, line_size = struct.unpack_from("<IIIII", data, 4)
        strings = self._btf_strings()
        result: dict[str, list[tuple[int, int]]] = {}
        at = header + line_at
        end = at + line_size
        at += 4
        while at < end:
            name, count = struct.unpack_from("<II", data, at)
            at += 8
            rows = result.setdefault(_string(strings, name), [])
            for _ in range(count):
                offset, _, _, line = struct.unpack_from("<IIII", data, at)
                rows.append((offset // 8, line >> 10))
                at += 16
            rows.sort()
        return result

    def _btf_strings(self) -> bytes:
        data = self.sections[".BTF"][1]
        header, _, _, strings_at, size = struct.unpack_from("<IIIII", data, 4)
        return data[header + strings_at : header + strings_at + size]


@dataclass(frozen=True)
class LinkedProgram:
    """A section's code with everything resolved that is inside it."""

    instructions: bytes
    map_refs: tuple[MapRef, ...]
    kfunc_refs: tuple[KfuncRef, ...]
    subprograms: tuple[SubprogramInfo, ...]
    spans: tuple[tuple[int, int, int], ...]
    frame: int


def link_program(
    file: ObjectFile,
    section_name: str,
    names: dict[str, tuple[str, int]],
    references: References,
    spans: Sequence[SpanT],
    lines: Sequence[tuple[int, int]],
    weak_kfuncs: frozenset[str],
) -> LinkedProgram:
    """Resolve one program's section.

    Args:
        file: the object file.
        section_name: the section that holds the program first, then its subprograms.
        names: symbol → (the function's name, number of parameters).
        references: what immediates of pseudo loads mean.
        spans: what line numbers mean (line i + 1 is ``spans[i]``).
        lines: the section's line information.
        weak_kfuncs: kernel functions that may be missing.
    """
    section, code = file.sections[section_name]
    words = bytearray(code)
    functions = sorted((s.value // 8, s.name) for s in file.symbols if s.section == section and s.kind == 2)
    if not functions or functions[0][0] != 0:
        raise InternalError(f"{section_name} does not begin with a function")
    kfuncs: dict[int, str] = {}
    for at, kind, symbol in file.relocations(section):
        index = at // 8
        opcode, registers, offset, imm = _SLOT.unpack_from(words, at)
        if kind == _R_BPF_64_32 and symbol.section == 0:
            kfuncs[index] = symbol.name
            _SLOT.pack_into(words, at, opcode, registers & 15 | BPF_PSEUDO_KFUNC_CALL << 4, 0, 0)
        elif kind == _R_BPF_64_32 and symbol.section == section:
            # The section's symbol has the distance in the immediate (in slots, minus one); a function's has -1 there.
            target = symbol.value // 8 + imm + 1
            _SLOT.pack_into(words, at, opcode, registers & 15 | BPF_PSEUDO_CALL << 4, offset, target - index - 1)
        elif kind == _R_BPF_64_64 and symbol.section == section:
            target = (symbol.value + imm) // 8
            _SLOT.pack_into(words, at, opcode, registers & 15 | BPF_PSEUDO_FUNC << 4, offset, target - index - 1)
        else:
            raise InternalError(f"the code generator left a reference to {symbol.name!r} (relocation {kind})")
    map_refs: list[MapRef] = []
    index, count = 0, len(words) // 8
    depth = _FrameDepth([start for start, _ in functions])
    while index < count:
        opcode, registers, offset, imm = _SLOT.unpack_from(words, index * 8)
        if opcode == LD_IMM64:
            source = registers >> 4
            if source in (BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE):
                name, distance, value = references.items[imm]
                _SLOT.pack_into(words, index * 8, opcode, registers, 0, 0)
                _SLOT.pack_into(words, index * 8 + 8, 0, 0, 0, distance)
                map_refs.append(MapRef(index, name, value))
            index += 2
            continue
        if opcode == _CALL and registers >> 4 == BPF_PSEUDO_CALL and imm == -1 and index not in kfuncs:
            raise InternalError(f"a call in {section_name} was not resolved")
        depth.see(index, opcode, registers, offset, imm)
        index += 1
    infos = []
    for start, symbol_name in functions:
        name, parameters = names[symbol_name]
        infos.append(SubprogramInfo(start, name, parameters))
    return LinkedProgram(
        bytes(words),
        tuple(map_refs),
        tuple(KfuncRef(i, name, name in weak_kfuncs) for i, name in sorted(kfuncs.items())),
        tuple(infos),
        _spans(spans, lines),
        depth.total(),
    )


class _FrameDepth:
    """Finds how much of the frame each function uses: accesses through r10, and addresses made of it."""

    def __init__(self, starts: list[int]) -> None:
        self._starts = starts
        self._depths = [0] * len(starts)
        self._copies = 0  # registers that hold r10, as bits

    def see(self, index: int, opcode: int, registers: int, offset: int, imm: int) -> None:
        kind, target, source = opcode & 7, registers & 15, registers >> 4
        depth = 0
        if (kind == BPF_LDX and source == 10) or (kind in (BPF_ST, BPF_STX) and target == 10):
            depth = -offset
        elif opcode == _ADD and self._copies >> target & 1:
            depth = -imm
        self._copies &= ~(1 << target)
        if opcode == _MOVE and source == 10:
            self._copies |= 1 << target
        if depth > 0:
            function = bisect_right(self._starts, index) - 1
            self._depths[function] = max(self._depths[function], depth)

    def total(self) -> int:
        """Return the bytes of a call chain through all functions, each rounded up as the verifier does."""
        return sum((depth + 31) & ~31 for depth in self._depths)


def _spans(spans: Sequence[SpanT], lines: Sequence[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    result: list[tuple[int, int, int]] = []
    for instruction, line in lines:
        if line == 0:
            continue
        start, end = spans[line - 1]
        if result and result[-1][1:] == (start, end):
            continue
        if result and result[-1][0] == instruction:
            result.pop()
        result.append((instruction, start, end))
    return tuple(result)


def span_at(spans: Sequence[tuple[int, int, int]], instruction: int) -> SpanT | None:
    """Return the source span that `instruction` belongs to, or ``None``."""
    position = bisect_right(spans, instruction, key=lambda row: row[0]) - 1
    return spans[position][1:] if position >= 0 else None


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
