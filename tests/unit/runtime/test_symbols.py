from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from trapline.ir import values as v
from trapline.runtime.decode import make_decoder
from trapline.runtime.names import Names, format_time
from trapline.runtime.objects import Stack
from trapline.runtime.symbols import KernelSymbols, Symbol, SymbolTable, UserSymbols, parse_perf_map
from trapline.syscall import kallsyms

KALLSYMS = """\
ffffffff81000000 T _text
ffffffff81000100 t do_one
ffffffff81000100 t do_one_alias
ffffffff81000200 T do_two
ffffffffc0000000 t mod_function\t[mod]
ffffffffc0001000 t bpf_prog_63f86cb0000932ab_begin_1\t[bpf]
"""


def kernel() -> KernelSymbols:
    return KernelSymbols(lambda: kallsyms.SymbolTable(KALLSYMS), lambda: kallsyms.SymbolTable(KALLSYMS))


def test_kernel_symbols() -> None:
    symbols = kernel()
    assert symbols.find(0xFFFFFFFF81000104) == Symbol("do_one", 4, "")
    assert symbols.find(0xFFFFFFFFC0000010) == Symbol("mod_function", 16, "mod")
    assert symbols.find(0x1000) is None
    assert symbols.find(0x1000) is None


def test_kernel_symbols_are_read_once_and_late() -> None:
    loads = []

    def load() -> kallsyms.SymbolTable:
        loads.append(1)
        return kallsyms.SymbolTable(KALLSYMS)

    symbols = KernelSymbols(load, load)
    assert not loads
    symbols.find(0xFFFFFFFF81000104)
    symbols.find(0xFFFFFFFF81000205)
    assert len(loads) == 1


def test_kernel_symbols_are_read_again_for_what_came_later() -> None:
    before = "\n".join(line for line in KALLSYMS.splitlines() if "[bpf]" not in line and "[mod]" not in line)
    symbols = KernelSymbols(lambda: kallsyms.SymbolTable(before), lambda: kallsyms.SymbolTable(KALLSYMS))
    assert symbols.find(0xFFFFFFFF81000201) == Symbol("do_two", 1, "")
    assert symbols.find(0xFFFFFFFFC0001010) == Symbol("bpf_prog_63f86cb0000932ab_begin_1", 16, "bpf")
    assert symbols.find(0xFFFFFFFFF0001010) is None


def test_table_respects_sizes() -> None:
    table = SymbolTable(
        [(0x20, 0x10, "b", "m"), (0x10, 4, "a", "m"), (0x20, 8, "b_alias", "m"), (0x40, 0, "open", "m")]
    )
    assert table.find(0x10) == Symbol("a", 0, "m")
    assert table.find(0x14) is None
    assert table.find(0x2F) == Symbol("b", 15, "m")
    assert table.find(0x0F) is None
    assert table.find(0x4000) == Symbol("open", 0x3FC0, "m")
    assert len(table) == 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    process = tmp_path / "proc" / "42"
    (process / "root" / "tmp").mkdir(parents=True)
    (process / "maps").write_text(
        "555500000000-555500001000 r--p 00000000 00:01 5 /bin/prog\n"
        "555500001000-555500003000 r-xp 00001000 00:01 5 /bin/prog\n"
        "7f0000000000-7f0000010000 r-xp 00000000 00:00 0 \n"
        "7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]\n"
    )
    (process / "root" / "tmp" / "perf-42.map").write_text("7f0000000100 20 jit:main loop\nbroken\nzz zz zz\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbad\nroot2:x:0:0::/:\n"
    )
    cgroup = tmp_path / "sys" / "fs" / "cgroup" / "user.slice"
    cgroup.mkdir(parents=True)
    return tmp_path


FILES = {"/bin/prog": [(0x1100, 0x40, "main"), (0x1200, 0, "tail")]}


def user(root: Path) -> UserSymbols:
    return UserSymbols(lambda path: FILES.get(path.removeprefix(f"{root}/proc/42/root"), []), root=str(root))


def test_user_symbols(root: Path) -> None:
    symbols = user(root)
    assert symbols.find(0x555500001110, 42) == Symbol("main", 0x10, "/bin/prog")
    assert symbols.find(0x555500001150, 42) is None
    assert symbols.find(0x555500001204, 42) == Symbol("tail", 4, "/bin/prog")
    assert symbols.find(0x7F0000000110, 42) == Symbol("jit:main loop", 0x10, "[jit]")
    assert symbols.find(0x7F0000000130, 42) is None
    assert symbols.find(0x1000, 42) is None
    assert symbols.find(0x555500001110, 77) is None


def test_mappings_are_read_again_when_an_address_is_new(root: Path) -> None:
    symbols = user(root)
    assert symbols.find(0x666600001110, 42) is None
    maps = root / "proc" / "42" / "maps"
    maps.write_text(maps.read_text() + "666600001000-666600003000 r-xp 00001000 00:01 5 /bin/prog\n")
    assert symbols.find(0x666600001118, 42) == Symbol("main", 0x18, "/bin/prog")
    maps.unlink()  # the process ended: what was known stays
    assert symbols.find(0x777700001118, 42) is None
    assert symbols.find(0x555500001112, 42) == Symbol("main", 0x12, "/bin/prog")
    symbols.forget(42)
    assert symbols.find(0x555500001112, 42) is None


def test_perf_map() -> None:
    assert parse_perf_map("10 4 a b\nx\n\n1z 1 q\n") == [(16, 4, "a b", "[jit]")]


def names(root: Path) -> Names:
    return Names(kernel=kernel(), user=user(root), probe_names=("kprobe:a",), boot_offset=10**18, root=str(root))


def test_symbol_texts(root: Path) -> None:
    shown = names(root)
    assert shown.kernel_symbol(0xFFFFFFFF81000104) == "do_one"
    assert shown.kernel_symbol(0xFFFFFFFF81000104, offset=True) == "do_one+4"
    assert shown.kernel_symbol(5) == "0x5"
    assert shown.kernel_symbol(0) == "0"
    assert shown.kernel_symbol(5, offset=True) == "0x5"
    assert shown.user_symbol(0x555500001110, 42) == "main"
    assert shown.user_symbol(1, 42) == "0x1"
    assert Names().kernel_symbol(5) == "0x5"
    assert (shown.probe_name(0), shown.probe_name(9)) == ("kprobe:a", "9")
    assert make_decoder(v.KsymV(), shown)((0xFFFFFFFF81000104).to_bytes(8, "little"), 0) == "do_one"


def test_stack_texts_are_bpftraces(root: Path) -> None:
    shown = names(root)
    kernel_addresses = (0xFFFFFFFF81000104, 0xFFFFFFFFC0001010)
    user_addresses = (0x555500001110, 0x1000)

    def text(kernel: bool, mode: str) -> str:
        return str(Stack(kernel_addresses if kernel else user_addresses, 0 if kernel else 42, kernel, mode, shown))

    assert text(True, "bpftrace") == "\n        do_one+4\n        bpf_prog_63f86cb0000932ab_begin_1+16\n"
    assert text(True, "perf") == (
        "\n\tffffffff81000104 do_one+4\n\tffffffffc0001010 bpf_prog_63f86cb0000932ab_begin_1+16\n"
    )
    assert text(False, "bpftrace") == "\n        main+16\n        0x1000\n"
    assert text(False, "perf") == "\n\t555500001110 main+16 (/bin/prog)\n\t1000 0x1000 ([unknown])\n"
    assert text(True, "raw") == "\nffffffff81000104\nffffffffc0001010\n"
    assert str(Stack((), 0, True, "bpftrace", shown)) == "\n"


def test_usernames(root: Path) -> None:
    shown = names(root)
    assert [shown.username(uid) for uid in (0, 1000, 5)] == ["root", "alice", ""]
    assert Names(root=str(root / "nowhere")).username(0) == ""


def test_cgroup_paths(root: Path) -> None:
    shown = names(root)
    base = root / "sys" / "fs" / "cgroup"
    assert shown.cgroup_path(os.stat(base / "user.slice").st_ino) == "unified:/user.slice"
    assert shown.cgroup_path(os.stat(base).st_ino) == "unified:/"
    assert shown.cgroup_path(1) == ""


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_times() -> None:
    assert format_time(1_700_000_000_123_456_789, "%H:%M:%S.%f %l %k") == "22:13:20.123456 123 123456789"
    shown = Names(boot_offset=1_700_000_000_000_000_000)
    assert shown.timestamp(5_000_000_000, "%H:%M:%S", "boot") == "22:13:25"
    assert shown.timestamp(5_500_000_000, "%S", "tai") == "05"  # the clock's offset is measured, to some µs


def test_clock_offset_is_measured() -> None:
    shown = Names()
    now = shown.wall_clock(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(now - time.time_ns()) < 5_000_000_000
    now = shown.wall_clock(time.clock_gettime_ns(time.CLOCK_MONOTONIC), "monotonic")
    assert abs(now - time.time_ns()) < 5_000_000_000
