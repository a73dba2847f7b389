"""The pages about tools are what is made of their own rows, and BCC's has a row for every tool of the table."""

from __future__ import annotations

from types import ModuleType

import pytest
from tests.conformance import bcc_differential_table, bcc_table, tools_table
from tests.conformance.bcc_tools import TOOLS
from tests.conformance.result_pages import format_page, read_rows


@pytest.mark.parametrize("table", [bcc_table, bcc_differential_table, tools_table])
def test_page_is_what_is_made_of_its_rows(table: ModuleType) -> None:
    text = table.PAGE.read_text()
    assert table.format_table(read_rows(text)) == text


def test_every_tool_of_bcc_has_a_row() -> None:
    assert {tool for _, _, tool in read_rows(bcc_table.PAGE.read_text())} == {tool.name for tool in TOOLS}


def test_a_row_is_read_as_it_was_written() -> None:
    rows = {
        ("0.26", "6.1", "one"): ("works", ""),
        ("0.26", "6.1", "two"): ("lacks", "no such thing"),
        ("0.37", "6.12", "one"): ("works", ""),
        ("0.37", "7.2", "one"): ("fails", "exit 1: …"),
    }
    assert read_rows(format_page("# A page\n", {"works": "it runs"}, "BCC", rows)) == rows
