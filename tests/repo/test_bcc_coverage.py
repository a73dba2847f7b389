"""docs/bcc-coverage.md is what bcc_table.py makes of its own rows, and knows all tools of the table."""

from __future__ import annotations

from tests.conformance.bcc_table import PAGE, format_table, read_page
from tests.conformance.bcc_tools import FAILS, LACKS, STARTS, TOOLS, WORKS


def test_page_is_what_is_made_of_its_rows() -> None:
    text = PAGE.read_text()
    results = read_page(text)
    assert format_table(results) == text
    assert {tool for _, _, tool in results} == {tool.name for tool in TOOLS}


def test_a_row_is_read_as_it_was_written() -> None:
    results = {
        ("0.26", "6.1", "one"): (WORKS, ""),
        ("0.26", "6.1", "two"): (LACKS, "no such thing"),
        ("0.37", "6.12", "one"): (STARTS, ""),
        ("0.37", "7.2", "one"): (FAILS, "exit 1: …"),
    }
    assert read_page(format_table(results)) == results
