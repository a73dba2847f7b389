"""What the tests show of each feature row: the table in docs/language-coverage.md.

rows.txt + ROWS of the cases + pytest.mark.rows of the tests + row_notes.txt   →   the table
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.case_files import CaseError, read_all_cases

TESTS = Path(__file__).resolve().parents[1]
ROWS = Path(__file__).with_name("rows.txt")
NOTES = Path(__file__).with_name("row_notes.txt")
WORKS, DIFFERS, NOT_YET, NOT_A_FEATURE = "works", "differs on purpose", "not yet", "not a feature"

_SECTIONS = {
    "1.1": "Program structure",
    "1.2": "Probe types",
    "1.3": "Built-ins",
    "1.4": "Statements and control flow",
    "1.5": "Expressions, literals, types",
    "1.6": "Maps and map functions",
    "1.7": "Standard library",
    "1.8": "Configuration",
    "1.9": "Command line",
    "1.10": "Output",
    "1.11": "Listing",
    "1.12": "C",
}
_HEAD = """# Language coverage

Every feature of bpftrace 0.27.1's language and command line, and which test shows that it works here. Made from the
tests by `TRAPLINE_UPDATE_GOLDEN=1 pytest tests/repo/test_coverage.py`: do not edit. The words come from
`tests/conformance/row_notes.txt` where a row differs or is missing; `docs/differences.md` says more about differences.

"""


@dataclass
class Row:
    """A feature: its number, size (S, M, L or -), name, the tests that show it, and what the notes say of it."""

    number: str
    size: str
    name: str
    shown_by: list[str] = field(default_factory=list)
    status: str = ""
    note: str = ""


def read_rows() -> dict[str, Row]:
    """Return all rows by number, with their tests and notes.

    Raises:
        CaseError: a test or a note names a row that does not exist, or a note has no status.
    """
    rows = {}
    for line in ROWS.read_text().splitlines():
        if not line.startswith("#"):
            number, size, name = line.split(" ", 2)
            rows[number] = Row(number, size, name)
    for number, shown_by in (*_cases(), *_marks()):
        if number not in rows:
            raise CaseError(f"{shown_by}: no row {number} in {ROWS.name}")
        if shown_by not in rows[number].shown_by:
            rows[number].shown_by.append(shown_by)
    _read_notes(rows)
    for row in rows.values():
        row.status = row.status or (WORKS if row.shown_by else NOT_A_FEATURE if row.size == "-" else NOT_YET)
    return rows


def _cases() -> Iterator[tuple[str, str]]:
    for case in read_all_cases():
        for number in case.rows:
            yield number, f"{case.where.split(':')[0]}: {case.name}"


def _marks() -> Iterator[tuple[str, str]]:
    """Find ``@pytest.mark.rows("1.2.3")`` and ``pytestmark = pytest.mark.rows(…)`` without importing the tests."""
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        if "mark.rows(" not in text:
            continue
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    for number in _numbers(decorator):
                        yield number, f"{path.name}: {node.name}"
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "pytestmark":
                for number in _numbers(node.value):
                    yield number, path.name


def _numbers(node: ast.expr) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "rows":
            for argument in call.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)


def _read_notes(rows: dict[str, Row]) -> None:
    for line in NOTES.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+) (differs|not yet|works): (.+)", line)
        if match is None or match[1] not in rows:
            raise CaseError(f"{NOTES.name}: {line}")
        row = rows[match[1]]
        row.status = {"differs": DIFFERS, "not yet": NOT_YET, "works": WORKS}[match[2]]
        row.note = match[3]


def format_coverage(rows: dict[str, Row]) -> str:
    """Return the page."""
    counts: dict[str, int] = {}
    for row in rows.values():
        counts[row.status] = counts.get(row.status, 0) + 1
    text = _HEAD + ", ".join(f"{counts[s]} {s}" for s in (WORKS, DIFFERS, NOT_YET) if s in counts) + ".\n"
    section = ""
    for row in rows.values():
        start = row.number.rpartition(".")[0]
        if start != section:
            section = start
            text += f"\n## {section} {_SECTIONS[section]}\n\n| row | size | feature | status | shown by |\n"
            text += "|---|---|---|---|---|\n"
        name = row.name.replace("|", "\\|")
        status = row.status + (f": {row.note}" if row.note else "")
        tests = "; ".join(row.shown_by[:2]) + (f"; {len(row.shown_by) - 2} more" if len(row.shown_by) > 2 else "")
        text += f"| {row.number} | {row.size} | {name} | {status} | {tests} |\n"
    return text
