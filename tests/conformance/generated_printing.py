"""Programs that print every kind of value in every way, for the comparison with bpftrace."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.body import Body

_LENGTHS = ("hh", "h", "", "l", "ll", "j", "z", "t")


def make_printing_bodies() -> list[Body]:
    """Return the programs that print."""
    return [*_lengths(), *_texts(), *_counts(), *_shown_maps(), *_flags(), *_times()]


def _lengths() -> Iterator[Body]:
    """Every length modifier with every conversion of integers."""
    for kind in "diuxXo":
        formats = " ".join(f"%{length}{kind}" for length in _LENGTHS)
        for value in ("300", "(uint64)0x123456789abcdef0", "-1", "(uint8)200", "(int16)-300"):
            values = ", ".join(["$v"] * len(_LENGTHS))
            yield Body("lengths", f'$v = {value}; printf("{formats}\\n", {values});')


def _texts() -> Iterator[Body]:
    """``%s`` and ``%p`` of values that have a text of their own."""
    for value in (
        "true",
        "(1, 2)",
        '("a", (1, true))',
        "(int8*)4096",
        "username",
        "ntop(0x0100007f)",
        'pton("1.2.3.4")',
        'buf("ab\\x01", 3)',
        "probetype",
        "usym(0)",
        "kptr(5)",
    ):
        yield Body(
            "texts", f'printf("[%s]\\n", {value}); print({value}); $v = {value}; printf("[%s]\\n", $v); print($v);'
        )
        yield Body("texts", f"@v = {value}; print(@v); @k[1] = {value}; print(@k[1]); print((1, {value}));")
    yield Body("texts", 'printf("%s|%10s|%-10s|%.1s\\n", "abc", "abc", "abc", "a");')
    yield Body("texts", r'printf("\x1b[31mred\x1b[0m\ttab\\n\n");')


def _counts() -> Iterator[Body]:
    for count in (1, 10, 50, 127):
        values = ", ".join(map(str, range(count)))
        yield Body("many", f'printf("{"%d " * count}\\n", {values});')
    yield Body("many", f'printf("{"%s " * 30}\\n", {", ".join(f"{chr(34)}s{n}{chr(34)}" for n in range(30))});')


def _shown_maps() -> Iterator[Body]:
    """``print(@m, top, div)`` of every kind of value."""
    fill = {
        "count": " ".join(f"@m[{n}] = count();" for n in (1, 2, 2, 3, 3, 3)),
        "sum": "@m[1] = sum(10); @m[2] = sum(25); @m[3] = sum(7);",
        "min": "@m[1] = min(10); @m[2] = min(25); @m[3] = min(7);",
        "max": "@m[1] = max(10); @m[2] = max(25); @m[3] = max(7);",
        "avg": "@m[1] = avg(10); @m[2] = avg(25); @m[3] = avg(7); @m[3] = avg(8);",
        "hist": "@m[1] = hist(10); @m[2] = hist(25); @m[2] = hist(7);" + " @m[3] = hist(1);" * 3,
        "lhist": "@m[1] = lhist(1, 0, 9, 3); @m[2] = lhist(5, 0, 9, 3); @m[2] = lhist(7, 0, 9, 3);",
        "string": '@m[1] = "b"; @m[2] = "a";',
        "tuple": "@m[1] = (2, 1); @m[2] = (1, 2);",
        "int": "@m[1] = (int64)50; @m[2] = (int64)20; @m[3] = (int64)35;",
        "uint": "@m[1] = (uint64)50; @m[2] = (uint64)20; @m[3] = (uint64)35;",
    }
    for area, statements in fill.items():
        if area in ("hist", "int", "uint", "count", "sum", "min", "max", "avg"):
            yield Body("top", f"{statements} print(@m); print(@m, 2); print(@m, 0, 3); print(@m, 1, 2); clear(@m);")
        else:
            yield Body("top", f"{statements} print(@m); clear(@m);")
        if area in ("hist", "lhist", "string", "tuple"):  # of equal numbers bpftrace has no order
            yield Body("top", f"{statements} zero(@m); print(@m); clear(@m);")


def _flags() -> Iterator[Body]:
    for start in range(0, 28, 7):
        values = ", ".join(str(1 << bit) for bit in range(start, start + 7))
        yield Body("flags", f'printf("{"%gr|" * 7}\\n", {values});')
    for value in (
        "0",
        "0xcc0",
        "0x400cc0",
        "0x100cca",
        "0x820",
        "0x2a20",
        "0xffffffff",
        "0xc00",
        "0xc40",
        "0xcc5",
        "0x2800",
        "0x21c20ca",
        "0x21c24ca",
    ):
        yield Body("flags", f'printf("[%gr] [%30gr] [%-30gr]\\n", {value}, {value}, {value});')


def _times() -> Iterator[Body]:
    for format_ in ("%Y-%m-%d", "%j %U %a %b", "%%", "plain", "%e|%D|%F", "%G %V %u"):
        yield Body("times", f'time("{format_}\\n"); printf("%s\\n", strftime("{format_}", nsecs));')
