from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from trapline.abi.elf import SHF_EXECINSTR, Section
from trapline.debuginfo.binary import Binary, FunctionSymbol
from trapline.engine.user_symbols import read_file_functions
from trapline.runtime.symbols import SymbolTable


def section(name: str, address: int, size: int) -> Section:
    return Section(1, name, 1, SHF_EXECINSTR, address, address, size, 0, 0, 16, 0)


def test_a_function_without_a_size_ends_with_its_section() -> None:
    sections = [section(".init", 0x1000, 0x17), section(".plt", 0x1020, 0x100), section(".text", 0x2000, 0x100)]
    binary: Any = Binary.__new__(Binary)
    binary.elf = SimpleNamespace(sections=sections)
    binary.functions = (
        FunctionSymbol("_init", 0x1000, 0, 0x1000),
        FunctionSymbol("assembler", 0x2000, 0, 0x2000),
        FunctionSymbol("next", 0x2040, 8, 0x2040),
    )
    files: Any = SimpleNamespace(open=lambda path: binary)
    table = SymbolTable((offset, size, name, "") for offset, size, name in read_file_functions(files, "lib.so"))
    found = {address: table.find(address) for address in (0x1016, 0x1050, 0x203F, 0x2041, 0x2050)}
    assert {address: symbol and symbol.name for address, symbol in found.items()} == {
        0x1016: "_init", 0x1050: None, 0x203F: "assembler", 0x2041: "next", 0x2050: None,
    }  # fmt: skip
