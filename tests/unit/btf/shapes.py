"""Small BTF blobs for the tests."""

from __future__ import annotations

from pathlib import Path

from trapline import btf as b
from trapline.abi.elf import Elf
from trapline.btf.write import BtfBuilder

DATA = Path(__file__).parent / "data"

NAMES = (
    *("int", "word", "long", "char", "u32", "kpid_t", "pid_t", "file", "file*", "mm", "mm*", "long*", "anonymous"),
    *("state", "flags", "task", "task*", "char_const", "name", "char_user", "user", "comm", "opaque", "opaque*"),
    *("proto", "callback", "task_proto", "task_func", "qualified", "never"),
)
ID = {name: number for number, name in enumerate(NAMES, 1)}
"""Ids of the types of `tasks`."""


def sample_object() -> bytes:
    """Return the object that clang made of sample.c."""
    return (DATA / "sample.o").read_bytes()


def sample_btf() -> b.Btf:
    """Return the BTF of sample.c."""
    section = Elf(sample_object()).section_bytes(".BTF")
    assert section is not None
    return b.Btf(section, name="sample")


def task_types() -> dict[str, b.BtfType]:
    """A caricature of a kernel: task → mm → file, anonymous union, bitfields, tags, enums, a callback."""
    i = ID
    return {
        "int": b.Int("int", 4, 32, signed=True),
        "word": b.Int("unsigned int", 4, 32),
        "long": b.Int("long unsigned int", 8, 64),
        "char": b.Int("char", 1, 8, is_char=True),
        "u32": b.Typedef("u32", i["word"]),
        "kpid_t": b.Typedef("__kernel_pid_t", i["int"]),
        "pid_t": b.Typedef("pid_t", i["kpid_t"]),
        "file": b.Struct("file", 16, (b.Member("f_flags", i["u32"], 0), b.Member("f_pos", i["long"], 64))),
        "file*": b.Ptr(i["file"]),
        "mm": b.Struct(
            "mm",
            24,
            (b.Member("pgd", i["long*"], 0), b.Member("exe_file", i["file*"], 64), b.Member("users", i["int"], 128)),
        ),
        "mm*": b.Ptr(i["mm"]),
        "long*": b.Ptr(i["long"]),
        "anonymous": b.Union("", 8, (b.Member("ppid", i["pid_t"], 0), b.Member("cookie", i["long"], 0))),
        "state": b.Enum("state", 4, True, (b.Enumerator("RUNNING", 0), b.Enumerator("DEAD", -1))),
        "flags": b.Enum64("flags", 8, False, (b.Enumerator("BIG_FLAG", 1 << 40),)),
        "task": b.Struct(
            "task",
            112,
            (
                b.Member("pid", i["pid_t"], 0),
                b.Member("low", i["word"], 32, 3),
                b.Member("high", i["word"], 40, 5),
                b.Member("", i["anonymous"], 64),
                b.Member("mm", i["mm*"], 128),
                b.Member("parent", i["task*"], 192),
                b.Member("name", i["name"], 256),
                b.Member("buffer", i["user"], 320),
                b.Member("comm", i["comm"], 384),
                b.Member("state", i["state"], 512),
                b.Member("opaque", i["opaque*"], 576),
                b.Member("callback", i["callback"], 640),
                b.Member("flags", i["flags"], 704),
                b.Member("last", i["char"], 832),
            ),
        ),
        "task*": b.Ptr(i["task"]),
        "char_const": b.Const(i["char"]),
        "name": b.Ptr(i["char_const"]),
        "char_user": b.TypeTag("user", i["char"]),
        "user": b.Ptr(i["char_user"]),
        "comm": b.Array(i["char"], i["word"], 16),
        "opaque": b.Fwd("opaque"),
        "opaque*": b.Ptr(i["opaque"]),
        "proto": b.FuncProto((b.Param("", i["task*"]), b.Param("", 0)), i["int"]),
        "callback": b.Ptr(i["proto"]),
        "task_proto": b.FuncProto((b.Param("task", i["task*"]), b.Param("how", i["u32"])), i["name"]),
        "task_func": b.Func("wake_task", i["task_proto"], 1),
        "qualified": b.Const(i["task*"]),
        "never": b.Struct("never", 4, (b.Member("mentioned", i["int"], 0),)),
    }


def task_bytes() -> bytes:
    """Return `task_types` as BTF."""
    w = BtfBuilder()
    for name, new in task_types().items():
        assert w.append(new) == ID[name]
    return w.build()


def tasks() -> b.Btf:
    """Return `task_types` as read back."""
    return b.Btf(task_bytes(), name="tasks")
