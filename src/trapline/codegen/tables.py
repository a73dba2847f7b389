"""What the functions of one LLVM module share: map references, declarations, and the span table as debug metadata."""

from __future__ import annotations

from trapline.ir.function import SpanT
from trapline.records import field, record

_SPANLESS = 0


@record
class References:
    """What the bytecode refers to by number: the immediate of a pseudo instruction is an index into `items`."""

    items: list[tuple[str, int, bool]] = field(default_factory=list)
    _index: dict[tuple[str, int, bool], int] = field(default_factory=dict)

    def number(self, map_name: str, offset: int = 0, *, value: bool = False) -> int:
        """Return the number of a map (or of the address at `offset` of its element 0)."""
        key = (map_name, offset, value)
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self.items)
            self.items.append(key)
        return number


@record
class Declarations:
    """Intrinsics and kernel functions that the module has to declare, by name."""

    lines: dict[str, str] = field(default_factory=dict)

    def need(self, name: str, line: str) -> None:
        """Declare `name` once."""
        if name not in self.lines:
            self.lines[name] = line


@record
class DebugTable:
    """Numbers of spans, and the metadata that carries them as line numbers through LLVM.

    Line ``i + 1`` stands for ``spans[i]``; line 0 for no place at all.
    """

    metadata: list[str] = field(default_factory=list)
    spans: list[SpanT] = field(default_factory=list)
    _lines: dict[SpanT, int] = field(default_factory=dict)
    _locations: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metadata += [
            "distinct !DICompileUnit(language: DW_LANG_C99, file: !1, emissionKind: DebugDirectivesOnly)",
            '!DIFile(filename: "-", directory: "", source: " ")',
            '!{i32 2, !"Debug Info Version", i32 3}',
            "!DISubroutineType(types: !{null})",
        ]

    def scope(self, name: str) -> int:
        """Return the metadata number of a new subprogram."""
        self.metadata.append(
            f'distinct !DISubprogram(name: "{name}", scope: !1, file: !1, type: !3, unit: !0, '
            "spFlags: DISPFlagDefinition | DISPFlagOptimized)"
        )
        return len(self.metadata) - 1

    def location(self, span: SpanT | None, scope: int) -> int:
        """Return the metadata number of the location of `span` in `scope`."""
        line = _SPANLESS
        if span is not None:
            line = self._lines.get(span, 0)
            if not line:
                self.spans.append(span)
                line = self._lines[span] = len(self.spans)
        number = self._locations.get((line, scope))
        if number is None:
            self.metadata.append(f"!DILocation(line: {line}, scope: !{scope})")
            number = self._locations[line, scope] = len(self.metadata) - 1
        return number

    def render(self) -> str:
        """Return the module's metadata."""
        lines = ["!llvm.dbg.cu = !{!0}", "!llvm.module.flags = !{!2}"]
        lines += [f"!{number} = {text}" for number, text in enumerate(self.metadata)]
        return "\n".join(lines) + "\n"
