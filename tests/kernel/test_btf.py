"""The running kernel's BTF, against bpftool, a C compiler and the kernel's own checker."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.btf.compiler import complaints, layout_assertions

from trapline import btf as b
from trapline.btf.dump import format_type
from trapline.btf.header import generate_header, header_for_identifiers
from trapline.btf.write import BtfBuilder

VMLINUX = Path("/sys/kernel/btf/vmlinux")
SAMPLE_STEP = 7
BPFTOOL = shutil.which("bpftool")

pytestmark = pytest.mark.needs("btf")


@pytest.fixture(scope="module")
def btf() -> b.Btf:
    data = VMLINUX.read_bytes()
    return b.Btf(data, index=b.Btf(data).index_bytes())


def bpftool_lines(form: str) -> Iterator[str]:
    """Let bpftool dump the kernel's types."""
    if BPFTOOL is None:
        pytest.skip("bpftool is not installed")
    command = [BPFTOOL, "btf", "dump", "file", str(VMLINUX), "format", form]
    yield from subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()


def raw_text(btf: b.Btf, type_id: int) -> list[str] | None:
    """Write a type as bpftool's raw format does; ``None`` for the kinds that are not compared."""
    found = btf.type(type_id)
    name = getattr(found, "name", "") or "(anon)"
    head = f"[{type_id}] "
    if isinstance(found, b.Struct | b.Union):
        keyword = "STRUCT" if isinstance(found, b.Struct) else "UNION"
        lines = [f"{head}{keyword} '{name}' size={found.size} vlen={len(found.members)}"]
        for m in found.members:
            bits = f" bitfield_size={m.bitfield_size}" if m.bitfield_size else ""
            lines.append(f"\t'{m.name or '(anon)'}' type_id={m.type} bits_offset={m.bit_offset}{bits}")
        return lines
    if isinstance(found, b.FuncProto):
        lines = [f"{head}FUNC_PROTO '(anon)' ret_type_id={found.ret} vlen={len(found.params)}"]
        return lines + [f"\t'{p.name or '(anon)'}' type_id={p.type}" for p in found.params]
    if isinstance(found, b.Enum):
        sign = "SIGNED" if found.signed else "UNSIGNED"
        lines = [f"{head}ENUM '{name}' encoding={sign} size={found.size} vlen={len(found.values)}"]
        return lines + [f"\t'{c.name}' val={c.value}" for c in found.values]
    if isinstance(found, b.Func):
        linkage = ("static", "global", "extern")[found.linkage]
        return [f"{head}FUNC '{name}' type_id={found.proto} linkage={linkage}"]
    if isinstance(found, b.Array):
        return [
            f"{head}ARRAY '(anon)' type_id={found.element} index_type_id={found.index} nr_elems={found.count}",
        ]
    if isinstance(found, b.Ptr | b.Const | b.Volatile | b.Restrict | b.Typedef):
        return [f"{head}{type(found).__name__.upper()} '{name}' type_id={found.target}"]
    if isinstance(found, b.Fwd):
        return [f"{head}FWD '{name}' fwd_kind={'union' if found.union else 'struct'}"]
    return None


@pytest.mark.limit(180)
@pytest.mark.one_kernel
def test_types_are_what_bpftool_says(btf: b.Btf) -> None:
    blocks: dict[int, list[str]] = {}
    for line in bpftool_lines("raw"):
        if line.startswith("["):
            type_id = int(line[1 : line.index("]")])
            blocks[type_id] = [line]
        else:
            blocks[type_id].append(line)
    assert len(blocks) == len(btf) - 1
    compared = 0
    for type_id in range(1, len(btf), SAMPLE_STEP):
        mine = raw_text(btf, type_id)
        if mine is not None:
            assert mine == blocks[type_id]
            compared += 1
    assert compared > 5000


@pytest.mark.limit(180)
def test_definitions_are_what_bpftool_prints(btf: b.Btf) -> None:
    """All but a few: libbpf does not know that C aligns `__int128` to 16, and its style changed in time."""
    theirs: dict[str, str] = {}
    lines: list[str] = []
    for line in bpftool_lines("c"):
        if lines or re.match(r"(struct|union) \w+ \{", line):
            lines.append(line)
            if line.startswith("}") or line.endswith("{};"):
                theirs[lines[0]] = "\n".join(lines)
                lines = []
    wrong = []
    compared = 0
    for type_id in btf.ids(b.Struct, b.Union):
        name = btf.type_name(type_id)
        text = theirs.get(f"{name} {{")
        if text is not None and btf.find_all(btf.name_of(type_id)) == (type_id,) and "___" not in text:
            compared += 1
            if format_type(btf, type_id) != text:
                wrong.append(name)
    assert compared > 3000
    assert len(wrong) < compared // 200, wrong


@pytest.mark.limit(240)
@pytest.mark.one_kernel
def test_a_compiler_lays_out_every_struct_as_the_kernel_did(btf: b.Btf) -> None:
    ids = [i for i in btf.ids(b.Struct, b.Union) if btf.name_of(i) and btf.struct(btf.name_of(i)) == i]
    ids = ids[::SAMPLE_STEP]
    assert len(ids) > 500
    text = generate_header(btf, ids)
    assert complaints("\n".join([text, *layout_assertions(btf, ids)])) == []


def test_a_bcc_text_gets_what_it_needs(btf: b.Btf) -> None:
    words = {"task_struct", "mm", "pgd", "pgd_t", "real_parent", "nsproxy", "uts_ns", "name", "u32", "u64", "pid_t"}
    text = header_for_identifiers(btf, words)
    program = """
        u32 f(struct task_struct *t) { return t->real_parent->pid + t->nsproxy->uts_ns->name.nodename[0]; }
        u64 g(struct task_struct *t) { return t->mm->pgd != 0; }
    """
    assert complaints(text + program) == []
    assert text.count("\n") < 5000


def test_the_index_changes_nothing(btf: b.Btf) -> None:
    indexed, scanned = btf, b.Btf(VMLINUX.read_bytes())
    assert len(indexed) == len(scanned)
    for name in ("task_struct", "list_head", "vfs_read", "u32", "pid_t", "file", "no_such_type_at_all"):
        assert indexed.find_all(name) == scanned.find_all(name)
    for name in ("PIDTYPE_PID", "TASK_COMM_LEN", "BPF_MAP_TYPE_HASH", "NO_SUCH_CONSTANT"):
        assert indexed.enum_constant(name) == scanned.enum_constant(name)
    assert indexed.enum_constant("BPF_MAP_TYPE_HASH") is not None


def test_functions_have_prototypes(btf: b.Btf) -> None:
    functions = dict(btf.functions())
    assert len(functions) > 10_000
    func = functions["vfs_read"]
    assert [p.name for p in btf.params(func)] == ["file", "buf", "count", "pos"]
    assert btf.type_name(func) == "ssize_t vfs_read(struct file *, char *, size_t, loff_t *)"


def test_the_kernel_accepts_what_we_write() -> None:
    w = BtfBuilder()
    number = w.add_int("int", 4, signed=True)
    key = w.add_struct("key", 24, [("pid", number, 0), ("where", w.add_int("long unsigned int", 8), 8)])
    w.add_array(key, 4)
    w.add(b.Enum("e", 4, False, (b.Enumerator("A", 1),)))
    w.add_func("callback", [("index", number), ("context", w.add_ptr())], number)
    data = w.build()
    libc = ctypes.CDLL(None, use_errno=True)
    blob = ctypes.create_string_buffer(data, len(data))
    log = ctypes.create_string_buffer(4096)
    # union bpf_attr for BPF_BTF_LOAD: btf, btf_log_buf, btf_size, btf_log_size, btf_log_level
    attributes = (ctypes.c_uint64 * 4)(ctypes.addressof(blob), ctypes.addressof(log), len(data) | len(log) << 32, 1)
    fd = libc.syscall(ctypes.c_long(321), ctypes.c_long(18), ctypes.byref(attributes), ctypes.c_long(28))
    assert fd >= 0, f"{os.strerror(ctypes.get_errno())}\n{log.value.decode()}"
    os.close(fd)
