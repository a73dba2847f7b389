"""Programs over the standard library, made systematically, for the comparison with bpftrace."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.body import Body


def make_function_bodies() -> list[Body]:
    """Return the programs that call functions."""
    return [*_texts(), *_searches(), *_names(), *_addresses(), *_tasks()]


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


def _addresses() -> Iterator[Body]:
    for address in ("127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "ffee:ffee:aabb:ccdd::1"):
        yield Body("network", f'print(pton("{address}")); print(ntop(pton("{address}")));')
        yield Body(
            "network", f'$a = pton("{address}"); print($a[0]); print($a[3]); printf("%s|%20s|\\n", ntop($a), ntop($a));'
        )
    for number in ("0", "1", "0x0100007f", "0xffffffff"):
        yield Body("network", f"print(ntop({number})); print(ntop(2, {number})); print(ntop(10, {number}));")
        yield Body("network", f"@n[ntop({number})] = {number}; print(@n);")
    for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        yield Body("network", f"$n = ({kind})0x12; print(bswap($n)); print(bswap(({kind})-2));")


def _tasks() -> Iterator[Body]:
    yield Body("task", "print(ppid(curtask) == ppid); print(pcomm(curtask) == pcomm);")
    yield Body("task", "print(leader_tid(curtask) == leader_tid); print(leader_comm(curtask) == leader_comm);")
    yield Body(
        "task", "print(pid(init) > 0); print(pid(curr_ns) == pid); print(tid(curr_ns) == tid); print(pid() == tid());"
    )
    for clock in ("boot", "monotonic", "tai", "sw_tai"):
        yield Body("task", f"print(nsecs({clock}) > 0); $t = nsecs({clock}); print(nsecs({clock}) >= $t);")
    for clock in ("", "(boot)", "(tai)", "(sw_tai)"):
        yield Body(
            "task", f'printf("%s\\n", strftime("%Y-%m", nsecs{clock})); $t = nsecs{clock}; print(strftime("%Y", $t));'
        )
    yield Body(
        "task",
        "print(nsecs(tai) > nsecs(boot)); print(elapsed > 0); print(jiffies > 0); print(ncpus > cpu); print(numaid);",
    )
    yield Body("task", "print(uid); print(gid); print(username); print(probetype); print(rand() >= 0);")
    yield Body("task", 'print(cgroup_path(1, "nothing*"));')
