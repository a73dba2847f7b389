"""USDT notes and the operands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trapline.abi.elf import Elf
from trapline.debuginfo.usdt import Operand, parse_operands, read_usdt_probes

PROGRAMS = Path(__file__).resolve().parents[2] / "programs" / "user"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@%edi", Operand("register", 4, True, register="di")),
        ("8@%r10", Operand("register", 8, False, register="r10")),
        ("2@%r10w", Operand("register", 2, False, register="r10")),
        ("1@%r9b", Operand("register", 1, False, register="r9")),
        ("-1@%ah", Operand("register", 1, True, register="ax", shift=8)),
        ("1@%sil", Operand("register", 1, False, register="si")),
        ("4@$42", Operand("constant", 4, False, 42)),
        ("-4@$-9", Operand("constant", 4, True, -9)),
        ("8@$0x10", Operand("constant", 8, False, 16)),
        ("-2@12(%rdx)", Operand("memory", 2, True, 12, "dx")),
        ("8@(%rsp)", Operand("memory", 8, False, 0, "sp")),
        ("4@-0x14(%rbp)", Operand("memory", 4, False, -20, "bp")),
        ("-4@8+4(%rsp)", Operand("memory", 4, True, 12, "sp")),
        ("8@16(%rax,%rbx,8)", Operand("memory", 8, False, 16, "ax", "bx", 8)),
        ("1@(%rax,%rbx)", Operand("memory", 1, False, 0, "ax", "bx")),
        ("4@(,%rcx,4)", Operand("memory", 4, False, 0, "", "cx", 4)),
        ("%rax", Operand("register", 8, True, register="ax")),
        ("8f@%xmm0", Operand("unknown", 8, True)),
        ("4@nGlobal(%rip)", Operand("unknown", 4, False)),
        ("4@%nosuch", Operand("unknown", 4, False)),
    ],
)
def test_operands_of_x86(text: str, expected: Operand) -> None:
    (found,) = parse_operands(text, "x86_64")
    assert found.text == text
    assert Operand(**{**vars_of(found), "text": ""}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@w0", Operand("register", 4, True, register="x0")),
        ("8@x30", Operand("register", 8, False, register="x30")),
        ("8@sp", Operand("register", 8, False, register="sp")),
        ("-4@5", Operand("constant", 4, True, 5)),
        ("-4@#-5", Operand("constant", 4, True, -5)),
        ("8@xzr", Operand("constant", 8, False, 0)),
        ("-4@[sp]", Operand("memory", 4, True, 0, "sp")),
        ("-4@[sp, 60]", Operand("memory", 4, True, 60, "sp")),
        ("8@[x29, -16]", Operand("memory", 8, False, -16, "x29")),
        ("1@[x0, x1]", Operand("memory", 1, False, 0, "x0", "x1")),
        ("8@[x0, x1, lsl 3]", Operand("memory", 8, False, 0, "x0", "x1", 8)),
        ("8@[x0, w1, sxtw 3]", Operand("unknown", 8, False)),
    ],
)
def test_operands_of_arm(text: str, expected: Operand) -> None:
    (found,) = parse_operands(text, "aarch64")
    assert Operand(**{**vars_of(found), "text": ""}) == expected


def vars_of(operand: Operand) -> dict[str, object]:
    names = ("kind", "size", "signed", "value", "register", "index", "scale", "shift", "text")
    return {name: getattr(operand, name) for name in names}


def test_several_operands() -> None:
    found = parse_operands(" -4@%edi  8@[x0, 8]\t4@$1", "x86_64")
    assert [operand.text for operand in found] == ["-4@%edi", "8@[x0, 8]", "4@$1"]
    assert parse_operands("", "x86_64") == ()


def test_notes_of_a_program() -> None:
    probes = {f"{p.provider}:{p.name}": p for p in read_usdt_probes(Elf((PROGRAMS / "traced").read_bytes()))}
    assert sorted(probes) == ["tt:forms", "tt:multi", "tt:one", "uu:guarded"]
    assert len(probes["tt:multi"].locations) == 2
    assert len({place.arguments for place in probes["tt:multi"].locations}) == 2
    (guarded,) = probes["uu:guarded"].locations
    (free,) = probes["tt:one"].locations
    assert guarded.semaphore and not free.semaphore
    code = (PROGRAMS / "traced").read_bytes()
    assert all(code[place.offset] == 0x90 for p in probes.values() for place in p.locations)  # nop
