"""A small ELF64 reader: sections, symbols, relocations, notes and segments out of bytes.

It reads LLVM's BPF objects and the binaries that uprobes go into.  Nothing is decoded before it is asked for; looking a
symbol up in a table of a million takes a search through bytes, not a million Python objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from struct import Struct, error

from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING
from trapline.records import record

if TYPE_CHECKING:
    from mmap import mmap

ET_REL = 1
ET_EXEC = 2
ET_DYN = 3
EM_X86_64 = 62
EM_AARCH64 = 183
EM_BPF = 247
PT_LOAD = 1
PT_NOTE = 4
PF_X = 1
SHT_SYMTAB = 2
SHT_RELA = 4
SHT_NOTE = 7
SHT_NOBITS = 8
SHT_REL = 9
SHT_DYNSYM = 11
SHF_ALLOC = 2
SHF_EXECINSTR = 4
SHN_UNDEF = 0
SHN_XINDEX = 0xFFFF
STB_LOCAL = 0
STB_GLOBAL = 1
STB_WEAK = 2
STT_NOTYPE = 0
STT_OBJECT = 1
STT_FUNC = 2
STT_SECTION = 3
STT_GNU_IFUNC = 10
NT_GNU_BUILD_ID = 3

_EHDR = Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SHDR = Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_PHDR = Struct("<IIQQQQQQ")  # Elf64_Phdr
_SYM = Struct("<IBBHQQ")  # Elf64_Sym
_REL = Struct("<QQ")  # Elf64_Rel
_RELA = Struct("<QQq")  # Elf64_Rela
_NHDR = Struct("<III")  # Elf64_Nhdr


@record(frozen=True)
class Section:
    """A section header; `offset` and `size` are bytes in the file, `address` is where it is mapped."""

    index: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


@record(frozen=True)
class Segment:
    """A program header; sizes in bytes."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int


@record(frozen=True)
class Symbol:
    """A symbol; `value` is an address (executables, libraries) or an offset in section `section` (object files)."""

    name: str
    value: int
    size: int
    type: int
    binding: int
    section: int

    @property
    def defined(self) -> bool:
        """Whether the symbol has a place in this file."""
        return self.section != SHN_UNDEF


@record(frozen=True)
class Relocation:
    """A relocation: at byte `offset` of the section, by symbol `symbol` (index); `addend` is ``None`` in SHT_REL."""

    offset: int
    type: int
    symbol: int
    addend: int | None


@record(frozen=True)
class Note:
    """A note: `owner` (``GNU``, ``stapsdt``), `type` and payload."""

    owner: str
    type: int
    payload: bytes


class Elf:
    """A 64-bit little-endian ELF file.

    Args:
        data: the file's bytes: any buffer, also a mapped file, which must stay open as long as this object.

    Raises:
        DecodeError: not such a file.  Every method raises it for bytes that contradict themselves.
    """

    def __init__(self, data: bytes | bytearray | memoryview | mmap) -> None:
        self._data = bytes(data) if isinstance(data, memoryview) else data
        try:
            header = _EHDR.unpack_from(self._data)
        except error:
            raise DecodeError(f"{len(self._data)} bytes are too few for an ELF header") from None
        ident = header[0]
        if ident[:4] != b"\x7fELF":
            raise DecodeError("not an ELF file: wrong magic")
        if ident[4] != 2:
            raise DecodeError("a 32-bit ELF file; only 64-bit ones are supported", offset=4)
        if ident[5] != 1:
            raise DecodeError("a big-endian ELF file; only little-endian ones are supported", offset=5)
        self.type: int = header[1]
        self.machine: int = header[2]
        self.entry: int = header[4]
        self._phoff, self._shoff = header[5], header[6]
        self._phentsize, self._phnum, self._shentsize, self._shnum, self._shstrndx = header[9:14]

    # ---- sections and segments

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All section headers, the null section first."""
        if self._shoff == 0:
            return ()
        if self._shentsize < _SHDR.size:
            raise DecodeError(f"ELF section headers of {self._shentsize} bytes", offset=58)
        first = self._unpack(_SHDR, self._shoff, "section header")
        # With 65,280 sections or more the counts stand in the null section (gABI, "extended section numbering").
        total = self._shnum or first[5]
        names_index = first[6] if self._shstrndx == SHN_XINDEX else self._shstrndx
        if self._shoff + total * self._shentsize > len(self._data):
            raise DecodeError(f"the {total} ELF section headers run over the end of the file", offset=self._shoff)
        headers = [self._unpack(_SHDR, self._shoff + i * self._shentsize, "section header") for i in range(total)]
        names = headers[names_index] if 0 < names_index < total else None
        return tuple(
            Section(i, self._string(names[4], names[5], h[0]) if names else "", *h[1:]) for i, h in enumerate(headers)
        )

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """All program headers."""
        if self._phoff == 0 or self._phnum == 0:
            return ()
        if self._phentsize < _PHDR.size:
            raise DecodeError(f"ELF program headers of {self._phentsize} bytes", offset=54)
        found = []
        for i in range(self._phnum):
            kind, flags, offset, address, _, file_size, memory_size, alignment = self._unpack(
                _PHDR, self._phoff + i * self._phentsize, "program header"
            )
            found.append(Segment(kind, flags, offset, address, file_size, memory_size, alignment))
        return tuple(found)

    def section(self, name: str) -> Section | None:
        """Find the first section with a name; ``None`` when there is none."""
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, section: Section) -> bytes:
        """Copy the bytes of a section (empty for one that occupies no file space, such as ``.bss``)."""
        if section.type == SHT_NOBITS:
            return b""
        self._check_range(section.offset, section.size, f"section {section.name}")
        return bytes(self._data[section.offset : section.offset + section.size])

    def file_bytes(self, offset: int, size: int) -> bytes:
        """Copy bytes of the file; fewer where it ends."""
        return bytes(self._data[offset : offset + size])

    def section_bytes(self, name: str) -> bytes | None:
        """Copy the bytes of the section with a name; ``None`` when there is none."""
        found = self.section(name)
        return None if found is None else self.contents(found)

    def file_offset(self, address: int) -> int | None:
        """Translate a virtual address to an offset in the file; ``None`` outside the segments that the file backs."""
        for segment in self.segments:
            if segment.type == PT_LOAD and 0 <= address - segment.address < segment.file_size:
                return address - segment.address + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """Translate an offset in the file to a virtual address; ``None`` outside the loaded segments."""
        for segment in self.segments:
            if segment.type == PT_LOAD and 0 <= offset - segment.offset < segment.file_size:
                return offset - segment.offset + segment.address
        return None

    # ---- symbols

    def symbol_tables(self) -> tuple[Section, ...]:
        """Return ``.symtab`` and ``.dynsym``, as far as they exist, in this order."""
        return tuple(s for kind in (SHT_SYMTAB, SHT_DYNSYM) for s in self.sections if s.type == kind)

    def symbols(self, table: Section | None = None) -> Iterator[Symbol]:
        """Iterate over the symbols of a table, the null symbol included (so that positions are indices).

        Args:
            table: one of `symbol_tables`; by default the first.
        """
        if table is None:
            tables = self.symbol_tables()
            if not tables:
                return
            table = tables[0]
        strings = self._linked_strings(table)
        for position in range(self._symbol_count(table)):
            yield self._symbol(table, strings, position)

    def symbol_at(self, table: Section, index: int) -> Symbol:
        """Decode the symbol at an index of a table (as relocations refer to it)."""
        if not 0 <= index < self._symbol_count(table):
            raise DecodeError(f"ELF symbol {index} does not exist", offset=table.offset)
        return self._symbol(table, self._linked_strings(table), index)

    def symbols_named(self, name: str) -> tuple[Symbol, ...]:
        """Find the defined symbols with a name, in ``.symtab`` and then ``.dynsym``, without duplicates."""
        found: dict[Symbol, None] = {}
        needle = name.encode("utf-8", "surrogateescape") + b"\0"
        for table in self.symbol_tables():
            strings = self._linked_strings(table)
            data, size = self.contents(table), self._symbol_count(table) * _SYM.size
            place = self._data.find(needle, strings.offset, strings.offset + strings.size)
            while place >= 0 and len(needle) > 1:
                # A linker may share tails, so that a match in the middle of a string counts too.
                key = (place - strings.offset).to_bytes(4, "little")
                entry = data.find(key, 0, size)
                while entry >= 0:
                    if entry % _SYM.size == 0:
                        symbol = self._symbol(table, strings, entry // _SYM.size)
                        if symbol.defined:
                            found[symbol] = None
                    entry = data.find(key, entry + 1, size)
                place = self._data.find(needle, place + 1, strings.offset + strings.size)
        return tuple(found)

    def names_contain(self, text: str) -> bool:
        """Return whether any symbol's name contains a text; far cheaper than to decode the names."""
        needle = text.encode("utf-8", "surrogateescape")
        tables = [self._linked_strings(table) for table in self.symbol_tables()]
        return any(self._data.find(needle, t.offset, t.offset + t.size) >= 0 for t in tables)

    def symbol(self, name: str) -> Symbol | None:
        """Find the defined symbol with a name: a function before data, a global one before a local one."""
        found = self.symbols_named(name)
        if not found:
            return None
        return min(found, key=lambda s: (s.type not in (STT_FUNC, STT_GNU_IFUNC), s.binding == STB_LOCAL))

    def functions(self) -> Iterator[tuple[str, int, int]]:
        """Iterate over (name, address, size in bytes) of the functions of all symbol tables, as the file has them."""
        for table in self.symbol_tables():
            strings = self._linked_strings(table)
            names = self.contents(strings)
            count = self._symbol_count(table)
            for name, info, _, section, value, size in _SYM.iter_unpack(self.contents(table)[: count * _SYM.size]):
                if section != SHN_UNDEF and info & 15 in (STT_FUNC, STT_GNU_IFUNC):
                    end = names.find(b"\0", name)
                    if end < 0:
                        raise DecodeError(f"ELF string {name} is outside its table", offset=strings.offset)
                    yield names[name:end].decode("utf-8", "surrogateescape"), value, size

    def _symbol_count(self, table: Section) -> int:
        if table.entry_size not in (0, _SYM.size):
            raise DecodeError(f"ELF symbols of {table.entry_size} bytes", offset=table.offset)
        self._check_range(table.offset, table.size, f"symbol table {table.name}")
        return table.size // _SYM.size

    def _symbol(self, table: Section, strings: Section, index: int) -> Symbol:
        name, info, _, section, value, size = self._unpack(_SYM, table.offset + index * _SYM.size, "symbol")
        return Symbol(self._string(strings.offset, strings.size, name), value, size, info & 15, info >> 4, section)

    def _linked_strings(self, table: Section) -> Section:
        if not 0 < table.link < len(self.sections):
            raise DecodeError(f"ELF symbol table {table.name} has no string table", offset=table.offset)
        strings = self.sections[table.link]
        self._check_range(strings.offset, strings.size, f"string table {strings.name}")
        return strings

    # ---- relocations and notes

    def relocations(self, section: Section) -> Iterator[Relocation]:
        """Iterate over the relocations of a section, given either itself or its ``.rel``/``.rela`` section."""
        if section.type in (SHT_REL, SHT_RELA):
            tables = [section]
        else:
            tables = [s for s in self.sections if s.type in (SHT_REL, SHT_RELA) and s.info == section.index]
        for table in tables:
            layout = _RELA if table.type == SHT_RELA else _REL
            data = self.contents(table)
            for entry in layout.iter_unpack(data[: len(data) // layout.size * layout.size]):
                info = entry[1]
                yield Relocation(entry[0], info & 0xFFFFFFFF, info >> 32, entry[2] if len(entry) == 3 else None)

    def relocation_symbols(self, section: Section) -> Section | None:
        """Return the symbol table that the relocations of a section refer to."""
        for table in self.sections:
            if table.type in (SHT_REL, SHT_RELA) and section.index in (table.info, table.index):
                return self.sections[table.link] if 0 < table.link < len(self.sections) else None
        return None

    def notes(self, name: str = "") -> Iterator[Note]:
        """Iterate over the notes: of the note sections, or where there are none, of the note segments.

        Args:
            name: only of the section of this name.
        """
        areas = [(s.offset, s.size, s.alignment) for s in self.sections if s.type == SHT_NOTE and name in ("", s.name)]
        if name and not areas and self.sections:
            return
        if not areas:
            areas = [(s.offset, s.file_size, s.alignment) for s in self.segments if s.type == PT_NOTE]
        for start, size, alignment in areas:
            self._check_range(start, size, "notes")
            yield from self._notes(start, start + size, 8 if alignment == 8 else 4)

    def _notes(self, position: int, end: int, alignment: int) -> Iterator[Note]:
        while position + _NHDR.size <= end:
            name_size, size, kind = self._unpack(_NHDR, position, "note")
            name = position + _NHDR.size
            payload = name + name_size
            payload += -(payload - position) % alignment
            if payload + size > end:
                raise DecodeError("an ELF note runs over the end of its section", offset=position)
            owner = bytes(self._data[name : name + name_size]).rstrip(b"\0").decode("utf-8", "replace")
            yield Note(owner, kind, bytes(self._data[payload : payload + size]))
            position = payload + size
            position += -size % alignment

    def build_id(self) -> str | None:
        """Return the GNU build id in hexadecimal; ``None`` when the file has none."""
        for note in self.notes():
            if note.owner == "GNU" and note.type == NT_GNU_BUILD_ID:
                return note.payload.hex()
        return None

    # ---- bytes

    def _unpack(self, layout: Struct, offset: int, what: str) -> tuple[int, ...]:
        if offset + layout.size > len(self._data):
            raise DecodeError(f"an ELF {what} lies beyond the end of the file", offset=offset)
        return layout.unpack_from(self._data, offset)

    def _check_range(self, offset: int, size: int, what: str) -> None:
        if offset + size > len(self._data):
            raise DecodeError(f"ELF {what} runs over the end of the file", offset=offset)

    def _string(self, start: int, size: int, offset: int) -> str:
        if offset == 0 and size == 0:
            return ""
        end = self._data.find(b"\0", start + offset, min(start + size, len(self._data))) if offset < size else -1
        if end < 0:
            raise DecodeError(f"ELF string {offset} is outside its table or has no end", offset=start + offset)
        return bytes(self._data[start + offset : end]).decode("utf-8", "surrogateescape")
