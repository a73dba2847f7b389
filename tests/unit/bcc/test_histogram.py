from trapline.bcc.histogram import build_json_hist, format_linear_hist, format_log2_hist, format_stars


def test_stars_round_down_and_stop_at_width():
    assert format_stars(10, 10, 40) == "*" * 40
    assert format_stars(1, 3, 40) == "*" * 13
    assert format_stars(0, 3, 40) == ""
    assert format_stars(0, 0, 40) == ""


def test_log2_layout_narrow():
    counts = [0] * 65
    counts[1], counts[3] = 2, 4
    assert list(format_log2_hist(counts, "usecs")) == [
        "     usecs               : count     distribution",
        "         0 -> 1          : 2        |********************                    |",
        "         2 -> 3          : 0        |                                        |",
        "         4 -> 7          : 4        |****************************************|",
    ]


def test_log2_layout_wide():
    counts = [0] * 65
    counts[33] = 1
    lines = list(format_log2_hist(counts, "nsecs", strip_leading_zero=True))
    assert lines == [
        "               nsecs                         : count     distribution",
        "          4294967296 -> 8589934591           : 1        |********************|",
    ]


def test_log2_of_nothing_prints_nothing():
    assert list(format_log2_hist([0] * 65, "x")) == []


def test_log2_slot_zero_alone_has_no_header():
    assert list(format_log2_hist([5] + [0] * 64, "x")) == []


def test_linear_layout():
    assert list(format_linear_hist([1, 0, 2], "count")) == [
        "     count         : count     distribution",
        "        0          : 1        |********************                    |",
        "        1          : 0        |                                        |",
        "        2          : 2        |****************************************|",
    ]


def test_json_slots():
    counts = [0] * 65
    counts[1], counts[2] = 3, 4
    found = build_json_hist(counts, "usecs", ("disk", "sda"))
    assert found["data"] == [
        {"interval-start": 0, "interval-end": 1, "count": 3},
        {"interval-start": 2, "interval-end": 3, "count": 4},
    ]
    assert found["val_type"] == "usecs"
    assert found["disk"] == "sda"
    assert next(iter(found)) == "ts"
