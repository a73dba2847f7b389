"""Pages in docs/ that say of each tool how it ended on each kernel: made of the records of runs, and of their own rows.

records (JSON lines)  →  rows: (package, kernel, tool) → (result, note)  ⇄  a page
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# (package, kernel, tool) → (result, note)
Rows = dict[tuple[str, str, str], tuple[str, str]]


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of the files ``*.jsonl``; "kernel" is its series: ``6.12``."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            record["kernel"] = re.sub(r"^(\d+\.\d+).*", r"\1", record["kernel"])
            yield record


def read_rows(text: str) -> Rows:
    """Return the rows that stand in a page."""
    found: Rows = {}
    package = ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"## Tools of \S+ (.+)", line):
            package = heading[1]
        elif package and (row := re.fullmatch(r"\| (\S+) \| ([\d.]+) \| ([^|]+) \|(?: (.*))? \|", line)):
            found[package, row[2], row[1]] = row[3], row[4] or ""
    return found


def format_page(head: str, meaning: Mapping[str, str], suite: str, rows: Rows) -> str:
    """Return a page.

    Args:
        head: the text before the tables.
        meaning: the results that there are, and what each says.
        suite: whose tools they are.
        rows: of the tables.
    """
    sweeps = sorted({key[:2] for key in rows}, key=lambda key: (key[0], [int(part) for part in key[1].split(".")]))
    text = f"{head}\n| result | meaning |\n|---|---|\n"
    text += "".join(f"| {name} | {says} |\n" for name, says in meaning.items())
    text += "\n| tools of | kernel | " + " | ".join(meaning) + " |\n|---|---|" + "---|" * len(meaning) + "\n"
    for sweep in sweeps:
        counts = [sum(key[:2] == sweep and row[0] == name for key, row in rows.items()) for name in meaning]
        text += f"| {sweep[0]} | {sweep[1]} | " + " | ".join(str(count or "") for count in counts) + " |\n"
    for package in dict.fromkeys(sweep[0] for sweep in sweeps):
        text += f"\n## Tools of {suite} {package}\n\n| tool | kernel | result | |\n|---|---|---|---|\n"
        for key in sorted(rows, key=lambda key: (key[2], sweeps.index(key[:2]))):
            if key[0] == package:
                result, note = rows[key]
                cell = re.sub(r"\s*[|]\s*", " ", note)
                text += f"| {key[2]} | {key[1]} | {result} | {cell} |\n".replace("|  |", "| |")
    return text
