"""The running kernel as a target: what it is, its types, symbols and probes, and tracefs."""

from __future__ import annotations

import fnmatch
import os
import time
from pathlib import Path

import pytest
from tests.kernel.tiny_objects import target

from trapline.abi.assembler import R0, R1, R2, R3, R10, Assembler
from trapline.errors import ClosedError, KernelError, NoSuchProbeError
from trapline.ir.spec import ObjectProgram
from trapline.kernel.program import Program
from trapline.kernel.target import LiveTarget
from trapline.syscall.clock import boot_ns, boot_to_realtime_ns, monotonic_ns, realtime_ns
from trapline.syscall.kallsyms import read_kallsyms
from trapline.syscall.process import open_pidfd, read_memory_maps
from trapline.syscall.tracefs import TracePipe

pytestmark = pytest.mark.limit(120)


def test_what_it_is() -> None:
    t = target()
    assert t.arch.name == os.uname().machine and t.release == os.uname().release
    major, minor = (int(part) for part in t.release.split(".")[:2])
    assert t.version_code >> 8 == major << 8 | minor
    assert t.possible_cpus >= len(t.online_cpus) >= 1 and t.page_size == os.sysconf("SC_PAGE_SIZE")
    assert t.identity == LiveTarget().identity and len(t.identity) == 32
    assert t.pid_namespace is None
    assert t.kernel_config("CONFIG_BPF_SYSCALL") in ("y", None)
    assert t.kernel_config("CONFIG_NO_SUCH_OPTION") in ("", None)


@pytest.mark.needs("btf")
def test_types_and_their_kept_index() -> None:
    kept: dict[str, bytes] = {}
    first = LiveTarget(load=kept.get, save=kept.__setitem__)
    wanted = first.btf.struct("task_struct")
    assert wanted is not None and not kept
    first.keep()
    first.keep()
    assert len(kept) == 1
    second = LiveTarget(load=kept.get, save=lambda *_: pytest.fail("indexed twice"))
    assert second.btf.struct("task_struct") == wanted
    assert second.module_btf("vmlinux") is second.btf and second.module_btf("no_such_module") is None


@pytest.mark.needs("module_btf", "kprobes")
def test_types_of_modules() -> None:
    modules = [name for name in os.listdir("/sys/kernel/btf") if name != "vmlinux"]
    if not modules:
        pytest.skip("lacks a module with BTF")
    btf = target().module_btf(sorted(modules)[0])
    assert btf is not None and btf.struct("task_struct") == target().btf.struct("task_struct")


def test_symbols() -> None:
    t = target()
    address = t.symbol_address("do_nanosleep")
    assert address and t.symbols.symbolize(address + 3) == ("do_nanosleep", 3, "")
    assert t.symbol_address("no_such_symbol") is None
    assert t.syscall_prefix().endswith("sys_") and t.symbols.find(t.syscall_prefix() + "openat")
    size = t.symbols.extent(address)
    assert size and 16 <= size < 4096
    started = time.monotonic()
    read_kallsyms().find("do_nanosleep")
    assert time.monotonic() - started < 30


def test_functions_match_globs() -> None:
    t = target()
    found = t.functions("vfs_*")
    assert {"vfs_read", "vfs_write"} <= set(found) and list(found) == sorted(set(found))
    assert all(name.startswith("vfs_") for name in found)
    assert list(t.functions("vfs_read")) == ["vfs_read"] and list(t.functions("no_such_function")) == []
    assert set(t.functions("vfs_*", "vmlinux")) <= set(found)
    pairs = t.function_modules("do_*sleep", "vmlinux")
    assert ("vmlinux", "do_nanosleep") in pairs
    assert all(m == "vmlinux" and fnmatch.fnmatchcase(f, "do_*sleep") for m, f in pairs)
    everything = t.function_modules("*", "*")
    assert len(everything) > 10_000
    assert not any(name.startswith(("rcu_", "__pfx_", "__ftrace_invalid")) for _, name in everything)


@pytest.mark.needs("kprobes")
def test_functions_on_the_blacklist_are_not_listed() -> None:
    banned = {entry.name for entry in target().probes.blacklist or ()}
    listed = {name for _, name in target().function_modules("*", "")}
    assert banned and not banned & listed


@pytest.mark.needs("tracefs")
def test_tracepoints() -> None:
    t = target()
    found = t.tracepoints("syscalls", "sys_enter_*")
    assert ("syscalls", "sys_enter_openat") in found and list(found) == sorted(found)
    format = t.tracepoint_format("syscalls", "sys_enter_openat")
    assert [f.name for f in format.fields if not f.common][:3] == ["__syscall_nr", "dfd", "filename"]
    with pytest.raises(NoSuchProbeError) as caught:
        t.tracepoint_format("syscalls", "sys_enter_opennat")
    assert "syscalls:sys_enter_openat" in caught.value.near
    with pytest.raises(NoSuchProbeError):
        t.tracepoint_format("../..", "x")


def test_every_tracepoint_format_parses() -> None:
    root = next(
        (Path(p) for p in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing") if Path(p, "events").is_dir()), None
    )
    if root is None:
        pytest.skip("lacks tracefs")
    step = 1 if not os.environ.get("TRAPLINE_GUEST") else 20  # a guest takes minutes for all of them
    for category, name in target().probes.tracepoints[::step]:
        if not Path(root, "events", category, name, "format").exists():
            continue  # ftrace's own
        for field in target().tracepoint_format(category, name).fields:
            assert field.name and field.type and "[" not in field.type


@pytest.mark.needs("tracefs")
def test_the_trace_pipe_gives_whole_lines_and_never_hangs() -> None:
    marker = b"h3 %d"
    asm = Assembler().store_imm(8, R10, -8, 0).store_imm(4, R10, -8, int.from_bytes(marker[:4], "little"))
    asm.store_imm(4, R10, -4, int.from_bytes(marker[4:], "little")).mov_reg(R1, R10).alu("add", R1, -8)
    asm.mov(R2, 6).mov(R3, 4242).call("trace_printk").mov(R0, 0).exit()
    with TracePipe() as pipe:
        pipe.read_lines(0)
        started = time.monotonic()
        pipe.read_lines(0.05)
        assert time.monotonic() - started < 10
        with Program.load(ObjectProgram("p", "RAW_TRACEPOINT", asm.assemble())) as program:
            for _ in range(3):
                program.run()
        lines: list[str] = []
        deadline = time.monotonic() + 20
        while len(lines) < 3 and time.monotonic() < deadline:
            lines += [line for line in pipe.read_lines(0.5) if line.endswith("h3 4242")]
    assert len(lines) == 3 and all("bpf_trace_printk" in line for line in lines)
    with pytest.raises(KernelError):
        pipe.read_lines(0)


def test_clocks_agree() -> None:
    before = monotonic_ns()
    assert boot_ns() >= before > 0
    assert abs(boot_ns() + boot_to_realtime_ns() - realtime_ns()) < 1_000_000_000


def test_processes() -> None:
    maps = read_memory_maps(os.getpid())
    assert any(m.executable and m.path for m in maps) and read_memory_maps(1 << 30) == []
    with open_pidfd(os.getpid()) as fd:
        assert fd.fileno() >= 0
    with pytest.raises(KernelError):
        open_pidfd(1 << 22)
    with pytest.raises(ClosedError):
        fd.fileno()
