from __future__ import annotations

import pytest
from tests.unit.btf.shapes import ID, sample_btf, tasks

from trapline import btf as b
from trapline.btf.body import Gap
from trapline.btf.dump import format_type, pad_with_bitfields
from trapline.btf.write import BtfBuilder


def test_a_struct_in_the_style_of_libbpf() -> None:
    assert (
        format_type(tasks(), ID["task"])
        == """\
struct task {
	pid_t pid;
	unsigned int low: 3;
	char: 5;
	unsigned int high: 5;
	union {
		pid_t ppid;
		long unsigned int cookie;
	};
	struct mm *mm;
	struct task *parent;
	const char *name;
	char *buffer;
	char comm[16];
	enum state state;
	struct opaque *opaque;
	int (*callback)(struct task *, ...);
	enum flags flags;
	long: 64;
	char last;
};"""
    )


def test_other_definitions() -> None:
    btf = tasks()
    assert format_type(btf, ID["state"]) == "enum state {\n\tRUNNING = 0,\n\tDEAD = -1,\n};"
    assert format_type(btf, ID["flags"]) == "enum flags {\n\tBIG_FLAG = 1099511627776ULL,\n};"
    assert format_type(btf, ID["pid_t"]) == "typedef __kernel_pid_t pid_t;"
    assert format_type(btf, ID["task_func"]) == "const char *wake_task(struct task *, u32);"
    assert format_type(btf, ID["name"]) == "const char *"


def test_packed_and_nested() -> None:
    btf = sample_btf()
    sample = btf.struct("sample")
    assert sample is not None
    text = format_type(btf, sample)
    assert text.startswith("struct sample {\n\tu64 start;\n\tstruct {\n\t\tint first: 3;\n")
    assert text.endswith("\tu32 matrix[2][3];\n} __attribute__((packed));")


def test_anonymous_structs_behind_typedefs_are_printed() -> None:
    w = BtfBuilder()
    inner = w.add_struct("", 4, [("counter", w.add_int("int", 4), 0)])
    alias = w.add(b.Typedef("atomic_t", inner))
    empty = w.add(b.Typedef("lock_t", w.add(b.Struct("", 0, ()))))
    btf = b.Btf(w.build())
    assert format_type(btf, alias) == "typedef struct {\n\tint counter;\n} atomic_t;"
    assert format_type(btf, empty) == "typedef struct {} lock_t;"


@pytest.mark.parametrize(
    ("gap", "lines"),
    [
        (Gap(32, 64, 64, False), []),  # natural alignment closes it
        (Gap(32, 64, 8, False), ["long: 0"]),
        (Gap(64, 192, 8, False), ["long: 64", "long: 64"]),
        (Gap(96, 192, 64, False), ["long: 64"]),
        (Gap(35, 40, 32, True), ["char: 5"]),
        (Gap(0, 24, 8, False), ["int: 24"]),
        (Gap(3, 5, 8, True), ["char: 2"]),
    ],
)
def test_gaps(gap: Gap, lines: list[str]) -> None:
    assert pad_with_bitfields(gap) == lines
