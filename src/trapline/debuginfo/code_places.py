"""Where an instruction comes from: file and line, and the functions that were inlined there."""

from __future__ import annotations

from bisect import bisect_right

from trapline.debuginfo import dwarf_constants as c
from trapline.debuginfo.dwarf import Dwarf, Entry, Unit
from trapline.debuginfo.dwarf_types import attribute_of
from trapline.debuginfo.line_table import LineTable
from trapline.errors import DecodeError
from trapline.records import record


@record(frozen=True)
class CodePlace:
    """A place in the source: `function` is what was inlined there, empty for the function that the code belongs to."""

    function: str
    path: str
    line: int


class CodePlaces:
    """Looks addresses up; units are decoded when the first address in them is asked for.

    Args:
        dwarf: of the file.
    """

    def __init__(self, dwarf: Dwarf) -> None:
        self._dwarf = dwarf
        self._tables: dict[int, LineTable | None] = {}
        self._functions: dict[int, list[tuple[int, int, Entry]]] = {}

    def find(self, address: int) -> list[CodePlace]:
        """Return the places of an address: inlined functions, the innermost first, then the function itself.

        Returns:
            Nothing where the file does not say, or contradicts itself.
        """
        try:
            unit = self._dwarf.unit_at(address)
            table = self._table(unit) if unit is not None else None
            if unit is None or table is None:
                return []
            here = table.find(address)
            if here is None:
                return []
            found = []
            path, line = here
            for inlined in reversed(self._inlined(unit, address)):
                found.append(CodePlace(self._name(inlined), path, line))
                path = table.path(inlined.number(c.AT_CALL_FILE))
                line = inlined.number(c.AT_CALL_LINE)
            return [*found, CodePlace("", path, line)]
        except DecodeError:
            return []

    def _name(self, entry: Entry) -> str:
        for attribute in (c.AT_LINKAGE_NAME, c.AT_NAME):
            found = attribute_of(self._dwarf, entry, attribute)
            if isinstance(found, str) and found:
                return found
        return ""

    def _table(self, unit: Unit) -> LineTable | None:
        if unit.offset not in self._tables:
            root = unit.root
            where = root.attributes.get(c.AT_STMT_LIST)
            directory = root.attributes.get(c.AT_COMP_DIR, "")
            self._tables[unit.offset] = (
                LineTable(unit, where, directory) if isinstance(where, int) and isinstance(directory, str) else None
            )
        return self._tables[unit.offset]

    def _inlined(self, unit: Unit, address: int) -> list[Entry]:
        """Return the inlined functions that cover an address, the outermost first."""
        if unit.offset not in self._functions:
            functions = [
                (start, end, entry)
                for _, entry in unit.walk()
                if entry.tag == c.TAG_SUBPROGRAM
                for start, end in unit.ranges(entry)
            ]
            self._functions[unit.offset] = sorted(functions, key=lambda row: row[:2])
        functions = self._functions[unit.offset]
        place = bisect_right(functions, address, key=lambda row: row[0]) - 1
        if place < 0 or not functions[place][0] <= address < functions[place][1]:
            return []
        return [
            entry
            for _, entry in unit.descend(functions[place][2])
            if entry.tag == c.TAG_INLINED_SUBROUTINE
            and any(start <= address < end for start, end in unit.ranges(entry))
        ]
