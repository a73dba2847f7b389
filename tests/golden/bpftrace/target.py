"""`FixtureTarget`: a small machine that is the same everywhere: an x86_64 with a few types, functions, tracepoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property

from tests.harness.no_files import NoUserFiles

from trapline import btf as b
from trapline.abi.arch import X86_64, Arch
from trapline.abi.tracepoint import TracepointFormat, parse_tracepoint_format
from trapline.btf.peek import peek_members
from trapline.btf.write import BtfBuilder
from trapline.errors import FeatureMissingError, NoSuchProbeError

FUNCTIONS = ("do_nanosleep", "do_sys_openat2", "vfs_open", "vfs_read", "vfs_write")

_FORMAT = """name: {name}
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
{fields}
print fmt: ""
"""
_FIELDS = {
    ("sched", "sched_switch"): (
        "\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
        "\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n"
        "\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;"
    ),
    ("sched", "sched_process_exec"): (
        "\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n"
        "\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;"
    ),
    ("syscalls", "sys_enter_openat"): (
        "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n"
        "\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n"
        "\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;"
    ),
    ("syscalls", "sys_enter_getuid"): "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;",
}


def build_btf() -> bytes:
    """Return the types of the machine."""
    w = BtfBuilder()
    char = w.append(b.Int("char", 1, 8, True))
    number = w.add_int("int", 4, signed=True)
    unsigned = w.add_int("unsigned int", 4)
    long = w.add_int("long unsigned int", 8)
    signed_long = w.add_int("long int", 8, signed=True)
    comm = w.add_array(char, 16)
    numbers = w.add_array(number, 4)
    text = w.add_ptr(w.add(b.Const(char)))
    user_text = w.add_ptr(w.add(b.TypeTag("user", char)))
    kind = w.add(b.Enum("pid_type", 4, False, (b.Enumerator("PIDTYPE_PID", 0), b.Enumerator("PIDTYPE_TGID", 1))))
    qstr = w.add_struct("qstr", 16, [("len", unsigned, 0), ("name", text, 64)])
    dentry = w.add_struct("dentry", 24, [("d_name", qstr, 64)])
    file = w.add_struct("file", 16, [("f_mode", unsigned, 0), ("f_dentry", w.add_ptr(dentry), 64)])
    inner = w.append(b.Union("", 8, (b.Member("word", long, 0), b.Member("half", unsigned, 0))))
    task = w.next_id
    members = (
        b.Member("pid", number, 0),
        b.Member("tgid", number, 32),
        b.Member("comm", comm, 64),
        b.Member("real_parent", task + 1, 192),
        b.Member("flag", unsigned, 256, 1),
        b.Member("level", number, 257, 5),
        b.Member("", inner, 320),
        b.Member("numbers", numbers, 384),
        b.Member("kind", kind, 512),
        b.Member("user_text", user_text, 576),
    )
    assert w.append(b.Struct("task_struct", 80, members)) == task
    assert w.append(b.Ptr(task)) == task + 1
    size = w.append(b.Typedef("size_t", long))
    w.append(b.Typedef("pid_t", number))
    w.add_func("vfs_read", [("file", w.add_ptr(file)), ("buf", user_text), ("count", size)], signed_long)
    w.add_func("vfs_write", [("file", w.add_ptr(file)), ("buf", text), ("count", size)], signed_long)
    w.add_func("vfs_open", [("path", w.add_ptr(0)), ("file", w.add_ptr(file))], number)
    w.add_func("do_sys_openat2", [("dfd", number), ("filename", text)], signed_long)
    w.add_func("do_nanosleep", [("t", w.add_ptr(0)), ("mode", kind)], number)
    return w.build()


class FixtureTarget:
    """Implements `trapline.ir.target.Target` from constants."""

    arch: Arch = X86_64
    release = "6.12.0-fixture"
    version_code = 0x060C00
    identity = "fixture"
    possible_cpus = 4
    page_size = 4096
    user_files = NoUserFiles()
    pid_namespace: tuple[int, int] | None = None

    def __init__(self, *, has_btf: bool = True) -> None:
        self.has_btf = has_btf

    @cached_property
    def btf(self) -> b.Btf:
        if not self.has_btf:
            raise FeatureMissingError("this kernel has no BTF")
        return b.Btf(build_btf())

    def struct_members(self, tag: str, members: tuple[str, ...]) -> Mapping[str, int]:
        return peek_members(build_btf(), tag, members) if self.has_btf else {}

    def module_btf(self, module: str) -> b.Btf | None:
        return None

    def btf_modules(self) -> tuple[str, ...]:
        return ()

    def has(self, feature: str) -> bool:
        return True

    def symbol_address(self, name: str) -> int | None:
        return 0xFFFFFFFF81000000 + 16 * FUNCTIONS.index(name) if name in FUNCTIONS else None

    def functions(self, pattern: str, module: str = "") -> Sequence[str]:
        return [name for name in FUNCTIONS if fnmatchcase(name, pattern)]

    def function_modules(self, pattern: str, module: str) -> Sequence[tuple[str, str]]:
        return [("vmlinux", name) for name in self.functions(pattern) if fnmatchcase("vmlinux", module)]

    def tracepoints(self, category: str, name: str) -> Sequence[tuple[str, str]]:
        return [(c, n) for c, n in sorted(_FIELDS) if fnmatchcase(c, category) and fnmatchcase(n, name)]

    def raw_tracepoints(self, module: str, name: str) -> Sequence[tuple[str, str]]:
        return []

    def bpf_functions(self, program: str, name: str) -> Sequence[tuple[int, str]]:
        return []

    def tracepoint_format(self, category: str, name: str) -> TracepointFormat:
        if (category, name) not in _FIELDS:
            raise NoSuchProbeError(f"no tracepoint {category}:{name}")
        return parse_tracepoint_format(_FORMAT.format(name=name, fields=_FIELDS[category, name]))

    def near_probes(self, kind: str, name: str) -> Sequence[str]:
        known = FUNCTIONS if kind == "kprobe" else [f"{c}:{n}" for c, n in _FIELDS]
        return get_close_matches(name, known)

    def kernel_config(self, option: str) -> str | None:
        return None

    volatile_answers = 0

    def cgroup_id(self, path: str) -> int:
        return 7

    def syscall_prefix(self) -> str:
        return "__x64_sys_"
