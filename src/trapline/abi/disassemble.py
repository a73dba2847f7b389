"""BPF bytecode as text, in the notation of the kernel's verifier and of LLVM: ``r0 = *(u64 *)(r1 + 8)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trapline.abi import instructions as op
from trapline.abi.helper_ids import HELPER_NAMES
from trapline.abi.instructions import Instruction, decode_instructions

_WIDTH = {op.BPF_B: "u8", op.BPF_H: "u16", op.BPF_W: "u32", op.BPF_DW: "u64"}
_SIGNED_WIDTH = {op.BPF_B: "s8", op.BPF_H: "s16", op.BPF_W: "s32"}
_ALU = {
    op.BPF_ADD: "+=",
    op.BPF_SUB: "-=",
    op.BPF_MUL: "*=",
    op.BPF_DIV: "/=",
    op.BPF_OR: "|=",
    op.BPF_AND: "&=",
    op.BPF_LSH: "<<=",
    op.BPF_RSH: ">>=",
    op.BPF_MOD: "%=",
    op.BPF_XOR: "^=",
    op.BPF_MOV: "=",
    op.BPF_ARSH: "s>>=",
}
_SIGNED_ALU = {op.BPF_DIV: "s/=", op.BPF_MOD: "s%="}
_JUMP = {
    op.BPF_JEQ: "==",
    op.BPF_JGT: ">",
    op.BPF_JGE: ">=",
    op.BPF_JSET: "&",
    op.BPF_JNE: "!=",
    op.BPF_JSGT: "s>",
    op.BPF_JSGE: "s>=",
    op.BPF_JLT: "<",
    op.BPF_JLE: "<=",
    op.BPF_JSLT: "s<",
    op.BPF_JSLE: "s<=",
}
_ATOMIC = {op.BPF_ADD: "+=", op.BPF_OR: "|=", op.BPF_AND: "&=", op.BPF_XOR: "^="}
_FETCH = {op.BPF_ADD: "add", op.BPF_OR: "or", op.BPF_AND: "and", op.BPF_XOR: "xor"}


def disassemble(code: bytes, maps: Mapping[int, str] | None = None) -> Iterator[str]:
    """Yield a line ``INDEX: TEXT`` for each instruction of `code`.

    Args:
        code: the bytecode.
        maps: the name of the map that the 64-bit load at an instruction index refers to.
    """
    names = maps or {}
    for index, instruction in decode_instructions(code):
        yield f"{index:4d}: {format_instruction(instruction, names.get(index, ''), index)}"


def format_instruction(instruction: Instruction, map_name: str = "", index: int | None = None) -> str:
    """Return the text of one instruction.

    Args:
        instruction: what to show.
        map_name: for a 64-bit load that refers to a map: the map's name.
        index: where it stands; jump targets are absolute then, and relative (``+3``) without.
    """
    kind = instruction.opcode & 7
    if kind in (op.BPF_ALU, op.BPF_ALU64):
        return _alu(instruction)
    if kind in (op.BPF_JMP, op.BPF_JMP32):
        return _jump(instruction, index)
    if kind == op.BPF_LD:
        return _load_special(instruction, map_name)
    return _memory(instruction)


def _alu(i: Instruction) -> str:
    operation = i.opcode & 0xF0
    wide = i.opcode & 7 == op.BPF_ALU64
    letter = "r" if wide else "w"
    dst = f"{letter}{i.dst}"
    if operation == op.BPF_NEG:
        return f"{dst} = -{dst}"
    if operation == op.BPF_END:
        order = "bswap" if wide else "be" if i.opcode & op.BPF_X else "le"
        return f"r{i.dst} = {order}{i.imm} r{i.dst}"
    sign = _ALU.get(operation)
    if sign is None:
        return _unknown(i)
    if i.off == 1 and operation in _SIGNED_ALU:
        sign = _SIGNED_ALU[operation]
    if not i.opcode & op.BPF_X:
        return f"{dst} {sign} {i.imm}"
    if operation == op.BPF_MOV and i.off in (8, 16, 32):
        return f"{dst} = (s{i.off}){letter}{i.src}"
    if operation == op.BPF_MOV and i.off == 1:
        return f"r{i.dst} = addr_space_cast(r{i.src}, {i.imm >> 16 & 0xFFFF}, {i.imm & 0xFFFF})"
    return f"{dst} {sign} {letter}{i.src}"


def _jump(i: Instruction, index: int | None) -> str:
    operation = i.opcode & 0xF0
    wide = i.opcode & 7 == op.BPF_JMP
    if operation == op.BPF_CALL and wide:
        if i.src == op.BPF_PSEUDO_CALL:
            return f"call pc{i.imm:+d}" if index is None else f"call {index + 1 + i.imm}"
        if i.src == op.BPF_PSEUDO_KFUNC_CALL:
            return f"call kernel-function#{i.imm}"
        name = HELPER_NAMES.get(i.imm)
        return f"call bpf_{name}#{i.imm}" if name else f"call {i.imm}"
    if operation == op.BPF_EXIT and wide:
        return "exit"
    distance = i.off if wide or operation != op.BPF_JA else i.imm
    target = f"{distance:+d}" if index is None else str(index + 1 + distance)
    if operation == op.BPF_JA:
        return f"goto {target}" if wide else f"gotol {target}"
    if operation == op.BPF_JCOND and wide:
        return f"may_goto {target}"
    sign = _JUMP.get(operation)
    if sign is None:
        return _unknown(i)
    letter = "r" if wide else "w"
    right = f"{letter}{i.src}" if i.opcode & op.BPF_X else str(i.imm)
    return f"if {letter}{i.dst} {sign} {right} goto {target}"


def _load_special(i: Instruction, map_name: str) -> str:
    if i.opcode == op.LD_IMM64:
        low, high = i.imm & 0xFFFFFFFF, i.imm >> 32
        if i.src == op.BPF_PSEUDO_MAP_FD or (map_name and i.src == 0):
            return f"r{i.dst} = map[{map_name or f'fd:{low}'}]"
        if i.src == op.BPF_PSEUDO_MAP_VALUE:
            return f"r{i.dst} = map[{map_name or f'fd:{low}'}][0]+{high}"
        if i.src == op.BPF_PSEUDO_FUNC:
            return f"r{i.dst} = function[{low - (1 << 32) if low >> 31 else low:+d}]"
        if i.src == op.BPF_PSEUDO_BTF_ID:
            return f"r{i.dst} = ksym[btf:{low}]"
        return f"r{i.dst} = {i.imm:#x} ll"
    mode, width = i.opcode & 0xE0, _WIDTH[i.opcode & 0x18]
    if mode == op.BPF_ABS:
        return f"r0 = *({width} *)skb[{i.imm}]"
    if mode == op.BPF_IND:
        return f"r0 = *({width} *)skb[r{i.src} + {i.imm}]"
    return _unknown(i)


def _memory(i: Instruction) -> str:
    kind, mode = i.opcode & 7, i.opcode & 0xE0
    size = i.opcode & 0x18
    base = i.src if kind == op.BPF_LDX else i.dst
    place = f"(r{base} {'-' if i.off < 0 else '+'} {abs(i.off)})"
    if kind == op.BPF_LDX and mode == op.BPF_MEM:
        return f"r{i.dst} = *({_WIDTH[size]} *){place}"
    if kind == op.BPF_LDX and mode == op.BPF_MEMSX and size in _SIGNED_WIDTH:
        return f"r{i.dst} = *({_SIGNED_WIDTH[size]} *){place}"
    if kind == op.BPF_ST and mode == op.BPF_MEM:
        return f"*({_WIDTH[size]} *){place} = {i.imm}"
    if kind == op.BPF_STX and mode == op.BPF_MEM:
        return f"*({_WIDTH[size]} *){place} = r{i.src}"
    if kind == op.BPF_STX and mode == op.BPF_ATOMIC:
        return _atomic(i, f"({_WIDTH[size]} *){place}")
    return _unknown(i)


def _atomic(i: Instruction, place: str) -> str:
    if i.imm == op.BPF_XCHG:
        return f"r{i.src} = atomic_xchg({place}, r{i.src})"
    if i.imm == op.BPF_CMPXCHG:
        return f"r0 = atomic_cmpxchg({place}, r0, r{i.src})"
    if i.imm & op.BPF_FETCH and i.imm & ~op.BPF_FETCH in _FETCH:
        return f"r{i.src} = atomic_fetch_{_FETCH[i.imm & ~op.BPF_FETCH]}({place}, r{i.src})"
    if i.imm in _ATOMIC:
        return f"lock *{place} {_ATOMIC[i.imm]} r{i.src}"
    return _unknown(i)


def _unknown(i: Instruction) -> str:
    return f"<unknown {i.opcode:#04x} dst={i.dst} src={i.src} off={i.off} imm={i.imm}>"
