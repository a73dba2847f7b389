"""`Binary`: an executable or library with everything that it and its debug file say."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from trapline.abi.elf import (
    EM_AARCH64,
    EM_X86_64,
    ET_EXEC,
    SHF_EXECINSTR,
    STB_LOCAL,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    Elf,
    Symbol,
)
from trapline.debuginfo.sections import section_bytes
from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING
from trapline.records import record

if TYPE_CHECKING:
    from trapline.btf import Btf
    from trapline.debuginfo.code_places import CodePlaces
    from trapline.debuginfo.dwarf import Dwarf
    from trapline.debuginfo.usdt import UsdtProbe


@record(frozen=True)
class FunctionSymbol:
    """A function: its virtual address and size in bytes, and its `offset` in the file that is mapped."""

    name: str
    address: int
    size: int
    offset: int


@record(frozen=True)
class DebugLink:
    """How a stripped file names its debug file: `build_id` in hexadecimal, `link` a file name, `crc` its checksum."""

    build_id: str
    link: str = ""
    crc: int = 0


class Binary:
    """An ELF file.

    Args:
        elf: the file itself.
        base: where the ELF file starts in the file that is mapped (an archive), in bytes.
        find_debug: opens the separate debug file; called when the file itself does not know.
    """

    def __init__(self, elf: Elf, *, base: int = 0, find_debug: Callable[[DebugLink], Elf | None] | None = None) -> None:
        self.elf = elf
        self.base = base
        self._find_debug = find_debug

    # ---- files

    @property
    def fixed(self) -> bool:
        """Whether it is a program that runs at the addresses that it names (``ET_EXEC``)."""
        return self.elf.type == ET_EXEC

    @cached_property
    def debug_link(self) -> DebugLink:
        """What names the separate debug file."""
        link, crc = "", 0
        data = self.elf.section_bytes(".gnu_debuglink")
        if data and b"\0" in data:
            link = data[: data.index(b"\0")].decode("utf-8", "surrogateescape")
            crc = int.from_bytes(data[-4:], "little")
        try:
            build_id = self.elf.build_id()
        except DecodeError:
            build_id = None
        return DebugLink(build_id or "", link, crc)

    @cached_property
    def debug_elf(self) -> Elf | None:
        """The separate debug file, if there is one."""
        link = self.debug_link
        if self._find_debug is None or not (link.build_id or link.link):
            return None
        return self._find_debug(link)

    @cached_property
    def _mini_debug(self) -> Elf | None:
        """The symbols that Fedora packs into ``.gnu_debugdata``."""
        packed = self.elf.section_bytes(".gnu_debugdata")
        if not packed:
            return None
        import lzma

        try:
            return Elf(lzma.decompress(packed))
        except (lzma.LZMAError, DecodeError, EOFError):
            return None

    def _symbol_files(self) -> list[Elf]:
        """The files whose symbols count, the best last."""
        found = [self.elf]
        if not any(table.name == ".symtab" for table in self.elf.symbol_tables()):
            found += [file for file in (self._mini_debug, self.debug_elf) if file is not None]
        return found

    # ---- functions

    @cached_property
    def functions(self) -> tuple[FunctionSymbol, ...]:
        """All functions with a place in the file, sorted by name; without duplicates."""
        found: dict[tuple[str, int], FunctionSymbol] = {}
        offset_of = self.elf.file_offset
        for file in self._symbol_files():
            for name, address, size in file.functions():
                # glibc versions its symbols: the name is what stands before the "@".
                name = name.partition("@")[0]
                key = name, address
                if name and key not in found:
                    offset = offset_of(address)
                    if offset is not None:
                        found[key] = FunctionSymbol(name, address, size, offset + self.base)
        return tuple(found[key] for key in sorted(found))

    def function(self, name: str) -> FunctionSymbol | None:
        """Find a symbol: a function before data, a global one before a local one."""
        candidates: list[Symbol] = []
        for file in self._symbol_files():
            candidates += [
                s for s in file.symbols_named(name) if s.type in (STT_FUNC, STT_GNU_IFUNC, STT_OBJECT) and s.value
            ]
        for symbol in sorted(candidates, key=lambda s: (s.type == STT_OBJECT, s.binding == STB_LOCAL)):
            offset = self.elf.file_offset(symbol.value)
            if offset is not None:
                return FunctionSymbol(name, symbol.value, symbol.size, offset + self.base)
        # The names of versions ("name@GLIBC_2.4") are only found one by one, which takes 10 ms for a large library.
        if not any(file.names_contain(name + "@") for file in self._symbol_files()):
            return None
        return next((f for f in self.functions if f.name == name), None)

    def data_symbol(self, name: str) -> Symbol | None:
        """Find any defined symbol by name; variables and functions alike."""
        for file in self._symbol_files():
            found = file.symbol(name)
            if found is not None and found.value:
                return found
        return None

    def function_at(self, offset: int) -> FunctionSymbol | None:
        """Return the function that covers an offset in the file that is mapped."""
        best = None
        for function in self.functions:
            inside = function.offset <= offset < function.offset + max(function.size, 1)
            if inside and (best is None or function.offset > best.offset):
                best = function
        return best

    def extent(self, function: FunctionSymbol) -> int:
        """Return a function's size; one without (``_init``, assembler) reaches to the end of its section at most."""
        if function.size:
            return function.size
        for section in self.elf.sections:
            if section.flags & SHF_EXECINSTR and 0 <= function.address - section.address < section.size:
                return section.address + section.size - function.address
        return 0

    def begins_instruction(self, function: FunctionSymbol, offset: int) -> bool | None:
        """Return whether an instruction begins `offset` bytes behind a function's start; ``None`` when not known."""
        if self.elf.machine == EM_AARCH64:
            return offset % 4 == 0
        if self.elf.machine != EM_X86_64:
            return None
        from trapline.abi.x86_length import begins_instruction

        return begins_instruction(self.elf.file_bytes(function.offset - self.base, offset + 16), offset)

    def address_of(self, offset: int) -> int | None:
        """Translate an offset in the file that is mapped to a virtual address."""
        return self.elf.address_of(offset - self.base)

    def file_offset(self, address: int) -> int | None:
        """Translate a virtual address to an offset in the file that is mapped."""
        found = self.elf.file_offset(address)
        return None if found is None else found + self.base

    # ---- USDT

    @cached_property
    def usdt_probes(self) -> tuple[UsdtProbe, ...]:
        """The file's USDT probes; none when its notes cannot be read."""
        from trapline.debuginfo.usdt import UsdtLocation, UsdtProbe, read_usdt_probes

        try:
            found = read_usdt_probes(self.elf)
        except DecodeError:
            return ()
        if not self.base:
            return found
        return tuple(
            UsdtProbe(
                probe.provider,
                probe.name,
                tuple(
                    UsdtLocation(p.offset + self.base, p.semaphore and p.semaphore + self.base, p.arguments)
                    for p in probe.locations
                ),
            )
            for probe in found
        )

    # ---- DWARF

    @cached_property
    def dwarf(self) -> Dwarf | None:
        """The DWARF of the file or of its debug file."""
        from trapline.debuginfo.dwarf import Dwarf

        for file in (self.elf, self.debug_elf):
            if file is not None and file.section(".debug_info") is not None and section_bytes(file, ".debug_info"):
                return Dwarf(file)
        return None

    @cached_property
    def places(self) -> CodePlaces | None:
        """Source lines and inlined functions by address, if the file has DWARF."""
        if self.dwarf is None:
            return None
        from trapline.debuginfo.code_places import CodePlaces

        return CodePlaces(self.dwarf)

    def function_types(self, address: int) -> tuple[Btf, int] | None:
        """Return the types of the function that starts at `address`, as BTF with the id of its ``Func``.

        Returns:
            ``None`` when the file has no DWARF, or it does not describe the function.
        """
        if self.dwarf is None:
            return None
        from trapline.debuginfo.dwarf_types import convert_function

        try:
            return convert_function(self.dwarf, address)
        except DecodeError:
            return None


def is_mangled(name: str) -> bool:
    """Return whether a symbol's name is a C++ one that a demangler should look at."""
    return name.startswith(("_Z", "__Z", "___Z", "____Z"))
