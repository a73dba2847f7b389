"""Lengths of x86-64 instructions, also against objdump on a whole library."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trapline.abi.x86_length import begins_instruction, instruction_length

PROGRAMS = Path(__file__).resolve().parents[2] / "programs" / "user"


@pytest.mark.parametrize(
    "code",
    [
        "90",
        "f30f1efa",  # endbr64
        "4889e5",
        "488d4510",
        "8d0437",
        "488b0500edffff",  # rip-relative
        "48b80102030405060708",  # 64-bit immediate
        "66b80100",
        "e800000000",
        "0f8400000000",
        "f20f2cc0",
        "c5f877",  # vzeroupper
        "c5fd6f06",
        "c4e37d39c101",
        "62f17c48100500000000",  # EVEX, rip-relative
        "f7c701000000",
        "f7d8",
        "66f7c70100",
        "4883ec68",
        "c8100000",
        "a10102030405060708",
        "660f3a0fc108",
        "2e0f1f840000000000",
    ],
)
def test_lengths(code: str) -> None:
    data = bytes.fromhex(code)
    assert instruction_length(data + b"\x90" * 16) == len(data)


def test_what_is_not_known() -> None:
    assert instruction_length(b"\x06") is None  # not in 64-bit mode
    assert instruction_length(b"\x48") is None
    assert instruction_length(b"") is None
    assert begins_instruction(b"\x06\x90", 1) is None
    assert begins_instruction(bytes.fromhex("4889e590"), 3) is True
    assert begins_instruction(bytes.fromhex("4889e590"), 2) is False
    assert begins_instruction(b"", 0) is True


@pytest.mark.parametrize("path", [PROGRAMS / "traced", Path("/lib/x86_64-linux-gnu/libm.so.6")])
def test_objdump_says_the_same(path: Path) -> None:
    if not shutil.which("objdump") or not path.exists():
        pytest.skip("needs objdump")
    text = subprocess.run(["objdump", "-d", "-w", "--section=.text", path], capture_output=True, text=True, check=True)
    compared = 0
    for line in text.stdout.splitlines()[:120_000]:
        match = re.match(r"\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t?(.*)", line)
        if match and "(bad)" not in line and not match[1].startswith("9b "):  # fwait is an instruction of its own
            data = bytes.fromhex(match[1])
            assert instruction_length(data + b"\x90" * 15) == len(data), line
            compared += 1
    assert compared > 50
