"""A machine to compile for that does not exist: its types come from C, its tracepoints from text."""

from __future__ import annotations

from functools import cache

from tests.harness.no_files import NoUserFiles

from trapline.abi.arch import X86_64, Arch
from trapline.abi.tracepoint import TracepointFormat, parse_tracepoint_format
from trapline.btf import Btf
from trapline.btf import types as t
from trapline.btf.write import BtfBuilder
from trapline.errors import FeatureMissingError, NoSuchProbeError
from trapline.frontends.bcc_c.compile import compile_c
from trapline.frontends.bcc_c.result import COptions, CResult
from trapline.source import Source

OPENAT = """name: sys_enter_openat
ID: 700
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:32;\tsize:16;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:48;\tsize:4;\tsigned:0;
\tfield:unsigned short port;\toffset:52;\tsize:2;\tsigned:0;

print fmt: "dfd: 0x%08lx", ((unsigned long)(REC->dfd))
"""


class FixtureTarget:
    """A `Target` with a handful of kernel types (or none)."""

    def __init__(self, *, types: bool = True, config: dict[str, str] | None = None) -> None:
        self.has_btf = types
        self._config = config or {}

    arch: Arch = X86_64
    release = "6.12.0-fixture"
    version_code = 6 << 16 | 12 << 8
    identity = "fixture"
    possible_cpus = 4
    page_size = 4096
    user_files = NoUserFiles()
    pid_namespace = None

    @property
    def btf(self) -> Btf:
        if not self.has_btf:
            raise FeatureMissingError("the fixture has no BTF")
        return _types()

    def module_btf(self, module: str) -> Btf | None:
        return None

    def btf_modules(self) -> tuple[str, ...]:
        return ()

    def has(self, feature: str) -> bool:
        return False

    def symbol_address(self, name: str) -> int | None:
        return None

    def functions(self, pattern: str, module: str = "") -> tuple[str, ...]:
        return ()

    def function_modules(self, pattern: str, module: str) -> tuple[tuple[str, str], ...]:
        return ()

    def tracepoints(self, category: str, name: str) -> tuple[tuple[str, str], ...]:
        return ()

    def raw_tracepoints(self, module: str, name: str) -> tuple[tuple[str, str], ...]:
        return ()

    def bpf_functions(self, program: str, name: str) -> tuple[tuple[int, str], ...]:
        return ()

    def tracepoint_format(self, category: str, name: str) -> TracepointFormat:
        if (category, name) != ("syscalls", "sys_enter_openat"):
            raise NoSuchProbeError(f"tracepoint {category}:{name} does not exist")
        return parse_tracepoint_format(OPENAT)

    def near_probes(self, kind: str, name: str) -> tuple[str, ...]:
        return ()

    def kernel_config(self, option: str) -> str | None:
        return self._config.get(option)

    def syscall_prefix(self) -> str:
        return "__x64_sys_"


@cache
def _types() -> Btf:
    """Return BTF with pt_regs, a small task_struct, and what clashes with scripts."""
    b = BtfBuilder()
    long, int_, uint = b.add_int("unsigned long", 8), b.add_int("int", 4, signed=True), b.add_int("unsigned int", 4)
    comm = b.add_array(b.add_int("char", 1, signed=True), 16)
    names = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss"
    b.add_struct("pt_regs", 168, [(name, long, index * 8) for index, name in enumerate(names.split())])
    mm = b.add_ptr(b.add_struct("mm_struct", 16, [("pgd", long, 0), ("map_count", int_, 8)]))
    parent = b.next_id  # struct task_struct *, of the struct that comes next
    b.add_ptr(parent + 1)
    members = (
        t.Member("pid", int_, 0),
        t.Member("flags", uint, 32),
        t.Member("mm", mm, 64),
        t.Member("comm", comm, 128),
        t.Member("real_parent", parent, 256),
        t.Member("in_execve", uint, 320, 3),
        t.Member("sched_reset", uint, 323, 1),
        t.Member("start_time", long, 384),
    )
    b.add(t.Struct("task_struct", 64, members))
    inode = b.add_ptr(b.add_struct("inode", 16, [("i_ino", long, 0)]))
    b.add_struct("file", 16, [("f_flags", uint, 0), ("f_inode", inode, 8)])
    b.add_struct("nameidata", 16, [("flags", uint, 0), ("inode", inode, 8)])
    b.add(t.Enum("states", 4, False, (t.Enumerator("UNKNOWN", 0), t.Enumerator("KNOWN", 7))))
    return Btf(b.build())


def compile_text(text: str, *flags: str, target: FixtureTarget | None = None) -> CResult:
    """Compile a program text for the fixture."""
    return compile_c(Source("test.c", text), target or FixtureTarget(), COptions(cflags=flags))
