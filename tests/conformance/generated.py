"""Small deterministic programs, made systematically, for comparing trapline with bpftrace byte for byte.

A program is the body of a ``BEGIN`` block. In it ``@`` followed by a name gets a prefix, so that many bodies can stand
in one script, each in its own block.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.body import Body
from tests.conformance.generated_c import make_c_bodies
from tests.conformance.generated_functions import make_function_bodies
from tests.conformance.generated_printing import make_printing_bodies

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def make_bodies() -> list[Body]:
    """Return all programs."""
    return [
        *_arithmetic(),
        *_comparisons(),
        *_casts(),
        *_literals(),
        *_conversions(),
        *_printed_values(),
        *_statements(),
        *_strings(),
        *_maps(),
        *_histograms(),
        *_aggregates(),
        *make_function_bodies(),
        *make_c_bodies(),
        *make_printing_bodies(),
    ]


def _arithmetic() -> Iterator[Body]:
    """Every operator on every type; division by literals and by variables.

    bpftrace divides and shifts signed values as if they were unsigned; docs/differences.md says what we do instead. So
    negative operands of ``/ % >>`` are not here.
    """
    for name in INTEGERS:
        for operator in ("+", "-", "*", "&", "|", "^"):
            rows = [(100, 27), (7, 3), (1, 0)]
            if not name.startswith("u") and operator in "+-*":
                rows += [(-100, 27), (-7, -3)]
            lines = "".join(
                f'$a{i} = ({name}){a}; $b{i} = ({name}){b}; printf("%ld\\n", $a{i} {operator} $b{i}); '
                for i, (a, b) in enumerate(rows)
            )
            yield Body("arithmetic", lines)
        for operator in ("/", "%", "<<", ">>"):
            lines = "".join(
                f'$a{i} = ({name}){a}; $b{i} = ({name}){b}; printf("%ld\\n", $a{i} {operator} $b{i}); '
                for i, (a, b) in enumerate([(100, 3), (7, 2), (1, 1)])
            )
            yield Body("arithmetic", lines)
    for wide, narrow in (("int64", "int8"), ("uint64", "uint8"), ("uint32", "uint16"), ("int32", "int16")):
        for operator in ("+", "-", "*", "&", "|", "^", "/", "%"):
            yield Body(
                "arithmetic",
                f'$a = ({wide})1000; $b = ({narrow})7; printf("%ld %ld\\n", $a {operator} $b, $b {operator} $a);',
            )
    for operator in ("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="):
        yield Body("arithmetic", f'$a = (uint64)1000; $a {operator} 3; printf("%lu\\n", $a);')
        yield Body("arithmetic", f'@x = (uint64)1000; @x {operator} 3; printf("%lu\\n", @x);')
    for text in ("1 + 2 * 3", "(1 + 2) * 3", "10 - 4 - 3", "100 / 5 / 2", "1 << 2 + 1", "6 & 3 == 3", "1 | 2 ^ 3 & 4"):
        yield Body("arithmetic", f'printf("%d\\n", {text});')
    for text in ("-5", "~0", "~5", "!0", "!5", "- -5", "-(3 + 4)", "~(1 << 4)", "-5 / 2", "-5 % 3"):
        yield Body("arithmetic", f'printf("%ld\\n", {text});')
    for text in ("$x++", "++$x", "$x--", "--$x", "@x++", "++@x", "@x--", "--@x"):
        variable = "$x" if "$" in text else "@x"
        yield Body("arithmetic", f'{variable} = 5; printf("%d\\n", {text}); printf("%d\\n", {variable});')


def _comparisons() -> Iterator[Body]:
    for operator in ("==", "!=", "<", "<=", ">", ">="):
        pairs = ((1, 2), (2, 1), (3, 3), (-1, 1), (-2, -1))
        for name in ("int8", "int32", "int64"):
            yield Body(
                "comparison",
                "".join(
                    f'$a{i} = ({name}){a}; $b{i} = ({name}){b}; printf("%d ", $a{i} {operator} $b{i}); '
                    for i, (a, b) in enumerate(pairs)
                )
                + 'printf("\\n");',
            )
        yield Body(
            "comparison",
            f'$a = (uint64)0xffffffffffffffff; $b = (uint64)1; printf("%d %d\\n", $a {operator} $b, $b {operator} $a);',
        )
    for text in ("1 && 0", "1 && 2", "0 || 0", "0 || 3", "!(1 && 1)", "1 && 0 || 1", "1 || 0 && 0"):
        yield Body("comparison", f'printf("%d\\n", {text});')
    yield Body("comparison", '$a = "abc"; printf("%d %d\\n", $a == "abc", $a != "abc");')
    yield Body("comparison", '$a = "abc"; printf("%d %d\\n", $a == "abd", $a == "ab");')
    yield Body("comparison", '@a = "abc"; if (@a == "abc") { printf("same\\n"); } else { printf("other\\n"); }')
    yield Body("comparison", '$a = true; $b = false; printf("%d %d\\n", $a == $b, $a != $b);')


def _casts() -> Iterator[Body]:
    for name in INTEGERS:
        yield Body(
            "cast",
            "".join(
                f'$v{i} = {value}; printf("%ld ", ({name})$v{i}); '
                for i, value in enumerate((0, 1, -1, 127, 128, 255, 256, 65535, 70000, 4294967295, 4294967296))
            )
            + 'printf("\\n");',
        )
        yield Body("cast", f"$v = ({name})300; print($v);")
        yield Body("cast", f"print(({name})-2);")
        yield Body("cast", f"@c = ({name})5; print(@c);")
        yield Body("cast", f'$n = -1; printf("%lx\\n", (uint64)({name})$n);')
    yield Body("cast", "print((bool)5); print((bool)0); $x = 3; print((bool)$x);")
    yield Body("cast", 'printf("%d %d\\n", (uint8)"a"[0], sizeof(uint16));')
    for name in (*INTEGERS, "bool"):
        yield Body("cast", f'printf("%d\\n", sizeof({name}));')


def _literals() -> Iterator[Body]:
    for text in (
        "0",
        "42",
        "0x2a",
        "0X2A",
        "052",
        "1e3",
        "5e6",
        "1_000_000",
        "9223372036854775807",
        "18446744073709551615",
        "-9223372036854775807",
        "1ns",
        "2us",
        "3ms",
        "4s",
        "5m",
        "6h",
        "1d",
        "10u",
        "10ul",
        "10l",
        "10ll",
        "10ull",
    ):
        yield Body("literal", f"print({text});")
        yield Body("literal", f'printf("%ld\\n", {text});')
    for text in (r"a\tb", r"q\"q", r"b\\b", r"\101\102", r"\x41\x42", "é", r"100%%", ""):
        yield Body("literal", f'printf("[{text}]\\n");')
    yield Body("literal", r'print("a\tb"); print("x\\y"); print("q\"q");')
    yield Body("literal", "print(true); print(false);")


def _conversions() -> Iterator[Body]:
    """``printf`` conversions, flags and widths on integers, strings, characters and pointers."""
    for conversion in (
        "d",
        "i",
        "u",
        "x",
        "X",
        "o",
        "ld",
        "li",
        "lu",
        "lx",
        "lX",
        "lo",
        "lld",
        "llu",
        "llx",
        "hd",
        "hu",
    ):
        for flags in ("", "5", "-5", "05", "12", "-12", "#"):
            if flags in ("#",) and conversion[-1] not in "xXo":
                continue
            yield Body(
                "printf",
                f'printf("[%{flags}{conversion}] [%{flags}{conversion}] [%{flags}{conversion}]\\n", 42, 0, 100000);',
            )
    for conversion in ("d", "ld", "u", "lu", "x", "lx", "hhd", "hhx"):
        yield Body("printf", f'printf("[%{conversion}] [%-9{conversion}]\\n", -42, -1);')
    for flags in ("", "10", "-10", "2"):
        yield Body("printf", f'printf("[%{flags}s] [%{flags}s]\\n", "abc", "");')
        yield Body("printf", f'printf("[%{flags}c] [%{flags}c]\\n", 65, 0x7a);')
        yield Body("printf", f'printf("[%{flags}p] [%{flags}p]\\n", 0xffff888012345678, 1);')
    yield Body("printf", 'printf("[%+d] [%+d]\\n", 5, -5);')
    yield Body("printf", 'printf("%d%% of %s\\n", 50, "it");')
    yield Body("printf", 'printf("%s %s %s %s %s %s %s %s\\n", "a", "b", "c", "d", "e", "f", "g", "h");')
    yield Body("printf", 'printf("%d %d %d %d %d %d %d %d %d %d %d %d\\n", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);')
    yield Body("printf", 'printf("%s\\n", (1, "x", 3)); printf("%s\\n", 5); printf("%s\\n", -5);')
    yield Body("printf", 'printf("%s %d\\n", true, false);')
    for name in INTEGERS:
        yield Body(
            "printf", f'$v = ({name})100; printf("[%d] [%ld] [%x] [%lx] [%5d] [%c]\\n", $v, $v, $v, $v, $v, $v);'
        )
    yield Body("printf", r'printf("%r %rx %rh\n", buf("ab\x01\xff", 4), buf("abc", 3), buf("abc", 3));')


def _printed_values() -> Iterator[Body]:
    for text in (
        "1",
        "-1",
        '"s"',
        "(1, 2)",
        '(1, "two", -3)',
        "((1, 2), 3)",
        "(1, (2, (3, 4)))",
        "(true, 1)",
        "(uint8)255",
        "(int8)-128",
        "(uint64)-1",
        "(int32*)16",
        "(1, 2).0",
        '(1, "b").1',
        "1 == 1",
        "1 + 1",
    ):
        yield Body("print", f"print({text});")
    for name in INTEGERS:
        yield Body("print", f"@v = ({name})7; print(@v); @w[1] = ({name})8; print(@w); print(@w[1]);")
    for value in ('"text"', "(1, 2)", "true", "(1, (2, 3))", '("a", "b")', "(int16*)4096"):
        yield Body("print", f"@v = {value}; print(@v); @k[{value}] = 1; print(@k);")
    yield Body("print", "$t = (1, (2, 3)); print($t.0); print($t.1); print($t.1.1);")
    yield Body("print", '$t = (a=1, b="x"); print($t); print($t.a); print($t.b);')


def _statements() -> Iterator[Body]:
    for n in (0, 1, 2, 5):
        yield Body(
            "statement",
            f'$n = {n}; if ($n == 0) {{ printf("zero\\n"); }} else if ($n < 2) {{ printf("one\\n"); }} '
            'else { printf("many\\n"); }',
        )
        yield Body("statement", f'$n = {n}; printf("%s\\n", $n > 1 ? "big" : "small");')
        yield Body("statement", f'$n = {n}; printf("%d\\n", $n ? $n * 2 : -1);')
        yield Body("statement", f'$n = {n}; printf("%d\\n", $n > 1 ? ($n > 3 ? 3 : 2) : 1);')
    yield Body("statement", '$i = 0; unroll(5) { $i++; printf("%d ", $i); } printf("\\n");')
    yield Body("statement", '$i = 0; while ($i < 5) { printf("%d ", $i); $i++; } printf("\\n");')
    yield Body(
        "statement", "$i = 0; while ($i < 9) { $i++; if ($i == 2) { continue; } if ($i > 4) { break; } print($i); }"
    )
    yield Body("statement", "let $x; print($x); $x = 5; print($x);")
    yield Body("statement", "let $x: int8 = 3; print($x); print(sizeof($x));")
    yield Body("statement", "if (1) { print(1); return; } print(2);")
    yield Body("statement", "$a = 1; { $b = 2; print($a + $b); }")
    yield Body("statement", "$x = { $y = 2; $y * 3 }; print($x);")
    yield Body("statement", "_ = 5 + 1; print(6);")
    yield Body("statement", "if (0) { print(0) } else { print(1) }")


def _strings() -> Iterator[Body]:
    yield Body("string", '$a = "hello"; print($a); printf("%s|\\n", $a);')
    yield Body("string", '@s = "hello"; @s = "hi"; print(@s);')
    yield Body("string", '@s["key one"] = "value"; print(@s); print(@s["key one"]);')
    yield Body("string", 'print(strncmp("abcd", "abxx", 2)); print(strncmp("abcd", "abxx", 3));')
    yield Body("string", 'if ("abc" == "abc") { print("same"); }')
    yield Body("string", '$s = "abc"; print($s == "abc" ? "y" : "n");')
    for text in ("", "a", "a longer text with many words in it, and commas; and more"):
        yield Body("string", f'@t["{text}"] = "{text}"; print(@t);')
    yield Body("string", "print(ntop(0x0100007f)); print(ntop(2, 0x0100007f));")
    yield Body("string", "print(bswap((uint16)0x1234)); print(bswap((uint32)0x12345678)); print(bswap((uint64)1));")
    yield Body("string", 'print(buf("abc", 2));')
    yield Body("string", 'print(kaddr("vfs_read") == kaddr("vfs_read")); print(ksym(0));')


def _maps() -> Iterator[Body]:
    yield Body("map", "print(@e); @e[0] = 1;")
    yield Body("map", "@a[1] = (uint64)10; @a[2] = (uint64)20; @a[3] = (uint64)5; print(@a);")
    fill = "@a[1] = (int64)10; @a[2] = (int64)20; @a[3] = (int64)5;"
    yield Body("map", f"{fill} print(@a, 2); print(@a, 0, 5); print(@a, 2, 5);")
    yield Body("map", "@a[1] = 10; @a[2] = 20; delete(@a, 1); print(@a);")
    yield Body("map", "@a[1] = 10; delete(@a[1]); print(@a);")
    yield Body("map", "@a = 10; delete(@a); print(@a);")
    yield Body("map", "@a[1] = 10; print(has_key(@a, 1)); print(has_key(@a, 2)); print(len(@a));")
    yield Body("map", "@a[1] = 10; print(@a); clear(@a);")
    yield Body("map", "@a[1] = 10; @b[2] = 3; zero(@a); clear(@b); @c = 1;")
    yield Body("map", "@a = count(); zero(@a);")
    yield Body("map", "print(@missing[7]); @missing[1] = 3;")
    yield Body("map", '@a[1, "x", -2] = (int64)3; @a[2, "y", 5] = (int64)4; print(@a); print(@a[1, "x", -2]);')
    yield Body("map", '@a[(1, "x")] = 3; print(@a);')
    yield Body("map", "@a[1] = 1; @a[1]++; @a[1] += 5; print(@a[1]);")
    yield Body("map", "@a[-1] = (int64)1; @a[1] = (int64)2; print(@a);")
    yield Body("map", '@a["b"] = (int64)1; @a["a"] = (int64)2; print(@a["a"]);')
    yield Body("map", '@s[1] = "one"; @s[2] = "two"; print(@s);')
    yield Body("map", "@t[1] = (1, 2); @t[2] = (3, 4); print(@t); print(@t[2].1);")
    yield Body("map", "@x = 5; @y = @x; @x = 6; print(@y);")
    yield Body("map", "@a[1] = 5; $v = @a[1]; @a[1] = 6; print($v);")
    yield Body("map", "@a[1,2] = 1; @b[3,4,5] = 1; print((@a[1,2], @b[3,4,5]));")


def _histograms() -> Iterator[Body]:
    values = ("0", "1", "2", "3", "7", "8", "1000", "1024", "1048576", "(uint64)1 << 40", "-1", "-100")
    for value in values:
        yield Body("hist", f"@h = hist({value}); print(@h);")
    yield Body("hist", "@h = hist(1); @h = hist(2); @h = hist(1); @h = hist(100); print(@h);")
    yield Body("hist", "@h[1] = hist(1); @h[2] = hist(5); @h[2] = hist(6); print(@h);")
    yield Body("hist", '@h["a", 1] = hist(1); print(@h);')
    for bits in range(6):
        yield Body("hist", f"@h = hist(5, {bits}); @h = hist(100, {bits}); print(@h);")
    for low, high, step in ((0, 10, 1), (0, 100, 10), (5, 25, 5), (0, 1000, 100), (0, 100000, 20000)):
        yield Body(
            "lhist",
            "".join(f"@h = lhist({value}, {low}, {high}, {step}); " for value in (low, low + step, high - 1))
            + "print(@h);",
        )
        yield Body(
            "lhist",
            f"@h = lhist({low - 1}, {low}, {high}, {step}); @h = lhist({high}, {low}, {high}, {step}); print(@h);",
        )
    yield Body("lhist", "@h[1] = lhist(3, 0, 10, 2); @h[2] = lhist(4, 0, 10, 2); print(@h, 1);")
    yield Body("hist", "$i = 0; unroll(50) { @h = hist($i); @l = lhist($i, 0, 50, 5); $i++; } print(@h); print(@l);")
    yield Body("hist", "@h = hist(1); @h = hist(2); @h = hist(2); print(@h, 0, 1); clear(@h);")


def _aggregates() -> Iterator[Body]:
    for function in ("count()", "sum(5)", "avg(5)", "min(5)", "max(5)", "stats(5)"):
        yield Body("aggregate", f"@a = {function}; @a = {function}; print(@a);")
        yield Body("aggregate", f'@a["k"] = {function}; @a["k"] = {function}; print(@a);')
        yield Body("aggregate", f"@a[1, 2] = {function}; print(@a); clear(@a);")
        yield Body("aggregate", f"@a = {function}; zero(@a);")
    for function in ("sum", "avg", "min", "max", "stats"):
        for name in ("int32", "uint32", "int64", "uint64"):
            yield Body("aggregate", f"@a = {function}(({name})3); @a = {function}(({name})8); print(@a);")
        yield Body("aggregate", f"@a = {function}(-5); @a = {function}(-2); print(@a);")
    yield Body(
        "aggregate", "@c[1] = count(); @c[2] = count(); @c[2] = count(); print(@c); print(@c, 1); print(@c, 0, 2);"
    )
    yield Body("aggregate", '@c = count(); @c = count(); if (@c > 1) { printf("%s\\n", @c); }')
    yield Body("aggregate", '@s = sum(5); @s = sum(6); printf("%d\\n", (int64)@s);')
    yield Body("aggregate", "@s[1] = stats(5); @s[2] = stats(500); print(@s);")
    yield Body("aggregate", "@a[1] = avg(5); @a[1] = avg(10); @a[2] = avg(1); print(@a);")
