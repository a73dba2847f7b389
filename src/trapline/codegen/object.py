"""From LLVM's object file to `ObjectProgram`: bytecode with resolved calls, references to maps and kfuncs, spans."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence

from trapline.abi.elf import SHT_REL, STT_FUNC, Elf, Section, Symbol
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
from trapline.btf.ext import decode_ext
from trapline.codegen.tables import References
from trapline.errors import InternalError
from trapline.ir.function import SpanT
from trapline.ir.spec import KfuncRef, MapRef, SubprogramInfo
from trapline.records import record

_SLOT = struct.Struct("<BBhi")
_CALL = BPF_JMP | BPF_CALL
_ADD = BPF_ALU64 | BPF_ADD | BPF_K
_MOVE = BPF_ALU64 | BPF_MOV | BPF_X

_R_BPF_64_64 = 1
_R_BPF_64_32 = 10


class ObjectFile:
    """LLVM's output: sections with their relocations, symbols, and line information.

    Args:
        data: the ELF file.
    """

    def __init__(self, data: bytes) -> None:
        self._elf = Elf(data)
        self.symbols = tuple(self._elf.symbols())
        self._sections = {s.name: s for s in self._elf.sections}
        self._relocations = {s.info: s for s in self._elf.sections if s.type == SHT_REL}
        self._functions: dict[int, list[tuple[int, str]]] = {}
        for symbol in self.symbols:
            if symbol.type == STT_FUNC:
                self._functions.setdefault(symbol.section, []).append((symbol.value // 8, symbol.name))

    def section(self, name: str) -> Section:
        """Return a section that must be there."""
        if name not in self._sections:
            raise InternalError(f"LLVM's object file has no section {name}")
        return self._sections[name]

    def functions(self, section: Section) -> list[tuple[int, str]]:
        """Return (instruction, symbol) of the functions of a section, in order of instructions."""
        return sorted(self._functions.get(section.index, ()))

    def code(self, section: Section) -> bytearray:
        """Return a copy of a section's bytes."""
        return bytearray(self._elf.contents(section))

    def relocations(self, section: Section) -> list[tuple[int, int, Symbol]]:
        """Return (offset, type, symbol) of a section's relocations."""
        table = self._relocations.get(section.index)
        if table is None:
            return []
        return [(r.offset, r.type, self.symbols[r.symbol]) for r in self._elf.relocations(table)]

    def lines(self) -> dict[str, list[tuple[int, int]]]:
        """Return (instruction, line) for each section that has line information, in order of instructions."""
        data, btf = self._elf.section_bytes(".BTF.ext"), self._elf.section_bytes(".BTF")
        if data is None or btf is None:
            return {}
        header, _, _, strings_at = struct.unpack_from("<IIII", btf, 4)
        start = header + strings_at

        def string(offset: int) -> str:
            return btf[start + offset : btf.index(b"\0", start + offset)].decode()

        tables = decode_ext(data, string).lines
        return {name: sorted((row.insn, row.line) for row in rows) for name, rows in tables.items()}


@record(frozen=True)
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
    found = file.section(section_name)
    section, words = found.index, file.code(found)
    functions = file.functions(found)
    if not functions or functions[0][0] != 0:
        raise InternalError(f"{section_name} does not begin with a function")
    kfuncs: dict[int, str] = {}
    for at, kind, symbol in file.relocations(found):
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
            if source == BPF_PSEUDO_FUNC:
                depth.call(index, index + 1 + imm)
            if source in (BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE):
                name, distance, value = references.items[imm]
                _SLOT.pack_into(words, index * 8, opcode, registers, 0, 0)
                _SLOT.pack_into(words, index * 8 + 8, 0, 0, 0, distance)
                map_refs.append(MapRef(index, name, value))
            index += 2
            continue
        if opcode == _CALL and registers >> 4 == BPF_PSEUDO_CALL and imm == -1 and index not in kfuncs:
            raise InternalError(f"a call in {section_name} was not resolved")
        if opcode == _CALL and registers >> 4 == BPF_PSEUDO_CALL:
            depth.call(index, index + 1 + imm)
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
        self._callees: list[set[int]] = [set() for _ in starts]
        self._copies = 0  # registers that hold r10, as bits

    def _function(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1

    def call(self, index: int, target: int) -> None:
        """Note that instruction `index` calls the function at `target`, or has a helper call it."""
        self._callees[self._function(index)].add(self._function(target))

    def see(self, index: int, opcode: int, registers: int, offset: int, imm: int) -> None:
        """Note what an instruction does with the frame."""
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
            function = self._function(index)
            self._depths[function] = max(self._depths[function], depth)

    def total(self, function: int = 0) -> int:
        """Return the bytes of the deepest chain of calls, each function's rounded up as the verifier does."""
        own = (max(self._depths[function], 1) + 31) & ~31
        return own + max((self.total(callee) for callee in self._callees[function]), default=0)


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
