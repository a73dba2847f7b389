"""Programs with loops, made systematically: bounds, exits, nesting, captured variables, maps."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.generated import Body

_EXITS = ("", "if ($i == 2) { continue; } ", "if ($i == 3) { break; } ", "if ($i == 1) { return; } ")
_BOUNDS = ("0..4", "3..5", "5..3", "2..2", "(-2)..2", "$n..6", "0..$n", "$n..($n + 3)")
_STEPS = ("$s += $i;", "$s = $i;", '$t = "xyz";', "$s++;", "let $u = $i * 2; $s += $u;")
_AGGREGATES = ("count()", "sum($i)", "min($i)", "max($i)", "avg($i)", "sum(-$i)")


def make_loop_bodies() -> Iterator[Body]:
    """Yield all programs."""
    for bounds in _BOUNDS:
        for leave in _EXITS:
            yield Body("loop", f'$n = 3; for $i : {bounds} {{ {leave}printf("%d ", $i); }} printf("%d\\n", $n);')
    for step in _STEPS:
        for leave in _EXITS[:3]:
            yield Body("loop", f'$s = 0; $t = "a"; for $i : 0..5 {{ {leave}{step} }} printf("%d %s\\n", $s, $t);')
    for inner in _EXITS:
        for outer in _EXITS[:3]:
            text = inner.replace("$i", "$j")
            yield Body(
                "loop", f'for $i : 0..4 {{ {outer}for $j : 0..4 {{ {text}printf("%d%d ", $i, $j); }} }} print("e");'
            )
    for aggregate in _AGGREGATES:
        fill = f"for $i : 1..9 {{ @a[$i % 3] = {aggregate}; }}"
        yield Body("loop", f"{fill} $s = 0; for $kv : @a {{ $s += (int64)$kv.1 * ($kv.0 + 1); }} print($s); clear(@a);")
        yield Body("loop", f"{fill} for $kv : @a {{ if ($kv.0 == 1) {{ print($kv); }} }} clear(@a);")
    for key, value in (("$i", "$i * 2"), ('($i, "k")', "$i"), ('"k"', '"v"'), ("$i", '($i, "v", 5)'), ("$i, 7", "$i")):
        yield Body("loop", f"for $i : 4..5 {{ @a[{key}] = {value}; }} for $kv : @a {{ print($kv); print($kv.1); }}")
        yield Body("loop", f"for $i : 0..5 {{ @a[{key}] = {value}; }} for $kv : @a {{ $d = delete(@a, $kv.0); }}")
