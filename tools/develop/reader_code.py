"""Write ``src/trapline/runtime/native/_generated_code.py``: the native reader, compiled from its IR.

    python -m tools.develop.reader_code            # compare; exit code 1 when the file is old
    python -m tools.develop.reader_code --write

The code is generated ahead because a flood is no time to load a compiler.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from trapline.codegen.jit import compile_position_independent
from trapline.codegen.llvm import version
from trapline.runtime.native.reader import ENTRY, reader_functions

GENERATED = Path(__file__).resolve().parents[2] / "src" / "trapline" / "runtime" / "native" / "_generated_code.py"
# Others read with the handlers: what nobody ran is not shipped.
TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu"}
_WIDTH = 96


def make_module() -> str:
    """Return the text of the generated module."""
    lines = [
        '"""The machine code of `trapline.runtime.native.reader` (python -m tools.develop.reader_code)."""',
        "",
        f'LLVM = "{version()}"',
        "# By architecture: where the code begins, and the code in base 64.",
        "CODE = {",
    ]
    for architecture, triple in TRIPLES.items():
        code, entry = compile_position_independent(reader_functions(), ENTRY, triple)
        text = base64.b64encode(code).decode()
        lines += [f'    "{architecture}": (', f"        {entry},"]
        lines += [f'        "{text[at : at + _WIDTH]}"' for at in range(0, len(text), _WIDTH)]
        lines[-1] += ","
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def main() -> int:
    """Compare or write; 0 when the file is current."""
    text = make_module()
    if "--write" in sys.argv[1:]:
        GENERATED.write_text(text)
    return 0 if GENERATED.read_text() == text else 1


if __name__ == "__main__":
    sys.exit(main())
