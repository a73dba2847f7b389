"""Objects that live as long as the module: string literals and file-scope or static variables, in two maps."""

from __future__ import annotations

from trapline.frontends.bcc_c import tree
from trapline.ir.function import MapValueAddress, Op
from trapline.ir.spec import RODATA, MapSpec
from trapline.records import field, record

DATA = ".data"


@record
class _Segment:
    data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes, align: int = 8) -> int:
        self.data += bytes(-len(self.data) % align)
        offset = len(self.data)
        self.data += data
        return offset


@record
class Statics:
    """The contents of ``.rodata`` (frozen) and ``.data``, while programs are lowered."""

    rodata: _Segment = field(default_factory=_Segment)
    data: _Segment = field(default_factory=_Segment)
    _strings: dict[bytes, int] = field(default_factory=dict)
    _variables: dict[tree.Variable, tuple[str, int]] = field(default_factory=dict)

    def string(self, data: bytes) -> tuple[str, int]:
        """Return (map, offset) of a string literal."""
        offset = self._strings.get(data)
        if offset is None:
            offset = self._strings[data] = self.rodata.add(data)
        return RODATA, offset

    def literal_at(self, address: Op) -> bytes | None:
        """Return the string literal that an address is the start of, or ``None``."""
        if isinstance(address, MapValueAddress) and address.name == RODATA:
            return next((data for data, offset in self._strings.items() if offset == address.offset), None)
        return None

    def find(self, variable: tree.Variable) -> tuple[str, int] | None:
        """Return (map, offset) of a static variable that was placed before."""
        return self._variables.get(variable)

    def add(self, variable: tree.Variable, data: bytes) -> tuple[str, int]:
        """Place a static variable with its initial contents."""
        segment = self.rodata if variable.constant else self.data
        place = (RODATA if variable.constant else DATA, segment.add(data))
        self._variables[variable] = place
        return place

    def maps(self) -> tuple[MapSpec, ...]:
        """Return the maps that hold what was placed."""
        result = []
        if self.rodata.data:
            data = bytes(self.rodata.data)
            result.append(MapSpec(RODATA, "ARRAY", 4, len(data), 1, flags=1 << 7, initial=data, frozen=True))
        if self.data.data:
            data = bytes(self.data.data)
            result.append(MapSpec(DATA, "ARRAY", 4, len(data), 1, initial=data))
        return tuple(result)
