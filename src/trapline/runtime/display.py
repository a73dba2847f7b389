"""Decoded values → bpftrace's text, and → JSON.

tuple   (1, x)          record  { .a = 1, .b = z }      array  [1,2]
address 0x1234          stack   a line per frame        bool   true
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from trapline.hints import Any
from trapline.ir import values as v
from trapline.runtime.objects import Histogram, Stats

Text = Callable[[Any], bytes]
Json = Callable[[Any], str]

_BAR = 52
_FLOAT = struct.Struct("<f")
_EXACT = 1 << 53
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


def make_text(value: v.Value, trailer: bytes = b"..") -> Text:
    """Compile what shows a value of this layout as text.

    Args:
        value: the layout.
        trailer: appended to strings that fill their field to the end.

    Returns:
        A function of the decoded value, as `trapline.runtime.decode` makes it.
    """
    if isinstance(value, v.StrV):
        size = value.size

        def string(item: str) -> bytes:
            raw = item.encode("utf-8", "surrogateescape")
            return raw + trailer if len(raw) >= size else raw

        return string
    if isinstance(value, v.BoolV):
        return lambda item: b"true" if item else b"false"
    if isinstance(value, v.BufV):
        return buffer_text
    if isinstance(value, v.ArrayV):
        element = make_text(value.element, trailer)
        return lambda item: b"[" + b",".join([element(part) for part in item]) + b"]"
    if isinstance(value, v.TupleV):
        elements = [make_text(part, trailer) for _, part in value.elements]
        return lambda item: b"(" + b", ".join([text(part) for text, part in zip(elements, item, strict=True)]) + b")"
    if isinstance(value, v.RecordV):
        if not value.fields:
            return lambda item: b"{}"
        fields = [(name, name.encode(), make_text(part, trailer)) for name, _, part in value.fields]
        return lambda item: (
            b"{ " + b", ".join([b".%b = %b" % (label, text(item[name])) for name, label, text in fields]) + b" }"
        )
    if isinstance(value, v.StatsV):
        return lambda item: b"{ .count = %d, .average = %d, .total = %d }" % (item.count, item.average, item.total)
    if isinstance(value, v.HistV | v.LhistV):
        return lambda item: histogram_text(value, item)
    if isinstance(value, v.SeriesV):
        from trapline.runtime.series import series_text  # few programs need it

        return lambda item: series_text(value, item)
    if isinstance(value, v.IntV | v.BitsV | v.CountV | v.SumV | v.MinV | v.MaxV | v.AvgV):
        return lambda item: b"%d" % item
    return lambda item: str(item).encode("utf-8", "surrogateescape")


def make_key_text(value: v.Value, trailer: bytes = b"..") -> Text:
    """Compile what shows a map's key between its brackets: a tuple loses its parentheses."""
    text = make_text(value, trailer)
    if isinstance(value, v.TupleV):
        return lambda item: text(item)[1:-1]
    return text


def buffer_text(raw: bytes, *, ascii: bool = True, escape: bool = True) -> bytes:
    r"""Return a buffer's text: printable ASCII as it is, other bytes as ``\x00``.

    Args:
        raw: the buffer.
        ascii: keep printable characters (``%r``); otherwise escape all of them (``%rx``).
        escape: ``\x`` before each escaped byte; otherwise hexadecimal bytes with spaces between (``%rh``).
    """
    if not escape:
        return raw.hex(" ").encode()
    if ascii:
        return b"".join([b"%c" % byte if 32 <= byte < 127 else b"\\x%02x" % byte for byte in raw])
    return b"".join([b"\\x%02x" % byte for byte in raw])


# -- histograms


def histogram_text(value: v.HistV | v.LhistV, histogram: Histogram) -> bytes:
    """Return a line for each bucket: label, count and a bar that is 52 wide at the greatest count."""
    greatest = max((bucket.count for bucket in histogram.buckets), default=0)
    lines = []
    for bucket in histogram.buckets:
        label = _bucket_label(value, bucket.low, bucket.high)
        bar = "@" * _bar_width(bucket.count, greatest)
        lines.append(f"{label:<16}{bucket.count:>8} |{bar:<{_BAR}}|\n")
    return "".join(lines).encode()


def _bar_width(count: int, greatest: int) -> int:
    """Return ``count / greatest * 52`` computed in C's float, as bpftrace does: the last bits decide some widths."""
    if not count:
        return 0
    ratio = _float32(_float32(count) / _float32(greatest))
    return int(_float32(ratio * _BAR))


def _float32(number: float) -> float:
    return float(_FLOAT.unpack(_FLOAT.pack(number))[0])


def _bucket_label(value: v.HistV | v.LhistV, low: int | None, high: int | None) -> str:
    if low is None:
        return f"(..., {_bound_text(value, high or 0)})"
    first = _bound_text(value, low)
    if high is None:
        return f"[{first}, ...)"
    last = _bound_text(value, high)
    if high == low + 1 and first == str(low) and last == str(high) and _is_plain(value, high):
        return f"[{first}]"
    return f"[{first}, {last})"


def _is_plain(value: v.HistV | v.LhistV, bound: int) -> bool:
    """Tell whether bpftrace keeps this bound as a number: only two of those make a label of one value."""
    return bound <= 2 << value.bits if isinstance(value, v.HistV) else value.step % 1024 != 0


def _bound_text(value: v.HistV | v.LhistV, bound: int) -> str:
    if isinstance(value, v.LhistV):
        if value.step % 1024 or bound == 0:
            return str(bound)
        for unit, suffix in ((1 << 20, "M"), (1 << 10, "K")):
            if bound % unit == 0:
                return f"{bound // unit}{suffix}"
        return str(bound)
    if bound <= 2 << value.bits:
        return str(bound)
    # A bound is (2**bits + i) << power; the suffix follows from the power alone.
    decade = (bound.bit_length() - 1 - value.bits) // 10
    return f"{bound >> (10 * decade)}{_SUFFIXES[decade]}"


# -- JSON


def json_string(text: str) -> str:
    """Return a JSON string; bytes that are not UTF-8 become the escapes that Python's ``json`` reads back."""
    import json  # only with -f json

    if text.isascii():
        return json.dumps(text)
    quoted = json.dumps(text, ensure_ascii=False)
    try:
        quoted.encode()
        return quoted
    except UnicodeEncodeError:
        return "".join([f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in quoted])


def json_number(number: int) -> str:
    """Return a JSON number, or a string where a 64-bit floating point number is not exact."""
    if -_EXACT <= number <= _EXACT or int(float(number)) == number:
        return str(int(number))
    return f'"{int(number)}"'


def make_json(value: v.Value, trailer: bytes = b"..") -> Json:
    """Compile what shows a value of this layout as JSON; see `make_text`."""
    if isinstance(value, v.BoolV):
        return lambda item: "true" if item else "false"
    if isinstance(value, v.BufV):
        return lambda item: "[" + ",".join(map(str, item)) + "]"
    if isinstance(value, v.ArrayV):
        element = make_json(value.element, trailer)
        return lambda item: "[" + ",".join([element(part) for part in item]) + "]"
    if isinstance(value, v.TupleV):
        elements = [make_json(part, trailer) for _, part in value.elements]
        return lambda item: "[" + ",".join([show(part) for show, part in zip(elements, item, strict=True)]) + "]"
    if isinstance(value, v.RecordV):
        fields = [(name, json_string(name), make_json(part, trailer)) for name, _, part in value.fields]
        return lambda item: "{" + ", ".join([f"{label}: {show(item[name])}" for name, label, show in fields]) + "}"
    if isinstance(value, v.StatsV):
        return _stats_json
    if isinstance(value, v.HistV | v.LhistV):
        return _histogram_json
    if isinstance(value, v.SeriesV):
        from trapline.runtime.series import series_json

        return lambda item: series_json(value, item)
    if isinstance(value, v.IntV | v.BitsV | v.EnumV | v.PtrV | v.CountV | v.SumV | v.MinV | v.MaxV | v.AvgV):
        return json_number
    text = make_text(value, trailer)
    return lambda item: json_string(text(item).decode("utf-8", "surrogateescape"))


def make_key_json(value: v.Value, trailer: bytes = b"..") -> Json:
    """Compile what shows a map's key as the name of a JSON member.

    bpftrace drops every space of a tuple's text; only those between the elements are dropped here.
    """
    text = _make_spaceless(value, trailer)
    if isinstance(value, v.TupleV):
        return lambda item: json_string(text(item)[1:-1].decode("utf-8", "surrogateescape"))
    return lambda item: json_string(text(item).decode("utf-8", "surrogateescape"))


def _make_spaceless(value: v.Value, trailer: bytes) -> Text:
    if isinstance(value, v.TupleV):
        parts = [_make_spaceless(part, trailer) for _, part in value.elements]
        return lambda item: b"(" + b",".join([text(part) for text, part in zip(parts, item, strict=True)]) + b")"
    return make_text(value, trailer)


def _stats_json(item: Stats) -> str:
    return (
        f'{{"count": {json_number(item.count)}, "average": {json_number(item.average)}, '
        f'"total": {json_number(item.total)}}}'
    )


def _histogram_json(item: Histogram) -> str:
    buckets = []
    for bucket in item.buckets:
        bounds = ""
        if bucket.low is not None:
            bounds += f'"min": {json_number(bucket.low)}, '
        if bucket.high is not None:
            bounds += f'"max": {json_number(bucket.high - 1)}, '
        buckets.append(f'{{{bounds}"count": {bucket.count}}}')
    return "[" + ",".join(buckets) + "]"
