from __future__ import annotations

from bench.measure import Comparison


def test_a_printed_row_can_be_read_back() -> None:
    for name, goal in (("start to exit, warm", 0.25), ("cost per event, str", 0.0)):
        row = Comparison(name, "s", 0.125, 1.5, 0.08, -0.5, 2.25, goal)
        assert Comparison.parse(row.line() + "\n") == row
    assert Comparison.parse("loss, 5 events, printf") is None
