"""Constants, layouts and register tables."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from trapline.abi import bpf, perf
from trapline.abi.arch import AARCH64, ARCHITECTURES, X86_64, resolve_arch
from trapline.abi.helper_ids import HELPERS
from trapline.abi.perf import PerfEventAttr
from trapline.errors import FeatureMissingError


def test_pt_regs_of_x86_64() -> None:
    # Offsets as the kernel's own test programs use them (PT_REGS_PARM1 is di, at 112 …).
    expected = {"di": 112, "si": 104, "dx": 96, "cx": 88, "r8": 72, "r9": 64, "ax": 80, "ip": 128, "sp": 152, "r15": 0}
    assert {name: X86_64.register_offset(name) for name in expected} == expected
    assert X86_64.register_offset("rdi") == X86_64.register_offset("di")
    assert X86_64.register_offset("nothing") is None


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
def test_every_named_register_exists(arch: object) -> None:
    assert arch in ARCHITECTURES.values()
    for row in ARCHITECTURES.values():
        names = (*row.arguments, *row.syscall_arguments, row.ip, row.sp, row.fp, row.ret)
        assert all(name in row.registers for name in names)
        assert max(row.registers.values()) + 8 <= row.pt_regs_size


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(FeatureMissingError, match="m68k"):
        resolve_arch("m68k")


def test_perf_event_attr_layout() -> None:
    raw = PerfEventAttr(6, config=1, sample_period=2, wakeup_events=3, config1=0x1122, config2=0x3344, flags=5).encode()
    assert len(raw) == perf.ATTR_SIZE == struct.unpack_from("<I", raw, 4)[0]
    assert struct.unpack_from("<IIQQQQQII", raw) == (6, perf.ATTR_SIZE, 1, 2, 0, 0, 5, 3, 0)
    assert struct.unpack_from("<QQ", raw, 56) == (0x1122, 0x3344)
    assert not any(raw[72:])


def _enum(text: str, prefix: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(rf"\b{prefix}(\w+) = (\d+),", text)}


def test_tables_agree_with_the_headers_of_this_machine() -> None:
    header = Path("/usr/include/linux/bpf.h")
    if not header.exists():
        pytest.skip("lacks /usr/include/linux/bpf.h")
    text = header.read_text()
    helpers = re.findall(r"^\tFN\((\w+)(?:, (\d+), ##ctx)?\)", text, re.M)
    for position, (name, number) in enumerate(helpers):
        if name != "unspec":
            assert HELPERS[name] == int(number or position), name
    block = re.search(r"enum bpf_prog_type \{(.*?)\}", text, re.S)
    assert block is not None
    names = re.findall(r"BPF_PROG_TYPE_(\w+),", block[1])
    assert {n: i for i, n in enumerate(names)}.items() <= bpf.PROGRAM_TYPES.items()
    block = re.search(r"enum bpf_attach_type \{(.*?)\}", text, re.S)
    assert block is not None
    attach = [n for n in re.findall(r"\b(BPF_\w+),", block[1]) if not n.startswith("__")]
    assert {n.removeprefix("BPF_"): i for i, n in enumerate(attach)}.items() <= bpf.ATTACH_TYPES.items()
