"""How long x86-64 instructions are: enough of a decoder to find where they begin.

Written from the opcode maps of the Intel manual (volume 2, appendix A).  A probe in the middle of an instruction would
change what the program does; the kernel does not notice.
"""

from __future__ import annotations


def _numbers(*ranges: int | tuple[int, int]) -> frozenset[int]:
    found: set[int] = set()
    for item in ranges:
        found.update((item,) if isinstance(item, int) else range(item[0], item[1] + 1))
    return frozenset(found)


_PREFIXES = frozenset((0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65))
_ARITHMETIC = tuple(8 * i for i in range(8))  # add, or, adc, sbb, and, sub, xor, cmp: six forms each
# One-byte opcodes: those with a ModRM byte, with an immediate of 8 bits, and of the operand's size (4 bytes at most).
_MODRM = _numbers(
    *((base, base + 3) for base in _ARITHMETIC),
    0x63,
    0x69,
    0x6B,
    (0x80, 0x81),
    (0x83, 0x8F),
    (0xC0, 0xC1),
    (0xC6, 0xC7),
    (0xD0, 0xD3),
    (0xD8, 0xDF),
    (0xF6, 0xF7),
    (0xFE, 0xFF),
)
_IMM8 = _numbers(
    *(base + 4 for base in _ARITHMETIC),
    (0x6A, 0x6B),
    (0x70, 0x80),
    0x83,
    0xA8,
    (0xB0, 0xB7),
    (0xC0, 0xC1),
    0xC6,
    0xCD,
    (0xE0, 0xE7),
    0xEB,
)
_IMM_Z = _numbers(*(base + 5 for base in _ARITHMETIC), (0x68, 0x69), 0x81, 0xA9, 0xC7)
_REL32 = frozenset((0xE8, 0xE9))
_INVALID = _numbers(
    0x06,
    0x07,
    0x0E,
    0x16,
    0x17,
    0x1E,
    0x1F,
    0x27,
    0x2F,
    0x37,
    0x3F,
    0x60,
    0x61,
    0x82,
    0x9A,
    0xCE,
    0xD4,
    0xD5,
    0xD6,
    0xEA,
)
# Opcodes behind 0F: those without a ModRM byte, with an 8-bit immediate, and with a 32-bit displacement.
_TWO_BARE = _numbers(
    (0x05, 0x09), 0x0B, 0x0E, (0x30, 0x37), 0x77, (0x80, 0x8F), (0xA0, 0xA2), (0xA8, 0xAA), (0xC8, 0xCF)
)
_TWO_IMM8 = _numbers(0x0F, (0x70, 0x73), 0xA4, 0xAC, 0xBA, 0xC2, (0xC4, 0xC6))
_VECTOR_IMM8 = _numbers((0x70, 0x73), 0xC2, (0xC4, 0xC6))
_LONGEST = 15


def instruction_length(code: bytes, at: int = 0) -> int | None:
    """Return the length in bytes of the instruction that begins at `at`; ``None`` when it is not known.

    Args:
        code: machine code for 64-bit mode.
        at: where the instruction begins.
    """
    try:
        length = _length(code, at)
    except IndexError:
        return None
    return length if length is not None and length <= _LONGEST else None


def _length(code: bytes, start: int) -> int | None:
    at = start
    narrow = short_address = False
    while code[at] in _PREFIXES:
        narrow |= code[at] == 0x66
        short_address |= code[at] == 0x67
        at += 1
    wide = False
    if 0x40 <= code[at] <= 0x4F:
        wide = bool(code[at] & 8)
        at += 1
    opcode = code[at]
    at += 1
    if opcode in (0xC4, 0xC5, 0x62):
        return _vector(code, start, at, opcode)
    if opcode == 0x0F:
        return _two_bytes(code, start, at)
    if opcode in _INVALID:
        return None
    size = 0
    if opcode in _IMM8:
        size = 1
    elif opcode in _IMM_Z:
        size = 2 if narrow and not wide else 4
    elif opcode in _REL32:
        size = 4
    elif 0xB8 <= opcode <= 0xBF:
        size = 8 if wide else 2 if narrow else 4
    elif 0xA0 <= opcode <= 0xA3:
        size = 4 if short_address else 8
    elif opcode in (0xC2, 0xCA):
        size = 2
    elif opcode == 0xC8:
        size = 3
    if opcode in _MODRM:
        if opcode in (0xF6, 0xF7) and code[at] & 0x30 == 0:  # test has an immediate; not, neg, mul, div have none
            size = 1 if opcode == 0xF6 else 2 if narrow and not wide else 4
        at += _modrm(code, at)
    return at + size - start


def _two_bytes(code: bytes, start: int, at: int) -> int:
    opcode = code[at]
    at += 1
    if opcode in (0x38, 0x3A):
        at += 1
        return at + _modrm(code, at) + (opcode == 0x3A) - start
    size = 4 if 0x80 <= opcode <= 0x8F else 1 if opcode in _TWO_IMM8 else 0
    if opcode not in _TWO_BARE:
        at += _modrm(code, at)
    return at + size - start


def _vector(code: bytes, start: int, at: int, opcode: int) -> int | None:
    """Return the length of an instruction with a VEX or EVEX prefix."""
    if opcode == 0xC5:
        table = 1
        at += 1
    else:
        table = code[at] & (0x1F if opcode == 0xC4 else 0x07)
        at += 2 if opcode == 0xC4 else 3
    if table not in (1, 2, 3, 5, 6):
        return None
    operation = code[at]
    at += 1
    if table == 1 and operation == 0x77 and opcode != 0x62:
        return at - start
    size = 1 if table == 3 or (table == 1 and operation in _VECTOR_IMM8) else 0
    return at + _modrm(code, at) + size - start


def _modrm(code: bytes, at: int) -> int:
    """Return the length of a ModRM byte and what belongs to it."""
    mode, register = code[at] >> 6, code[at] & 7
    if mode == 3:
        return 1
    length = 1
    if register == 4:
        length = 2
        if mode == 0 and code[at + 1] & 7 == 5:
            return length + 4
    elif mode == 0 and register == 5:
        return length + 4
    return length + (0, 1, 4)[mode]


def begins_instruction(code: bytes, offset: int) -> bool | None:
    """Return whether an instruction begins at an offset of a function; ``None`` when that cannot be told.

    Args:
        code: the function's code, from its start.
        offset: in bytes.
    """
    at = 0
    while at < offset:
        length = instruction_length(code, at)
        if length is None:
            return None
        at += length
    return at == offset
