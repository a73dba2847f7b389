"""Write ``docs/reference.md`` from the rows of built-ins, functions, aggregates and kinds of probes.

python -m tools.develop.reference            # compare; exit code 1 when the file is old
python -m tools.develop.reference --write
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from trapline.frontends.bpftrace.aggregates import AGGREGATES
from trapline.frontends.bpftrace.builtins import BUILTINS
from trapline.frontends.bpftrace.config import DEFAULTS
from trapline.frontends.bpftrace.functions import FUNCTIONS
from trapline.frontends.bpftrace.provider_rows import PROVIDER_ROWS

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
_WHEN = {"probe": "in the probe", "reader": "later, by the reader", "compile": "when compiled"}
_NOT_YET = "not supported yet"
_INTRODUCTION = """# Reference of the bpftrace language

Everything that has a name in a program. This file is generated from the rows that the compiler works with
(`python -m tools.develop.reference --write`); what differs from bpftrace is in [differences](differences.md).
"""


def make_reference() -> str:
    """Return the text of the reference."""
    functions = [row for row in FUNCTIONS.values() if row.name not in AGGREGATES and not row.name.startswith("__")]
    later = sorted(row.name for row in functions if row.doc == _NOT_YET)
    functions = sorted((row for row in functions if row.doc != _NOT_YET), key=lambda row: row.name)
    parts = [
        _INTRODUCTION,
        "## Probes\n",
        _table(
            ("probe", "also", "runs", "needs"),
            ((_code(row.form), ", ".join(map(_code, row.aliases)), row.doc, row.needs) for row in PROVIDER_ROWS),
        ),
        "## Built-ins\n\nThey may be written with `()` too.\n",
        _table(
            ("name", "type", "what it is", "needs"),
            ((_code(row.name), row.gives, row.doc, row.needs) for _, row in sorted(BUILTINS.items())),
        ),
        "`arg0`, `arg1` … are the raw arguments of a probed function, `$1`, `$2` … those of the script, `$#` their"
        " number.\n",
        "## Functions\n\nOf those that act later, the reader of the events does the work: in order with everything that"
        " is printed.\n",
        _table(
            ("function", "what it does", "acts", "needs"),
            (
                (
                    _code(row.doc.partition("): ")[0] + ")"),
                    row.doc.partition("): ")[2],
                    _WHEN[row.when],
                    "; ".join(filter(None, ["`--unsafe`" if row.unsafe else "", row.needs])),
                )
                for row in functions
            ),
        ),
        f"Not supported yet: {', '.join(map(_code, later))}.\n" if later else "",
        "## Map functions\n\nThey are assigned to a map or to an element: `@ = count()`.\n",
        _table(
            ("function", "what the map keeps"),
            ((_code(row.doc.partition("): ")[0] + ")"), row.doc.partition("): ")[2]) for row in AGGREGATES.values()),
        ),
        "## Settings\n\nIn `config = { name = value }`, or as `BPFTRACE_NAME` in the environment.\n",
        _table(
            ("setting", "default"), ((_code(name), _code(_shown(value))) for name, value in sorted(DEFAULTS.items()))
        ),
    ]
    return "\n".join(part for part in parts if part)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a column in which nothing stands is left out."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    used = [index for index in range(len(head)) if any(line[index] for line in lines)]
    cells = [[head[i] for i in used], ["---"] * len(used), *[[line[i] for i in used] for line in lines]]
    return "".join("| " + " | ".join(row) + " |\n" for row in cells)


def main(arguments: list[str]) -> int:
    """Compare or write the reference."""
    text = make_reference()
    if arguments == ["--write"]:
        REFERENCE.write_text(text)
        return 0
    return int(REFERENCE.read_text() != text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
