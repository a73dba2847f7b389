"""Instruction encoding, the assembler and the disassembler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trapline.abi.assembler import R0, R1, R2, R6, R10, Assembler
from trapline.abi.disassemble import disassemble, format_instruction
from trapline.abi.helper_ids import HELPER_NAMES, HELPERS
from trapline.abi.instructions import LD_IMM64, Instruction, decode_instructions, encode_instructions
from trapline.errors import DecodeError

_PLAIN = st.builds(
    Instruction,
    opcode=st.integers(0, 255).filter(lambda o: o != LD_IMM64),
    dst=st.integers(0, 15),
    src=st.integers(0, 15),
    off=st.integers(-(1 << 15), (1 << 15) - 1),
    imm=st.integers(-(1 << 31), (1 << 31) - 1),
)
_WIDE = st.builds(
    Instruction,
    opcode=st.just(LD_IMM64),
    dst=st.integers(0, 15),
    src=st.integers(0, 15),
    off=st.just(0),
    imm=st.integers(0, (1 << 64) - 1),
)


@given(st.lists(_PLAIN | _WIDE, max_size=20))
def test_decoding_gives_back_what_was_encoded(instructions: list[Instruction]) -> None:
    code = encode_instructions(instructions)
    decoded = list(decode_instructions(code))
    assert [i for _, i in decoded] == instructions
    slots = [0]
    for instruction in instructions:
        slots.append(slots[-1] + instruction.words)
    assert [slot for slot, _ in decoded] == slots[:-1]
    assert len(code) == 8 * slots[-1]


@given(st.lists(_PLAIN | _WIDE, max_size=20))
def test_every_instruction_has_a_text(instructions: list[Instruction]) -> None:
    lines = list(disassemble(encode_instructions(instructions)))
    assert len(lines) == len(instructions)
    assert all("\n" not in line and line.strip() for line in lines)


@pytest.mark.parametrize(
    "code", [b"\x95", bytes.fromhex("1800000001000000"), bytes.fromhex("180000000100000095") + bytes(7)]
)
def test_malformed_code_is_a_decode_error(code: bytes) -> None:
    with pytest.raises(DecodeError):
        list(decode_instructions(code))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("79 10 08 00 00 00 00 00", "r0 = *(u64 *)(r1 + 8)"),
        ("61 12 f8 ff 00 00 00 00", "r2 = *(u32 *)(r1 - 8)"),
        ("7b 6a f0 ff 00 00 00 00", "*(u64 *)(r10 - 16) = r6"),
        ("62 0a fc ff 07 00 00 00", "*(u32 *)(r10 - 4) = 7"),
        ("b7 01 00 00 05 00 00 00", "r1 = 5"),
        ("bc 21 00 00 00 00 00 00", "w1 = w2"),
        ("0f 21 00 00 00 00 00 00", "r1 += r2"),
        ("c7 01 00 00 20 00 00 00", "r1 s>>= 32"),
        ("87 01 00 00 00 00 00 00", "r1 = -r1"),
        ("3f 21 01 00 00 00 00 00", "r1 s/= r2"),
        ("bf 21 20 00 00 00 00 00", "r1 = (s32)r2"),
        ("dc 01 00 00 10 00 00 00", "r1 = be16 r1"),
        ("d7 01 00 00 40 00 00 00", "r1 = bswap64 r1"),
        ("85 00 00 00 0e 00 00 00", "call bpf_get_current_pid_tgid#14"),
        ("85 10 00 00 02 00 00 00", "call pc+2"),
        ("85 20 00 00 39 30 00 00", "call kernel-function#12345"),
        ("95 00 00 00 00 00 00 00", "exit"),
        ("05 00 fe ff 00 00 00 00", "goto -2"),
        ("55 01 03 00 00 00 00 00", "if r1 != 0 goto +3"),
        ("6d 21 03 00 00 00 00 00", "if r1 s> r2 goto +3"),
        ("16 01 01 00 ff ff ff ff", "if w1 == -1 goto +1"),
        ("db 21 08 00 00 00 00 00", "lock *(u64 *)(r1 + 8) += r2"),
        ("db 21 00 00 01 00 00 00", "r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)"),
        ("db 21 00 00 e1 00 00 00", "r2 = atomic_xchg((u64 *)(r1 + 0), r2)"),
        ("c3 21 00 00 f1 00 00 00", "r0 = atomic_cmpxchg((u32 *)(r1 + 0), r0, r2)"),
        ("91 10 00 00 00 00 00 00", "r0 = *(s8 *)(r1 + 0)"),
        ("30 00 00 00 0c 00 00 00", "r0 = *(u8 *)skb[12]"),
        ("18 01 00 00 ff ff ff ff 00 00 00 00 01 00 00 00", "r1 = 0x1ffffffff ll"),
        ("18 11 00 00 05 00 00 00 00 00 00 00 00 00 00 00", "r1 = map[fd:5]"),
        ("18 21 00 00 05 00 00 00 00 00 00 00 08 00 00 00", "r1 = map[fd:5][0]+8"),
        ("18 42 00 00 ff ff ff ff 00 00 00 00 00 00 00 00", "r2 = function[-1]"),
    ],
)
def test_text_is_the_verifiers_notation(raw: str, text: str) -> None:
    ((_, instruction),) = decode_instructions(bytes.fromhex(raw.replace(" ", "")))
    assert format_instruction(instruction) == text


def test_a_listing_has_absolute_targets_and_map_names() -> None:
    asm = Assembler()
    asm.load_imm64(R1, 0).jump("eq", R1, 0, "end").mov(R0, 1).label("end").exit()
    assert list(disassemble(asm.assemble(), {0: "@x"})) == [
        "   0: r1 = map[@x]",
        "   2: if r1 == 0 goto 4",
        "   3: r0 = 1",
        "   4: exit",
    ]


def test_assembled_words_are_the_kernels() -> None:
    asm = Assembler()
    asm.load(8, R0, R1, 8).store(4, R10, -4, R0).store_imm(1, R10, -5, 3).alu("and", R0, 255).mov_reg(R6, R0)
    asm.mov(R2, 1 << 40).call("ktime_get_ns").atomic_add(8, R10, -8, R2).exit()
    expected = """
        79 10 08 00 00 00 00 00
        63 0a fc ff 00 00 00 00
        72 0a fb ff 03 00 00 00
        57 00 00 00 ff 00 00 00
        bf 06 00 00 00 00 00 00
        18 02 00 00 00 00 00 00 00 00 00 00 00 01 00 00
        85 00 00 00 05 00 00 00
        db 2a f8 ff 00 00 00 00
        95 00 00 00 00 00 00 00
    """
    assert asm.assemble() == bytes.fromhex("".join(expected.split()))


def test_jumps_backwards_and_over_wide_instructions() -> None:
    asm = Assembler()
    asm.label("top").goto("end").load_imm64(R1, 1).goto("top").label("end").exit()
    offsets = [i.off for _, i in decode_instructions(asm.assemble()) if i.opcode == 0x05]
    assert offsets == [3, -4]


def test_subprogram_calls_count_from_the_next_instruction() -> None:
    asm = Assembler()
    asm.call_function("f").load_function(R1, "f").exit().label("f").exit()
    found = [i for _, i in decode_instructions(asm.assemble())]
    assert (found[0].imm, found[1].imm) == (3, 2)


def test_labels_are_checked() -> None:
    with pytest.raises(ValueError, match="not defined"):
        Assembler().goto("nowhere").assemble()
    with pytest.raises(ValueError, match="twice"):
        Assembler().label("a").label("a")


def test_helpers_are_numbered_without_gaps() -> None:
    assert sorted(HELPERS.values()) == list(range(1, 212))
    assert HELPERS["probe_read_kernel"] == 113
    assert HELPERS["loop"] == 181
    assert HELPER_NAMES[130] == "ringbuf_output"
