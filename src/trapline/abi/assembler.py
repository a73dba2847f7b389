"""A small assembler: methods append instructions, labels resolve jumps.

For the little programs that trapline itself needs (feature probes, counters) and for tests::

    asm = Assembler()
    asm.load_map_fd(R1, fd)
    asm.call("get_smp_processor_id")
    asm.jump("eq", R0, 0, "end")
    asm.label("end").mov(R0, 0).exit()
    code = asm.assemble()
"""

from __future__ import annotations

from trapline.abi import instructions as op
from trapline.abi.helper_ids import HELPERS
from trapline.abi.instructions import Instruction

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

_SIZES = {1: op.BPF_B, 2: op.BPF_H, 4: op.BPF_W, 8: op.BPF_DW}
_ALU = {
    "add": op.BPF_ADD,
    "sub": op.BPF_SUB,
    "mul": op.BPF_MUL,
    "div": op.BPF_DIV,
    "or": op.BPF_OR,
    "and": op.BPF_AND,
    "lsh": op.BPF_LSH,
    "rsh": op.BPF_RSH,
    "mod": op.BPF_MOD,
    "xor": op.BPF_XOR,
    "arsh": op.BPF_ARSH,
    "mov": op.BPF_MOV,
}
_JUMPS = {
    "eq": op.BPF_JEQ,
    "ne": op.BPF_JNE,
    "gt": op.BPF_JGT,
    "ge": op.BPF_JGE,
    "lt": op.BPF_JLT,
    "le": op.BPF_JLE,
    "sgt": op.BPF_JSGT,
    "sge": op.BPF_JSGE,
    "slt": op.BPF_JSLT,
    "sle": op.BPF_JSLE,
    "set": op.BPF_JSET,
}


class Assembler:
    """Collects instructions; every method but `assemble` returns the assembler itself."""

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._slot = 0
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, int, str]] = []  # (index in _code, its slot, label)
        self._functions: list[tuple[int, int, str]] = []  # the same for subprogram calls and addresses

    @property
    def slot(self) -> int:
        """The index (in 8-byte slots) of the next instruction."""
        return self._slot

    def emit(self, instruction: Instruction) -> Assembler:
        """Append `instruction` as it is."""
        self._code.append(instruction)
        self._slot += instruction.words
        return self

    def label(self, name: str) -> Assembler:
        """Name the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name!r} is defined twice")
        self._labels[name] = self._slot
        return self

    def mov(self, dst: int, imm: int) -> Assembler:
        """``dst = imm`` (64 bits where it needs them)."""
        if -(1 << 31) <= imm < 1 << 31:
            return self.emit(Instruction(op.BPF_ALU64 | op.BPF_MOV | op.BPF_K, dst, imm=imm))
        return self.load_imm64(dst, imm)

    def mov_reg(self, dst: int, src: int) -> Assembler:
        """``dst = src``."""
        return self.emit(Instruction(op.BPF_ALU64 | op.BPF_MOV | op.BPF_X, dst, src))

    def alu(self, name: str, dst: int, imm: int) -> Assembler:
        """``dst OP= imm`` on 64 bits; `name` is ``add``, ``sub``, ``and``, ``lsh`` and so on."""
        return self.emit(Instruction(op.BPF_ALU64 | _ALU[name] | op.BPF_K, dst, imm=imm))

    def alu_reg(self, name: str, dst: int, src: int) -> Assembler:
        """``dst OP= src`` on 64 bits."""
        return self.emit(Instruction(op.BPF_ALU64 | _ALU[name] | op.BPF_X, dst, src))

    def load_imm64(self, dst: int, value: int, source: int = 0) -> Assembler:
        """``dst = value`` by the 16-byte instruction; `source` is its ``BPF_PSEUDO_…`` kind."""
        return self.emit(Instruction(op.LD_IMM64, dst, source, 0, value & 0xFFFFFFFFFFFFFFFF))

    def load_map_fd(self, dst: int, fd: int) -> Assembler:
        """``dst = map``."""
        return self.load_imm64(dst, fd, op.BPF_PSEUDO_MAP_FD)

    def load_map_value(self, dst: int, fd: int, offset: int = 0) -> Assembler:
        """``dst = address of the map's element 0 + offset``."""
        return self.load_imm64(dst, fd | offset << 32, op.BPF_PSEUDO_MAP_VALUE)

    def load(self, size: int, dst: int, src: int, off: int = 0) -> Assembler:
        """``dst = *(size *)(src + off)``; `size` in bytes."""
        return self.emit(Instruction(op.BPF_LDX | op.BPF_MEM | _SIZES[size], dst, src, off))

    def store(self, size: int, dst: int, off: int, src: int) -> Assembler:
        """``*(size *)(dst + off) = src``."""
        return self.emit(Instruction(op.BPF_STX | op.BPF_MEM | _SIZES[size], dst, src, off))

    def store_imm(self, size: int, dst: int, off: int, imm: int) -> Assembler:
        """``*(size *)(dst + off) = imm``."""
        return self.emit(Instruction(op.BPF_ST | op.BPF_MEM | _SIZES[size], dst, 0, off, imm))

    def atomic_add(self, size: int, dst: int, off: int, src: int) -> Assembler:
        """``lock *(size *)(dst + off) += src``."""
        return self.emit(Instruction(op.BPF_STX | op.BPF_ATOMIC | _SIZES[size], dst, src, off, op.BPF_ADD))

    def call(self, helper: str | int) -> Assembler:
        """``call helper``, by its name without prefix or by its number."""
        number = HELPERS[helper] if isinstance(helper, str) else helper
        return self.emit(Instruction(op.BPF_JMP | op.BPF_CALL, imm=number))

    def call_kfunc(self, btf_id: int, fd_index: int = 0) -> Assembler:
        """Call the kernel function with this BTF id; `fd_index` selects a module's BTF in ``fd_array``."""
        return self.emit(Instruction(op.BPF_JMP | op.BPF_CALL, 0, op.BPF_PSEUDO_KFUNC_CALL, fd_index, btf_id))

    def call_function(self, label: str) -> Assembler:
        """Call the subprogram at `label`."""
        self._functions.append((len(self._code), self._slot, label))
        return self.emit(Instruction(op.BPF_JMP | op.BPF_CALL, 0, op.BPF_PSEUDO_CALL))

    def load_function(self, dst: int, label: str) -> Assembler:
        """``dst = subprogram at label`` (a callback)."""
        self._functions.append((len(self._code), self._slot, label))
        return self.load_imm64(dst, 0, op.BPF_PSEUDO_FUNC)

    def goto(self, label: str) -> Assembler:
        """Jump to `label`."""
        self._jumps.append((len(self._code), self._slot, label))
        return self.emit(Instruction(op.BPF_JMP | op.BPF_JA))

    def jump(self, condition: str, dst: int, imm: int, label: str) -> Assembler:
        """Jump to `label` if ``dst CONDITION imm``; `condition` is ``eq``, ``ne``, ``gt``, ``slt`` and so on."""
        self._jumps.append((len(self._code), self._slot, label))
        return self.emit(Instruction(op.BPF_JMP | _JUMPS[condition] | op.BPF_K, dst, imm=imm))

    def jump_reg(self, condition: str, dst: int, src: int, label: str) -> Assembler:
        """Jump to `label` if ``dst CONDITION src``."""
        self._jumps.append((len(self._code), self._slot, label))
        return self.emit(Instruction(op.BPF_JMP | _JUMPS[condition] | op.BPF_X, dst, src))

    def exit(self) -> Assembler:
        """Return r0."""
        return self.emit(Instruction(op.BPF_JMP | op.BPF_EXIT))

    def assemble(self) -> bytes:
        """Resolve the labels and return the bytecode.

        Raises:
            ValueError: a label is used but not defined.
        """
        code = list(self._code)
        for index, slot, label in self._jumps:
            old = code[index]
            code[index] = Instruction(old.opcode, old.dst, old.src, self._resolve(label) - slot - 1, old.imm)
        for index, slot, label in self._functions:
            old = code[index]
            distance = (self._resolve(label) - slot - 1) & 0xFFFFFFFF
            code[index] = Instruction(old.opcode, old.dst, old.src, old.off, distance)
        return op.encode_instructions(code)

    def _resolve(self, label: str) -> int:
        if label not in self._labels:
            raise ValueError(f"label {label!r} is not defined")
        return self._labels[label]
