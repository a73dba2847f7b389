"""docs/language-coverage.md is what the tests say (``TRAPLINE_UPDATE_GOLDEN=1`` rewrites it)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conformance.coverage import NOTES, format_coverage, read_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "language-coverage.md"


def test_the_page_is_current() -> None:
    text = format_coverage(read_rows())
    if os.environ.get("TRAPLINE_UPDATE_GOLDEN"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text


def test_what_notes_call_missing_is_not_shown_by_a_test() -> None:
    wrong = [row.number for row in read_rows().values() if row.status == "not yet" and row.shown_by]
    assert not wrong, f"{NOTES.name} says that these do not work, tests say that they do"
