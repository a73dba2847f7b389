"""Symbols for BCC scripts: C++, just-in-time compilers, stripped files, build ids, other mount namespaces."""

from __future__ import annotations

import ctypes as ct
import mmap
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.harness.limits import scaled
from tests.harness.processes import running
from tests.kernel.test_uprobe import PROGRAMS, TRACED

from trapline.bcc import BPF, USDT, SymbolCache, bcc_symbol, bcc_symbol_option, lib
from trapline.bcc.queries import symbol_cache
from trapline.kernel.user_files import UserFiles
from trapline.syscall.process import read_memory_maps

pytestmark = [pytest.mark.limit(60), pytest.mark.one_kernel]


def address_of(pid: int, path: Path, symbol: str, file: Path | None = None) -> int:
    """Return where a function of a mapped file is; `file` has its symbols."""
    binary = UserFiles().open(str(file or path))
    assert binary is not None
    function = next(f for f in binary.functions if symbol in f.name)
    end = time.monotonic() + scaled(10)
    while time.monotonic() < end:
        for mapping in read_memory_maps(pid):
            size = mapping.end - mapping.start
            if mapping.path == str(path) and mapping.executable and 0 <= function.offset - mapping.offset < size:
                return mapping.start + function.offset - mapping.offset
        time.sleep(0.05)
    raise AssertionError(f"{path} is not mapped")


def test_names_of_cpp() -> None:
    path = PROGRAMS / "traced-cc"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC):
        pid = os.getpid()
        address = address_of(pid, path, "by_reference")
        assert BPF.sym(address, pid) == b"by_reference(ns::Shape const&, int&)"
        assert (
            BPF.sym(address + 1, pid, show_module=True, show_offset=True)
            == b"by_reference(ns::Shape const&, int&)+0x1 [traced-cc]"
        )
        assert BPF.sym(address, pid, demangle=False) == b"_Z12by_referenceRKN2ns5ShapeERi"
        assert SymbolCache(pid).resolve(address, False) == (b"_Z12by_referenceRKN2ns5ShapeERi", 0, str(path).encode())
        nowhere = read_memory_maps(pid)[0].start - 4096
        assert BPF.sym(nowhere, pid, show_module=True, show_offset=True) == b"[unknown]"


def test_a_module_is_known_where_no_function_is() -> None:
    with running(TRACED, "100000") as pid:
        address_of(pid, TRACED, "main")
        code = next(m for m in read_memory_maps(pid) if m.path == str(TRACED) and m.executable)
        assert BPF.sym(code.end - 1, pid, show_module=True) == b"[unknown] [traced]"


def test_code_that_a_compiler_made() -> None:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        view = ct.c_char.from_buffer(code)
        address = ct.addressof(view)
        del view
        path = Path(f"/tmp/perf-{os.getpid()}.map")
        path.write_text(f"{address:x} 40 LazyCompile:~f app.js:3\n")
        try:
            cache = SymbolCache(os.getpid())
            assert cache.resolve(address + 4) == (b"LazyCompile:~f app.js:3", 4, str(path).encode())
        finally:
            path.unlink()


@pytest.mark.skipif(not shutil.which("objcopy"), reason="needs objcopy")
def test_symbols_of_a_separate_debug_file(tmp_path: Path) -> None:
    path, debug = tmp_path / "stripped", tmp_path / ".debug" / "stripped.debug"
    shutil.copy(TRACED, path)
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", str(path), str(debug)], check=True)
    subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", str(path)], check=True)
    text = """
    BPF_ARRAY(hits, u64, 1);
    int on_add(struct pt_regs *ctx) { hits.increment(0); return 0; }
    """
    with running(path, "100000") as pid, BPF(text=text) as b:
        assert BPF.sym(address_of(pid, path, "walk", TRACED), pid) == b"walk"
        b.attach_uprobe(name=str(path), sym="add", fn_name="on_add", pid=pid)
        wait_for(lambda: b["hits"][0].value)


def wait_for(condition) -> None:
    end = time.monotonic() + scaled(15)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def in_another_mount_namespace(source: Path, place: Path):
    """Run the traced program where `place`, which is empty for us, is `source`; yields its pid."""
    script = 'mount --bind "$0" "$1" && exec "$1/traced" 100000'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(source), str(place)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.readlink(f"/proc/{process.pid}/exe") == f"{place}/traced")
        yield process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_files_of_another_mount_namespace(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    source.mkdir()
    place.mkdir()
    shutil.copy(TRACED, source / "traced")
    inside = place / "traced"
    text = """
    BPF_ARRAY(hits, u64, 2);
    int on_add(struct pt_regs *ctx) { hits.increment(0); return 0; }
    int on_one(struct pt_regs *ctx) { hits.increment(1); return 0; }
    """
    with in_another_mount_namespace(source, place) as pid:
        assert not inside.exists()
        address = address_of(pid, inside, "walk", TRACED)
        assert BPF.sym(address, pid, show_module=True) == b"walk [traced]"
        assert symbol_cache(pid).resolve_name(str(inside), "walk") == address
        usdt = USDT(pid=pid, path=str(inside))
        usdt.enable_probe("one", "on_one")
        assert "one" in {probe.name.decode() for probe in USDT(pid=pid).enumerate_probes()}
        with BPF(text=text, usdt_contexts=[usdt]) as b:
            b.attach_uprobe(name=str(inside), sym="add", fn_name="on_add", pid=pid)
            wait_for(lambda: b["hits"][0].value and b["hits"][1].value)


BUILD_IDS = """
BPF_STACK_TRACE_BUILDID(stacks, 1024);
BPF_ARRAY(last, int, 1);
int on_getuid(struct pt_regs *ctx)
{
    int zero = 0, id = stacks.get_stackid(ctx, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
    last.update(&zero, &id);
    return 0;
}
"""


def test_stacks_with_build_ids() -> None:
    with BPF(text=BUILD_IDS) as b:
        b.attach_uprobe(name="c", sym="getuid", fn_name="on_getuid", pid=os.getpid())
        os.getuid()
        entries = list(b["stacks"].walk(b["last"][0].value))
        assert entries
        assert BPF.sym(entries[0], -1, show_module=True) == b"[unknown]"
        # Files of the process need not be named.
        assert BPF.sym(entries[0], os.getpid(), show_module=True, show_offset=True) == b"getuid+0x0 [libc.so.6]"
        assert BPF.add_module("c") == 0
        assert BPF.add_module("/nosuch") == -1
        assert BPF.sym(entries[0], -1, show_module=True) == b"getuid [libc.so.6]"
        assert BPF.sym(entries[0], os.getpid(), show_module=True, show_offset=True) == b"getuid+0x0 [libc.so.6]"


def test_symbols_by_the_library() -> None:
    def resolve(name: bytes, types: int = 0) -> tuple[int, int, bytes | None]:
        sym, option = bcc_symbol(), bcc_symbol_option(use_symbol_type=types)
        result = lib.bcc_resolve_symname(b"c", name, 0, 0, ct.byref(option), ct.byref(sym))
        return result, sym.offset, ct.cast(sym.module, ct.c_char_p).value

    result, offset, module = resolve(b"getuid")
    assert result == 0
    assert offset
    assert b"libc" in module
    assert resolve(b"no_such_function") == (-1, 0, None)
    assert resolve(b"getuid", 1 << 10)[0] == -1  # no STT_GNU_IFUNC
    assert lib.bcc_resolve_symname(b"/nosuch", b"f", 0, 0, None, ct.byref(bcc_symbol())) == -1
