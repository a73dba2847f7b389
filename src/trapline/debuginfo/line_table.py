"""Line tables of DWARF: which source line an instruction belongs to."""

from __future__ import annotations

from bisect import bisect_right
from struct import error
from struct import unpack_from as unpack

from trapline.debuginfo import dwarf_constants as c
from trapline.debuginfo.dwarf import sleb, uleb
from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.debuginfo.dwarf import Unit

# Rows of a table: address, number of the file, line; the line is 0 where a sequence ends.
_Row = tuple[int, int, int]


class LineTable:
    """The line table of a unit.

    Args:
        unit: the unit.
        offset: of the table in ``.debug_line``.
        directory: where the compiler ran.

    Raises:
        DecodeError: the table is damaged.
    """

    def __init__(self, unit: Unit, offset: int, directory: str) -> None:
        self._unit = unit
        self._data = unit.dwarf.section(".debug_line")
        self._directory = directory
        self._directories: list[str] = []
        self._files: list[tuple[str, int]] = []
        try:
            self._rows = self._read(offset)
        except (error, IndexError, ValueError):
            raise DecodeError("a DWARF line table is damaged", offset=offset) from None
        self._addresses = [row[0] for row in self._rows]

    def find(self, address: int) -> tuple[str, int] | None:
        """Return (path, line) of the instruction that covers an address."""
        place = bisect_right(self._addresses, address) - 1
        if place < 0:
            return None
        _, file, line = self._rows[place]
        return (self.path(file), line) if line else None

    def path(self, file: int) -> str:
        """Return the path of a file by its number."""
        if self._version < 5:
            file -= 1
        if not 0 <= file < len(self._files):
            return ""
        name, directory = self._files[file]
        if name.startswith("/"):
            return name
        if self._version < 5:
            folder = self._directories[directory - 1] if 0 < directory <= len(self._directories) else ""
        else:
            folder = self._directories[directory] if directory < len(self._directories) else ""
        parts = [name]
        for part in (folder, self._directory):
            if part and not parts[0].startswith("/"):
                parts.insert(0, part)
        return "/".join(parts)

    # ---- reading

    _version = 0

    def _read(self, at: int) -> list[_Row]:
        data = self._data
        (length,) = unpack("<I", data, at)
        wide = length == 0xFFFFFFFF
        at += 4
        if wide:
            (length,) = unpack("<Q", data, at)
            at += 8
        end = at + length
        (self._version,) = unpack("<H", data, at)
        at += 2
        if not 2 <= self._version <= 5 or end > len(data):
            raise ValueError("not a line table")
        if self._version >= 5:
            at += 2  # sizes of addresses and segments
        (header,) = unpack("<Q" if wide else "<I", data, at)
        at += 8 if wide else 4
        program = at + header
        minimum = data[at]
        at += 1 + (self._version >= 4)
        line_base, line_range, opcode_base = unpack("<bBB", data, at + 1)
        lengths = data[at + 4 : at + 3 + opcode_base]
        at += 3 + opcode_base
        if self._version >= 5:
            self._directories = [path for path, _ in self._read_entries(at, wide)]
            self._files = self._read_entries(self._after_entries, wide)
        else:
            self._read_old_names(at)
        return self._run(program, end, minimum, line_base, line_range, opcode_base, lengths)

    def _read_old_names(self, at: int) -> None:
        data = self._data
        while data[at]:
            end = data.index(b"\0", at)
            self._directories.append(data[at:end].decode("utf-8", "replace"))
            at = end + 1
        at += 1
        while data[at]:
            end = data.index(b"\0", at)
            name = data[at:end].decode("utf-8", "replace")
            directory, at = uleb(data, end + 1)
            at = uleb(data, uleb(data, at)[1])[1]  # time and size
            self._files.append((name, directory))

    _after_entries = 0

    def _read_entries(self, at: int, wide: bool) -> list[tuple[str, int]]:
        data = self._data
        formats = []
        count = data[at]
        at += 1
        for _ in range(count):
            content, at = uleb(data, at)
            form, at = uleb(data, at)
            formats.append((content, form))
        number, at = uleb(data, at)
        found = []
        for _ in range(number):
            path, directory = "", 0
            for content, form in formats:
                value, at = self._read_form(form, at, wide)
                if content == c.LNCT_PATH and isinstance(value, str):
                    path = value
                elif content == c.LNCT_DIRECTORY_INDEX and isinstance(value, int):
                    directory = value
            found.append((path, directory))
        self._after_entries = at
        return found

    def _read_form(self, form: int, at: int, wide: bool) -> tuple[str | int, int]:
        data = self._data
        if form == 0x08:  # string
            end = data.index(b"\0", at)
            return data[at:end].decode("utf-8", "replace"), end + 1
        if form in (0x0E, 0x1F):  # strp, line_strp
            (offset,) = unpack("<Q" if wide else "<I", data, at)
            section = ".debug_str" if form == 0x0E else ".debug_line_str"
            return self._unit.dwarf.string(offset, section), at + (8 if wide else 4)
        if form == 0x0F:  # udata
            return uleb(data, at)
        if form == 0x09:  # block
            size, at = uleb(data, at)
            return 0, at + size
        sizes = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}
        if form not in sizes:
            raise ValueError(f"form {form:#x}")
        return int.from_bytes(data[at : at + sizes[form]], "little"), at + sizes[form]

    def _run(
        self, at: int, end: int, minimum: int, line_base: int, line_range: int, opcode_base: int, lengths: bytes
    ) -> list[_Row]:
        data = self._data
        rows: list[_Row] = []
        sequence: list[_Row] = []
        address, file, line = 0, 1, 1
        while at < end:
            opcode = data[at]
            at += 1
            if opcode >= opcode_base:
                opcode -= opcode_base
                address += opcode // line_range * minimum
                line += line_base + opcode % line_range
                sequence.append((address, file, line))
            elif opcode == 0:
                size, at = uleb(data, at)
                kind = data[at]
                if kind == 1:  # end_sequence
                    # A sequence at 0 is of a function that the linker dropped.
                    if sequence and sequence[0][0]:
                        rows += [*sequence, (address, 0, 0)]
                    sequence = []
                    address, file, line = 0, 1, 1
                elif kind == 2:  # set_address
                    (address,) = unpack("<Q", data, at + 1)
                at += size
            elif opcode == 1:  # copy
                sequence.append((address, file, line))
            elif opcode == 2:  # advance_pc
                value, at = uleb(data, at)
                address += value * minimum
            elif opcode == 3:  # advance_line
                value, at = sleb(data, at)
                line += value
            elif opcode == 4:  # set_file
                file, at = uleb(data, at)
            elif opcode == 8:  # const_add_pc
                address += (255 - opcode_base) // line_range * minimum
            elif opcode == 9:  # fixed_advance_pc
                address += unpack("<H", data, at)[0]
                at += 2
            else:
                for _ in range(lengths[opcode - 1]):
                    at = uleb(data, at)[1]
        # Where one sequence ends and the next begins, the beginning counts.
        rows.sort(key=lambda row: (row[0], row[2] != 0))
        return rows
