"""Parsers of what the kernel prints, and the small owners."""

from __future__ import annotations

import os

import pytest

from trapline.errors import ClosedError
from trapline.syscall.fd import Fd
from trapline.syscall.kallsyms import SymbolTable
from trapline.syscall.machine import parse_cpu_list, parse_kernel_config, parse_version_code
from trapline.syscall.poll import Poller
from trapline.syscall.privilege import BlacklistEntry, parse_kprobe_blacklist, parse_lockdown
from trapline.syscall.process import parse_memory_maps

KALLSYMS = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t do_thing
ffffffff81000180 t do_thing.cold
ffffffff81000200 t do_thing_else
ffffffff81000300 t helper.isra.0
ffffffff81000380 t helper.isra.0.cold
ffffffff81000400 D init_task
ffffffffc0000000 t do_thing\t[mod_a]
ffffffffc0000100 t last\t[mod_a]
"""


@pytest.fixture
def table() -> SymbolTable:
    return SymbolTable(KALLSYMS)


def test_find_takes_whole_names_only(table: SymbolTable) -> None:
    assert [(s.address, s.module) for s in table.find("do_thing")] == [
        (0xFFFFFFFF81000100, ""),
        (0xFFFFFFFFC0000000, "mod_a"),
    ]
    assert [s.module for s in table.find("do_thing", "mod_a")] == ["mod_a"]
    assert [s.module for s in table.find("do_thing", "vmlinux")] == [""]
    assert table.find("thing") == [] and table.find("") == []
    assert table.address("do_thing") == 0xFFFFFFFF81000100
    assert table.address("nothing") is None


def test_variants_and_functions(table: SymbolTable) -> None:
    assert table.variants("helper") == ["helper.isra.0", "helper.isra.0.cold"]
    assert table.variants("do_thing") == ["do_thing.cold"]
    assert table.variants("do") == []
    assert ("do_thing", "mod_a") in table.functions() and ("init_task", "") not in table.functions()
    assert not table.find("init_task")[0].is_function


def test_addresses_by_module(table: SymbolTable) -> None:
    for module, address in (("vmlinux", 0xFFFFFFFF81000100), ("mod_a", 0xFFFFFFFFC0000000)):
        assert table.function_address("do_thing", module) == address  # by search
        assert table.function_addresses(module)["do_thing"] == address
        assert table.function_address("do_thing", module) == address  # from what is kept
        assert table.function_address("nothing", module) is None
    assert "init_task" not in table.function_addresses("vmlinux") and len(table.function_addresses("mod_a")) == 2


def test_symbolize(table: SymbolTable) -> None:
    assert table.symbolize(0xFFFFFFFF81000105) == ("do_thing", 5, "")
    assert table.symbolize(0xFFFFFFFF81000000) == ("_stext", 0, "")
    assert table.symbolize(0xFFFFFFFFC0000101) == ("last", 1, "mod_a")
    assert table.symbolize(0x1000) is None
    assert table.extent(0xFFFFFFFF81000100) == 0x80
    assert table.extent(0xFFFFFFFF81000010) == 0x100
    assert table.extent(0xFFFFFFFFC0000100) is None


def test_hidden_addresses_are_noticed(table: SymbolTable) -> None:
    assert not table.restricted
    hidden = SymbolTable("0000000000000000 T _stext\n0000000000000000 t do_thing\n")
    assert hidden.restricted and hidden.address("do_thing") is None
    assert hidden.symbolize(0x10) is None


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3\n", (0, 1, 2, 3)), ("0\n", (0,)), ("0-1,4,6-7\n", (0, 1, 4, 6, 7)), ("\n", ())]
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("release", "version", "code"),
    [
        ("6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-01-01)", (6, 1, 192)),
        ("6.12.117+deb12-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1~deb12u1 (2026)", (6, 12, 117)),
        ("6.18.44-fc-v669", "#1 SMP PREEMPT_DYNAMIC @0", (6, 18, 44)),
        ("7.2", "", (7, 2, 0)),
        ("5.4.300-rc1", "", (5, 4, 255)),
    ],
)
def test_version_codes(release: str, version: str, code: tuple[int, int, int]) -> None:
    major, minor, patch = code
    assert parse_version_code(release, version) == major << 16 | minor << 8 | patch


def test_kernel_config() -> None:
    text = '# comment\nCONFIG_KPROBES=y\n# CONFIG_FPROBE is not set\nCONFIG_LSM="a,b"\nCONFIG_HZ=250\n'
    assert parse_kernel_config(text) == {"CONFIG_KPROBES": "y", "CONFIG_LSM": "a,b", "CONFIG_HZ": "250"}


def test_lockdown() -> None:
    assert parse_lockdown("none [integrity] confidentiality\n") == "integrity"
    assert parse_lockdown("[none] integrity confidentiality\n") == "none"
    assert parse_lockdown("") is None


def test_blacklist() -> None:
    text = "0xffffffff81000000-0xffffffff81000010\tdo_int3\nrubbish\n0x0000000000000000-0x0000000000000000\thidden\n"
    assert parse_kprobe_blacklist(text) == [
        BlacklistEntry(0xFFFFFFFF81000000, 0xFFFFFFFF81000010, "do_int3"),
        BlacklistEntry(0, 0, "hidden"),
    ]


def test_memory_maps() -> None:
    text = "7f00-7f10 r-xp 00001000 08:01 42   /usr/lib/a b.so (deleted)\n7f20-7f30 rw-p 00000000 00:00 0 \nbad\n"
    first, second = parse_memory_maps(text)
    assert (first.start, first.end, first.offset, first.inode) == (0x7F00, 0x7F10, 0x1000, 42)
    assert first.path == "/usr/lib/a b.so (deleted)" and first.executable
    assert second.path == "" and not second.executable


def test_fd_closes_once_and_says_so() -> None:
    read, write = os.pipe()
    os.close(write)
    with Fd(read, "a pipe") as fd:
        assert fd.fileno() == read and not fd.closed
    assert fd.closed
    fd.close()
    with pytest.raises(ClosedError, match="a pipe is closed"):
        fd.fileno()
    with pytest.raises(OSError):
        os.fstat(read)


def test_fd_detaches() -> None:
    read, write = os.pipe()
    os.close(write)
    fd = Fd(read)
    assert fd.detach() == read and fd.closed
    os.close(read)
    with pytest.raises(ValueError):
        Fd(-1)


def test_poller_reports_tags() -> None:
    read, write = os.pipe()
    with Poller() as poller:
        poller.add(read, "pipe")
        assert poller.wait(0) == []
        os.write(write, b"x")
        assert poller.wait(1) == ["pipe"]
        poller.remove(read)
        poller.remove(read)
        assert poller.wait(0) == []
    os.close(read)
    os.close(write)
