"""BPF instructions: their encoding, and decoding of the 8-byte words."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from trapline.errors import DecodeError
from trapline.records import record

# Instruction classes (low three bits of the opcode).
BPF_LD = 0x00
BPF_LDX = 0x01
BPF_ST = 0x02
BPF_STX = 0x03
BPF_ALU = 0x04
BPF_JMP = 0x05
BPF_JMP32 = 0x06
BPF_ALU64 = 0x07

# Sizes and modes of loads and stores.
BPF_W = 0x00
BPF_H = 0x08
BPF_B = 0x10
BPF_DW = 0x18
BPF_IMM = 0x00
BPF_ABS = 0x20
BPF_IND = 0x40
BPF_MEM = 0x60
BPF_MEMSX = 0x80
BPF_ATOMIC = 0xC0

# Source of the second operand.
BPF_K = 0x00
BPF_X = 0x08

# ALU operations.
BPF_ADD = 0x00
BPF_SUB = 0x10
BPF_MUL = 0x20
BPF_DIV = 0x30
BPF_OR = 0x40
BPF_AND = 0x50
BPF_LSH = 0x60
BPF_RSH = 0x70
BPF_NEG = 0x80
BPF_MOD = 0x90
BPF_XOR = 0xA0
BPF_MOV = 0xB0
BPF_ARSH = 0xC0
BPF_END = 0xD0

# Jump operations.
BPF_JA = 0x00
BPF_JEQ = 0x10
BPF_JGT = 0x20
BPF_JGE = 0x30
BPF_JSET = 0x40
BPF_JNE = 0x50
BPF_JSGT = 0x60
BPF_JSGE = 0x70
BPF_CALL = 0x80
BPF_EXIT = 0x90
BPF_JLT = 0xA0
BPF_JLE = 0xB0
BPF_JSLT = 0xC0
BPF_JSLE = 0xD0
BPF_JCOND = 0xE0

# Atomic operations (the immediate).
BPF_FETCH = 0x01
BPF_XCHG = 0xE1
BPF_CMPXCHG = 0xF1

LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW

# src_reg of LD_IMM64.
BPF_PSEUDO_MAP_FD = 1
BPF_PSEUDO_MAP_VALUE = 2
BPF_PSEUDO_BTF_ID = 3
BPF_PSEUDO_FUNC = 4

# src_reg of a call.
BPF_PSEUDO_CALL = 1
BPF_PSEUDO_KFUNC_CALL = 2

_WORD = struct.Struct("<BBhi")


@record(frozen=True)
class Instruction:
    """One instruction of 8 bytes, or an ``LD_IMM64`` of 16 (its `imm` then holds all 64 bits)."""

    opcode: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    @property
    def words(self) -> int:
        """How many 8-byte slots it takes."""
        return 2 if self.opcode == LD_IMM64 else 1

    def encode(self) -> bytes:
        """Return its 8 or 16 bytes."""
        registers = self.src << 4 | self.dst
        if self.opcode == LD_IMM64:
            low = _signed32(self.imm & 0xFFFFFFFF)
            high = _signed32(self.imm >> 32 & 0xFFFFFFFF)
            return _WORD.pack(self.opcode, registers, self.off, low) + _WORD.pack(0, 0, 0, high)
        return _WORD.pack(self.opcode, registers, self.off, _signed32(self.imm & 0xFFFFFFFF))


def _signed32(value: int) -> int:
    return value - (1 << 32) if value & 0x80000000 else value


def encode_instructions(instructions: Iterable[Instruction]) -> bytes:
    """Return the bytecode of `instructions`."""
    return b"".join(i.encode() for i in instructions)


def decode_instructions(code: bytes) -> Iterator[tuple[int, Instruction]]:
    """Yield (index of the first 8-byte slot, instruction) for all of `code`.

    Raises:
        DecodeError: the length is no multiple of 8, or an ``LD_IMM64`` lacks its second half.
    """
    if len(code) % 8:
        raise DecodeError("BPF bytecode must be a multiple of 8 bytes long", offset=len(code))
    index, count = 0, len(code) // 8
    while index < count:
        opcode, registers, off, imm = _WORD.unpack_from(code, index * 8)
        if opcode == LD_IMM64:
            if index + 1 == count:
                raise DecodeError("the second half of a 64-bit load is missing", offset=index * 8)
            second, _, _, high = _WORD.unpack_from(code, index * 8 + 8)
            if second:
                raise DecodeError("the second half of a 64-bit load must have opcode 0", offset=index * 8 + 8)
            value = (imm & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32
            yield index, Instruction(opcode, registers & 15, registers >> 4, off, value)
            index += 2
        else:
            yield index, Instruction(opcode, registers & 15, registers >> 4, off, imm)
            index += 1
