"""Programs over the standard library, made systematically, for the comparison with bpftrace."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.body import Body


def make_function_bodies() -> list[Body]:
    """Return the programs that call functions."""
    return [*_texts(), *_searches(), *_names()]


def _texts() -> Iterator[Body]:
    for text in ("", "a", "hello", "with spaces", "0123456789" * 6):
        yield Body(
            "string functions", f'print(strlen("{text}")); print(strcap("{text}")); $s = "{text}"; print(strlen($s));'
        )
        yield Body("string functions", f'@s = "{text}"; print(strlen(@s));')
        for other in ("", "b", "longer than it"):
            yield Body("string functions", f'print(str_concat("{text}", "{other}"));')
            yield Body(
                "string functions", f'$a = "{text}"; $b = str_concat($a, "{other}"); print(strlen($b)); print($b);'
            )
    for left, right, size in (("abc", "abd", 3), ("abc", "abd", 2), ("d", "a", 1), ("a", "z", 1), ("abc", "abc", 3)):
        yield Body("string functions", f'print(memcmp("{left}", "{right}", {size}));')
        yield Body("string functions", f'$l = "{left}"; $r = "{right}"; $n = {size}; print(memcmp($l, $r, $n));')


def _searches() -> Iterator[Body]:
    # What is not found is -1 here, and -2 in bpftrace on kernels that have bpf_strstr().
    pairs = (("hello", "hello"), ("hello", "lo"), ("aaab", "aab"), ("abababc", "ababc"), ("x", "x"), ("abc", ""))
    for haystack, needle in pairs:
        yield Body("search", f'print(strstr("{haystack}", "{needle}")); print(strcontains("{haystack}", "{needle}"));')
        yield Body("search", f'$h = "{haystack}"; $n = "{needle}"; print(strstr($h, $n)); print(strcontains($h, $n));')
    for haystack, needle in (("hello", "lp"), ("abc", "abcd"), ("", "a"), ("aaaa", "ab")):
        yield Body("search", f'print(strcontains("{haystack}", "{needle}"));')
        yield Body("search", f'$h = "{haystack}"; $n = "{needle}"; print(strcontains($h, $n));')


def _names() -> Iterator[Body]:
    # 471 (rseq_slice_yield) is newer than the headers that this bpftrace was built with.
    numbers = {"strerror": range(-3, 140, 3), "signal_name": range(-1, 67, 2), "syscall_name": range(-1, 470, 9)}
    for function, span in numbers.items():
        for start in range(0, len(span), 8):
            calls = " ".join(f"print({function}({n}));" for n in span[start : start + 8])
            yield Body("names", calls)
        yield Body("names", f"$n = 5; print({function}($n)); @k[{function}($n)] = {function}(3); print(@k);")
        yield Body("names", f'printf("%s|%30s|%-30s|\\n", {function}(1), {function}(2), {function}(3));')
