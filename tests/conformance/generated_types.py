"""Programs over the types of the language: widths, signs, casts, tuples, records, strings, maps, formats.

What differs on purpose (docs/differences.md) is not here: division and shifts of negative numbers, the negative of a
narrow variable, and whole maps with more than one value of less than 64 bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

from tests.conformance.body import Body

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_SIZES = {name: int(name.lstrip("uint")) // 8 for name in INTEGERS}
_SIGNED = tuple(name for name in INTEGERS if not name.startswith("u"))
_LITERALS = (
    "0", "1", "-1", "127", "128", "-128", "-129", "255", "256", "32767", "32768", "-32768", "-32769", "65535", "65536",
    "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "-9223372036854775807",
)  # fmt: skip
_VALUES = ("1", "300", "(uint8)5", "-2", '"a"', '"longer text"', "true", "(1, 2)")
_COMPOUND = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")


def make_type_bodies() -> list[Body]:
    """Return every third program, or all with ``TRAPLINE_ALL_PROGRAMS=1``."""
    return _all_bodies()[:: 1 if os.environ.get("TRAPLINE_ALL_PROGRAMS") == "1" else 3]


def _all_bodies() -> list[Body]:
    return [
        *_widths(),
        *_mixtures(),
        *_literals(),
        *_declared(),
        *_compound(),
        *_casts(),
        *_arrays(),
        *_tuples(),
        *_records(),
        *_strings(),
        *_choices(),
        *_booleans(),
        *_pointers(),
        *_sizes(),
        *_map_values(),
        *_map_keys(),
        *_long_keys(),
        *_maps_without_keys(),
        *_aggregates(),
        *_formats(),
        *_enums(),
        *_kernel_types(),
    ]


def _widths() -> Iterator[Body]:
    """A place that holds values of two types, and of a type and a literal."""
    for one, two in product(INTEGERS, INTEGERS):
        yield Body("width", f"$x = ({one})100; print(sizeof($x)); $x = ({two})7; print($x);")
        yield Body(
            "width",
            f"@x = ({one})100; $v = @x; print(sizeof($v)); print(@x); @x = ({two})7; print(@x);"
            f" @k[({one})3] = 1; @k[({two})3] += 1; print(@k);",
        )
    for name, value in product(INTEGERS, ("5", "-5", "200", "70000", "-70000", "5000000000")):
        yield Body("width", f"$x = ({name})1; print(sizeof($x)); $x = {value}; print($x);")
    for values in product(("5", "300", "-7"), ("6", "70000", "5000000000")):
        one, two = values
        yield Body("width", f"$x = {one}; $y = $x; $x = {two}; print((sizeof($x), sizeof($y), $x, $y));")
        yield Body("width", f"@[{one}] = {two}; @[{two}] = {one}; print((@[{one}], @[{two}])); clear(@);")


def _mixtures() -> Iterator[Body]:
    """Operators on two types."""
    for one, two in product(INTEGERS, INTEGERS):
        shown = "".join(f"print($a {op} $b); " for op in ("+", "-", "*", "&", "|", "^", "==", "!=", "<", ">="))
        yield Body("mixture", f"$a = ({one})100; $b = ({two})27; {shown}print((sizeof($a + $b), sizeof($a == $b)));")
    for one, two in product(_SIGNED, INTEGERS):
        shown = "".join(f"print($a {op} $b); " for op in ("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "&", "|"))
        yield Body("mixture", f"$a = ({one})-5; $b = ({two})3; {shown}")
    for name in INTEGERS:
        shown = "".join(
            f"print(5 {op} $a); print($a {op} 5); " for op in ("+", "-", "*", "&", "|", "^", "==", "<", ">")
        )
        yield Body("mixture", f"$a = ({name})9; {shown}print(1 << $a); print($a << 2);")
        yield Body("mixture", f"@a = ({name})9; print(@a + 1); print(@a == 9); print(@a < 10); print(@a * 2 - 1);")
        yield Body("mixture", f"$a = ({name})6; print($a && 1); print($a || 0); print(!$a); print($a ? 1 : 0);")


def _literals() -> Iterator[Body]:
    for value in _LITERALS:
        yield Body(
            "typed literal",
            f'$x = {value}; print(sizeof($x)); print($x); print(({value}, 1)); printf("%d %u %x %ld %lu %lx\\n",'
            f" $x, $x, $x, $x, $x, $x);",
        )
        yield Body("typed literal", f"@k[{value}] = {value}; print(@k); print(@k[{value}]); @s = {value}; print(@s);")


def _declared() -> Iterator[Body]:
    """Variables of a declared type: they keep it, and wrap."""
    for name in INTEGERS:
        bits = 8 * _SIZES[name]
        most = (1 << bits) - 1 if name.startswith("u") else (1 << (bits - 1)) - 1
        yield Body("declared", f"let $x: {name} = {most}; print($x); $x++; print($x); $x--; print($x); print(++$x);")
        yield Body("declared", f"let $x: {name} = 5; $x += 3; print($x); $x *= 2; print($x); print(sizeof($x));")
        yield Body(
            "declared", f"let $x: {name}; $x = 7; print($x); print($x++); print(--$x); $x = (uint8)9; print($x);"
        )
        yield Body("declared", f"let $x: typeof(({name})1) = 4; print((sizeof($x), $x)); print((typeof($x))250);")
    for text in ('string = "abc"', 'string[9] = "abc"', "bool = true"):
        yield Body("declared", f"let $x: {text}; print($x); print(sizeof($x)); @v = $x; print(@v); @k[$x] = 1;")
    yield Body("declared", "let $x: uint8[4] = (uint8[4])7; print($x); print($x[0]); print(sizeof($x));")
    yield Body("declared", 'let $x: int64; let $y: string[5]; let $z: bool; print(1); $x = 1; $y = "a"; $z = true;')
    yield Body("declared", 'let $x; $x = 5; print($x); let $y; $y = "t"; print($y); let $z; $z = (1, 2); print($z);')


def _compound() -> Iterator[Body]:
    for name, op in product(INTEGERS, _COMPOUND):
        yield Body("compound", f"$x = ({name})100; $x {op}= 3; print($x); print(sizeof($x));")
        yield Body("compound", f"@x = ({name})100; @x {op}= 3; print(@x); @k[2] {op}= 5; print(@k);")
    for name in INTEGERS:
        for text in ("++", "--"):
            yield Body(
                "compound",
                f"$x = ({name})9; print($x{text}); print({text}$x); print($x); print(sizeof($x));"
                f" @x = ({name})9; print(@x{text}); print({text}@x); print(@x); @k[1]{text}; print(@k);",
            )


def _casts() -> Iterator[Body]:
    for one, two in product(INTEGERS, INTEGERS):
        yield Body("typed cast", f"$x = ({one})200; print(({two})$x); $y = ({one})77; @m = ({two})$y; print(@m);")
    for name in INTEGERS:
        yield Body("typed cast", f"$t = true; print(({name})$t); print(({name})false); print((bool)({name})2);")
        yield Body("typed cast", f"print(({name}*)32); $p = ({name}*)64; print(({name})$p); print((uint64)$p + 1);")


def _arrays() -> Iterator[Body]:
    for whole, element in product(INTEGERS, (*INTEGERS, "bool")):
        size = 1 if element == "bool" else _SIZES[element]
        if _SIZES[whole] < size:
            continue
        count = _SIZES[whole] // size
        given = 1 if element == "bool" else 100  # bpftrace looks at the lowest bit of a bool only
        yield Body(
            "array",
            f"$a = ({element}[{count}])({whole}){given}; print($a); print($a[0]); print(sizeof($a));"
            f" $b = ({element}[])({whole}){given}; print($b); @m = $a; print(@m); @k[$a] = 1; print(@k);",
        )
        if element != "bool":
            yield Body(
                "array",
                f"$a = ({element}[{count}])({whole})9; $b = ({element}[{count}])({whole})9; $c = ({element}[{count}])"
                f"({whole})8; print($a == $b); print($a != $b); print($a == $c); print($a != $c); print(({whole})$a);",
            )
    for count in (1, 2, 4, 8):
        yield Body("array", f"$a = (uint8[{count}])5; print($a); $i = 0; print($a[$i]); print($a[{count - 1}]);")
    for text in ("", "a", "abc", "abcdefg"):
        yield Body("array", f'$a = (int8[])"{text}"; print($a); print($a[0]); print(sizeof($a));')


def _tuples() -> Iterator[Body]:
    for one, two in product(_VALUES, _VALUES):
        pair = f"({one}, {two})"
        yield Body(
            "tuple",
            f"$t = {pair}; print($t); print(sizeof($t)); print($t.0); print($t[1]); @m = $t; print(@m);"
            f" print(@m.1); @k[{one}, {two}] = 1; print(@k[{one}, {two}]);",
        )
        yield Body("tuple", f"$t = {pair}; $u = {pair}; print($t == $u); print($t != $u); @m = $t; print(@m == $u);")
    numbers = ("1", "300", "(uint8)5", "-70000", "(uint32)9")
    for one, two in product(numbers, numbers):
        yield Body(
            "tuple",
            f'$t = ({one}, "a"); print(sizeof($t)); $t = ({two}, "bcd"); print($t); print($t == ({one}, "a"));'
            f' @m = ({one}, "a"); @m = ({two}, "bcd"); print(@m);',
        )
        yield Body(
            "tuple",
            f'@k[{one}, "a"] = (int64)1; @k[{two}, "bcd"] = (int64)2; print(@k[{one}, "a"]); print(@k[{two}, "bcd"]);'
            f' _ = delete(@k, ({one}, "a")); print(@k);',
        )
    yield Body("tuple", '$t = (1, (2, ("x", true))); print($t.1.1.0); print($t); @m[$t] = 1; print(@m[$t]);')
    yield Body("tuple", "$t = (1, 2); $t = ($t.1, $t.0); print($t); $u = ($t, $t); print($u.1.0);")
    yield Body("tuple", "$t = (1,); print($t); print($t.0); @m[$t] = 5; print(@m);")


def _records() -> Iterator[Body]:
    for one, two in product(_VALUES, _VALUES):
        yield Body(
            "record",
            f"$r = (a={one}, b={two}); print($r); print($r.a); print($r.b); print(sizeof($r)); @m = $r; print(@m);"
            f" print(@m.a); print($r == (a={one}, b={two}));",
        )
    for one, two in product(("1", "300", "(uint16)5", "-9"), ("2", "70000")):
        yield Body(
            "record",
            f'$r = (a={one}, b="x"); print(sizeof($r)); $r = (b="xyz", a={two}); print($r); print($r == (a={two},'
            f' b="xyz")); @k[(a={one}, b="x")] = (int64)1; @k[(b="xyz", a={two})] = (int64)2; print(@k);'
            f' print(@k[(b="x", a={one})]);',
        )
    yield Body("record", '$r = (a=1, b=(c=2, d="t")); print($r.b.d); print($r); @m[1] = $r; print(@m[1].b.c);')
    yield Body("record", "$r = (a=1, t=(2, 3)); print($r.t.1); $r = (t=($r.a, $r.t.0), a=9); print($r);")


def _strings() -> Iterator[Body]:
    lengths = (0, 1, 3, 7, 8, 9, 15, 16, 31, 64)
    text = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-+"
    for one in lengths:
        pairs = "".join(f'$b{two} = "{text[:two]}"; print($a == $b{two}); ' for two in lengths)
        yield Body("text", f'$a = "{text[:one]}"; {pairs}')
        literals = "".join(f'print($a != "{text[:two]}"); ' for two in lengths)
        yield Body("text", f'$a = "{text[:one]}"; {literals}')
    for one, two in product((0, 1, 8, 31), (0, 1, 8, 31)):
        a, b = text[:one], text[:two]
        yield Body(
            "text",
            f'$s = "{a}"; print(sizeof($s)); $s = "{b}"; print($s); @m = "{a}"; @m = "{b}"; print(@m);'
            f' @k[$s] = (int64)1; @k["{a}"] += 5; @k["{b}"] += 7; print(@k["{a}"]); print(@k["{b}"]);',
        )
        yield Body("text", f'$s = pid ? "{a}" : "{b}"; print($s); print(sizeof($s)); print(pid == 0 ? "{a}" : "{b}");')
        yield Body("text", f'$s = "{a}"; $s = str("{b}"); print($s); print($s == "{b}"); print(strncmp("{a}", $s, 4));')
    for at in range(4):
        yield Body("text", f'$s = "abc"; print($s[{at}]); $i = {at}; print($s[$i]); printf("[%c]\\n", "xyzw"[{at}]);')
    yield Body(
        "text", 'let $s: string[8] = "abc"; $s = "abcdefg"; print($s); @[$s] = 1; $s = "x"; @[$s] = 2; clear(@);'
    )


def _choices() -> Iterator[Body]:
    for one, two in product(INTEGERS, INTEGERS):
        yield Body("choice", f"$x = pid ? ({one})5 : ({two})6; print($x); print(sizeof($x));")
    for one, two in product(("1", "300", "-5", "(uint8)7", "70000"), ("2", "-300", "(uint16)8")):
        yield Body("choice", f"$x = pid ? {one} : {two}; print($x); print(sizeof($x)); @m = pid == 0 ? {one} : {two};")
        yield Body("choice", f"$x = if (pid) {{ {one} }} else {{ {two} }}; print($x); print(sizeof($x));")
        yield Body("choice", f"$x = 1 ? {one} : {two}; print(sizeof($x)); $y = 0 ? {one} : {two}; print(($x, $y));")
    for value in ('"a"', "(1, 2)", "true", "(a=1)"):
        yield Body("choice", f"$x = pid ? {value} : {value}; print($x); print(sizeof($x)); $y = {{ $z = 1; {value} }};")


def _booleans() -> Iterator[Body]:
    for one, two in product(("true", "false"), ("true", "false")):
        shown = "".join(f"print($a {op} $b); " for op in ("==", "!=", "&&", "||", "&", "|", "^", "<", ">="))
        yield Body("boolean", f"$a = {one}; $b = {two}; {shown}print(!$a); print(sizeof($a && $b)); print($a + 1);")
        yield Body("boolean", f"print({one} == {two}); print({one} && {two}); print(!{one}); print({one} ? 1 : 2);")
        yield Body(
            "boolean", f"@b = {one}; @b = {two}; print(@b); @k[{one}] = {two}; print(@k); print(({one}, {two}));"
        )
    for op in ("==", "!=", "<", "<=", ">", ">="):
        yield Body(
            "boolean", f"$x = 5; $b = $x {op} 4; print($b); @b = 3 {op} $x; print(@b); print((uint8)($x {op} 5));"
        )


def _pointers() -> Iterator[Body]:
    for name in (*INTEGERS, "void", "struct task_struct", "int8 *"):
        pointer = f"({name} *)"
        yield Body(
            "pointer",
            f"$p = {pointer}4096; print($p); print($p == {pointer}4096); print($p == 0); print($p ? 1 : 2);"
            f" if ($p) {{ print(3); }} @p = $p; print(@p); @k[$p] = 1; print(@k); print(sizeof($p));",
        )
        if name != "void":
            yield Body(
                "pointer",
                f"$p = {pointer}4096; print($p + 1); print($p - 2); print(1 + $p); $p++; print($p); $p--; print($p);"
                f" $p += 3; print($p); $p -= 1; print($p); print(++$p); print($p--); print($p > {pointer}4096);",
            )
            yield Body("pointer", f"@p = {pointer}4096; @p++; print(@p); @p += 2; print(@p); @k[1] = @p; print(@k[1]);")
    for name in INTEGERS:
        yield Body(
            "pointer", f"$x = ({name})77; $p = &$x; print(*$p); print(*$p + 1); print($p == 0); print(sizeof($p));"
        )
    yield Body(
        "pointer", '$s = "text"; $p = &$s; print(*$p); $t = (1, "u"); $q = &$t; print(*$q); @m = 1; print(&@m == 0);'
    )


def _sizes() -> Iterator[Body]:
    types = (
        "char", "short", "int", "long", "uint8_t", "uint16_t", "uint32_t", "uint64_t",
        "int32_t", "size_t", "pid_t", "u8", "u16", "u32", "u64", "s64", "__u32", "struct task_struct",
        "struct list_head",
        "struct path", "union bpf_attr", "int8[3]", "int32[5]", "uint64 *", "string[7]",
    )  # fmt: skip
    for name in types:
        yield Body("size", f"print(sizeof({name})); print(sizeof({name}) + 1);")
    for value in (*_VALUES, "1 + 1", "pid", "nsecs", "comm", "1 == 1", "-1", "~5"):
        if value != "true":  # bpftrace says 8, and 1 of a variable that is true
            yield Body("size", f"print(sizeof({value}));")
    for path in ("pid", "comm", "mm", "se.load", "se.load.weight", "cpus_mask", "tasks.next", "se.on_rq"):
        yield Body(
            "size", f"print(offsetof(struct task_struct, {path}) > 0); print(offsetof(struct task_struct, {path}));"
        )


def _map_values() -> Iterator[Body]:
    values = [
        *_VALUES,
        *(f"({name})7" for name in INTEGERS),
        "(int16*)64",
        "nsecs > 0",
        "BPF_MAP_TYPE_HASH",
        "(a=1, b=2)",
    ]
    for value in values:
        yield Body(
            "map function",
            f"@m[1] = {value}; print(has_key(@m, 1)); print(has_key(@m, 2)); print(@m[2]); print(len(@m)); print(@m);"
            " _ = delete(@m, 1); print(len(@m)); print(@m[1]); if (delete(@m, 1)) { print(1); } else { print(2); }"
            f" @m[5] = {value}; $v = @m[5]; print($v); print(@m[6]);",
        )
        yield Body(
            "map function", f"@s = {value}; print(@s); $v = @s; print($v); clear(@s); @s = {value}; print((@s, 1));"
        )
        yield Body("map function", f"@m[1] = {value}; print(@m, 1); @c[@m[1]] = count(); print(@c); print((@m[1], 2));")
        if value not in ("true", "nsecs > 0"):  # bpftrace's find() makes every bool false
            yield Body(
                "map function",
                f"@m[1] = {value}; let $v; if (find(@m, 1, $v)) {{ print($v); }} print(find(@m, 9, $v));",
            )


def _map_keys() -> Iterator[Body]:
    keys = [*_VALUES, *(f"({name})7" for name in INTEGERS), "(int16*)64", "1 == 1", "BPF_MAP_TYPE_HASH", "(a=1, b=2)"]
    for key in keys:
        for value in ("5", '"t"', "(1, 2)"):
            yield Body(
                "map key",
                f"@m[{key}] = {value}; print(@m); print(@m[{key}]); print(has_key(@m, {key})); $k = {key};"
                f" print(@m[$k]); print(delete(@m, $k)); print(len(@m)); print(delete(@m, {key}));",
            )
        yield Body("map key", f"@m[{key}] = count(); @m[{key}] = count(); print(@m); print(@m[{key}] > 1);")
        yield Body("map key", f"@m[{key}, 1] = avg(5); print(@m); @h[{key}] = hist(3); print(@h); clear(@h);")


def _long_keys() -> Iterator[Body]:
    """Short and long strings as keys of one map, which keeps them in two (`trapline.ir.short_keys`)."""
    for length in (62, 63, 64, 65, 127, 200):
        text = "x" * length
        keys = [f'"{text}"', '"a"', f'"{text[1:]}y"', '""']
        fill = "".join(f"@m[{key}] = {n}; " for n, key in enumerate(keys))
        yield Body(
            "long key",
            f'{fill} @m["{"z" * 200}"] = 9; @m["{"z" * 199}"] = 8; print(@m); print(len(@m)); @m[{keys[0]}]++;'
            f" @m[{keys[1]}] += 5; print(@m[{keys[0]}]); print(delete(@m, {keys[1]})); print(has_key(@m, {keys[1]}));"
            f" print(has_key(@m, {keys[2]})); print(len(@m)); clear(@m);",
        )
        yield Body(
            "long key",
            f'@p[{keys[0]}, 5] = count(); @p["a", 6] = count(); @p["a", 6] = count(); @z["{"z" * 200}"] = 1; zero(@z);'
            f' print(@p); print(@p["a", 6]); print(@p[{keys[0]}, 5]);',
        )
        yield Body(
            "long key",
            f'@h[1, {keys[0]}] = hist(3); print(@h); clear(@h); @g["a", 1] = hist(3); @g["a", 1] = hist(3);'
            f' @g["{"z" * 200}", 2] = hist(300); print(@g); clear(@g);'
            f' @t[{keys[0]}, "{"y" * 200}"] = avg(3); @t["{"y" * 200}", "b"] = avg(4); @t["a", "b"] = avg(5);'
            " print(@t);",
        )
    yield Body(
        "long key", f'@f["{"f" * 300}"] = 1; @f["b"] = 2; for ($kv : @f) {{ @n = sum($kv.1); }} print(@n); clear(@f);'
    )


def _maps_without_keys() -> Iterator[Body]:
    """Scalars and histograms without keys, which live in arrays (`trapline.runtime.stored_maps`)."""
    for value in ("count()", "sum(-3)", "avg(7)", "min(7)", "max(-7)", "stats(7)", "hist(7)", "lhist(7, 0, 10, 1)"):
        yield Body(
            "no key",
            f"@a = {value}; @a = {value}; print(@a); @z = {value}; zero(@z); print(@z); @z = {value};"
            f" @c = {value}; clear(@c); @d = {value}; clear(@d); @d = {value}; zero(@d);",
        )
        yield Body("no key", f"print(@n); if (pid == 0) {{ @n = {value}; }}")
        yield Body("no key", f"zero(@n); clear(@n); if (pid == 0) {{ @n = {value}; }} zero(@n); print(@n);")
    for value in (
        "0",
        "5",
        "-5",
        "(int8)-5",
        "(uint16)70000",
        "(uint8*)4096",
        "true",
        "(uint32)77",
        '"text"',
        "(1, 2)",
    ):
        yield Body("no key", f"@a = {value}; print(@a); $v = @a; print($v); @z = {value}; zero(@z); print(@z);")
        yield Body("no key", f"@c = {value}; clear(@c); print(@c); @d = {value}; clear(@d); @d = {value};")
        yield Body("no key", f"@d = {value}; print(delete(@d)); print(delete(@d)); @e = {value}; _ = delete(@e);")
        yield Body("no key", f"$v = @n; print($v); if (pid == 0) {{ @n = {value}; }}")
    yield Body("no key", "@x++; ++@x; print(@x--); @y -= 5; @y *= 3; print(@y); @u = 0; print(@u); clear(@y);")


def _aggregates() -> Iterator[Body]:
    for function, name in product(("sum", "min", "max", "avg"), INTEGERS):
        yield Body(
            "typed aggregate",
            f"@a = {function}(({name})5); @a = {function}(({name})9); print((int64)@a); print(@a > 6); print(@a == 7);"
            f' print(@a + 1); printf("%d %s\\n", (int32)@a, @a); $v = @a; print($v); print(sizeof($v));',
        )
        yield Body(
            "typed aggregate",
            f"@a[1] = {function}(({name})5); @a[2] = {function}(({name})9); print(@a[1]); print((uint8)@a[2]);"
            f" print(@a[3]); @k[@a[1]] = 1; print(@k); if (@a[2] >= 9) {{ print(@a); }}",
        )
    for name in _SIGNED:
        yield Body("typed aggregate", f"@n = min(({name})-5); @n = min(({name})3); print((int64)@n); print(@n < 0);")
        yield Body("typed aggregate", f"@s = sum(({name})-5); @s = sum(({name})3); print((int64)@s); print(@s == -2);")
    yield Body(
        "typed aggregate", "@c = count(); @c = count(); print(@c * 10); print((uint8)@c); @d[@c] = 1; print(@d);"
    )


def _formats() -> Iterator[Body]:
    conversions = (
        "d",
        "i",
        "u",
        "x",
        "X",
        "o",
        "ld",
        "lu",
        "lx",
        "hd",
        "hhd",
        "hhx",
        "llx",
        "c",
        "p",
        "s",
        "5d",
        "-8x",
        "#x",
    )
    for name in INTEGERS:
        for value in ("65", "-3") if name in _SIGNED else ("65", "200"):
            shown = "".join(f'printf("[%{c}] ", $v); ' for c in conversions)
            yield Body("typed format", f'$v = ({name}){value}; {shown}printf("\\n");')
            shown = "".join(f'printf("[%{c}] ", @v); ' for c in ("d", "u", "x", "ld", "lx", "s"))
            yield Body("typed format", f'@v = ({name}){value}; {shown}printf("\\n"); print(@v);')
    for value in (*_VALUES, "(int8*)64", "(a=1)", "(uint8[2])300", "BPF_MAP_TYPE_HASH", "5 > 3"):
        yield Body("typed format", f'printf("[%s] [%20s]\\n", {value}, 1); $v = {value}; printf("%s|\\n", $v);')
    yield Body("typed format", 'printf("%d %d %s\\n", true, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY == 2);')


def _enums() -> Iterator[Body]:
    for one, two in product(
        ("BPF_MAP_TYPE_HASH", "BPF_MAP_TYPE_ARRAY", "BPF_PROG_TYPE_KPROBE"), ("1", "BPF_MAP_TYPE_HASH")
    ):
        shown = "".join(f"print($a {op} {two}); " for op in ("+", "-", "*", "==", "!=", "<", ">"))
        yield Body("enum", f"$a = {one}; print($a); {shown}print(sizeof($a)); print((uint8)$a); print(({one}, {two}));")
        yield Body("enum", f"$a = {one}; $a = {two}; print($a); @m = {one}; @m = {two}; print(@m); @k[{one}] = {two};")
        yield Body(
            "enum", f'printf("%d %s %x\\n", {one}, {one}, {two}); @k[{one}, {two}] = 1; print(@k); print({one} + 1);'
        )


def _kernel_types() -> Iterator[Body]:
    """Fields of the running task, where their values do not depend on who runs the program."""
    for text in (
        "curtask->pid == tid", "curtask->tgid == pid", "curtask->comm == comm", "curtask->parent->pid > 0",
        "curtask.group_leader.tgid == pid", "curtask->in_execve", "curtask->in_execve == 0", "curtask->mm == 0",
        "curtask->se.load.weight > 0", "sizeof(curtask->comm)", "curtask->exit_code", "curtask->signal->nr_threads > 0",
        "curtask->__state", "curtask->sched_reset_on_fork + 1", "sizeof(curtask->cpus_mask)",
        "curtask->cpus_mask.bits[0] > 0",
    ):  # fmt: skip
        plain = text.startswith("sizeof")
        if not plain:
            yield Body("kernel type", f"print({text}); $v = {text}; print($v); print(sizeof($v)); print(({text}, 1));")
            yield Body("kernel type", f"@v = {text}; print(@v); @k[{text}] = 1; print(@k);")
    yield Body("kernel type", "$t = *curtask; print($t.pid == tid); @t = $t; print(@t.tgid == pid); clear(@t);")
    yield Body(
        "kernel type", "$l = curtask->se.load; print($l.weight > 0); @l[1] = $l; print(@l[1].weight > 0); clear(@l);"
    )
    yield Body(
        "kernel type", "$t = curtask; $u = $t + 1; print((uint64)$u - (uint64)$t == sizeof(struct task_struct));"
    )
