"""Write the native code that comes with trapline, compiled from its IR.

    python -m tools.develop.native_code            # compare; exit code 1 when a file is old
    python -m tools.develop.native_code --write

It is generated ahead because where it is used is no time to load a compiler.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trapline.codegen.jit import compile_position_independent
from trapline.codegen.llvm import version
from trapline.ir.function import Function
from trapline.kernel import type_names_ir, type_scan_ir
from trapline.runtime.native import elements_ir, reader

_SOURCE = Path(__file__).resolve().parents[2] / "src" / "trapline"
# Others do in Python what it does: what nobody ran is not shipped.
TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu"}
_WIDTH = 96


@dataclass(frozen=True)
class Generated:
    """A module with native code.

    Args:
        path: the module.
        origin: the module with the IR.
        functions: makes the IR.
        entry: the function that is called from outside.
    """

    path: Path
    origin: str
    functions: Callable[[], Sequence[Function]]
    entry: str

    def make(self) -> str:
        """Return the text of the generated module."""
        lines = [
            f'"""The machine code of `{self.origin}` (python -m tools.develop.native_code)."""',
            "",
            f'LLVM = "{version()}"',
            "# By architecture: where the code begins, and the code in base 64.",
            "CODE = {",
        ]
        for architecture, triple in TRIPLES.items():
            code, entry = compile_position_independent(self.functions(), self.entry, triple)
            text = base64.b64encode(code).decode()
            lines += [f'    "{architecture}": (', f"        {entry},"]
            lines += [f'        "{text[at : at + _WIDTH]}"' for at in range(0, len(text), _WIDTH)]
            lines[-1] += ","
            lines.append("    ),")
        return "\n".join([*lines, "}", ""])


GENERATED = (
    Generated(
        _SOURCE / "runtime/native/_generated_code.py",
        "trapline.runtime.native.reader",
        reader.reader_functions,
        reader.ENTRY,
    ),
    Generated(
        _SOURCE / "runtime/native/_generated_elements.py",
        "trapline.runtime.native.elements_ir",
        elements_ir.element_functions,
        elements_ir.ENTRY,
    ),
    Generated(
        _SOURCE / "kernel/_generated_scan.py",
        "trapline.kernel.type_scan_ir",
        type_scan_ir.scan_functions,
        type_scan_ir.ENTRY,
    ),
    Generated(
        _SOURCE / "kernel/_generated_names.py",
        "trapline.kernel.type_names_ir",
        type_names_ir.names_functions,
        type_names_ir.ENTRY,
    ),
)


def main() -> int:
    """Compare or write; 0 when the files are current."""
    old = 0
    for generated in GENERATED:
        text = generated.make()
        if "--write" in sys.argv[1:]:
            generated.path.write_text(text)
        old += not generated.path.exists() or generated.path.read_text() != text
    return int(old > 0)


if __name__ == "__main__":
    sys.exit(main())
