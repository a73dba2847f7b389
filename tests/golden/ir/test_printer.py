"""Our IR as text, before and after the passes, against files (``TRAPLINE_UPDATE_GOLDEN=1`` rewrites them)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.printer import format_function, format_module
from trapline.ir.spec import MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import BOOL, I8, I32, I64, VOID, Ptr, Space

HERE = Path(__file__).parent
COUNTS = MapSpec("@", "HASH", 8, 8, 4096)
RODATA = MapSpec(".rodata", "ARRAY", 4, 16, 1, flags=0x80, initial=b"hello\n", frozen=True)


def module(function: f.Function, *subprograms: f.Function, type: str = "KPROBE") -> ModuleSpec:
    program = ProgramSpec("p", type, function, label="kprobe:f", subprograms=subprograms)
    return ModuleSpec("stdin", "", (program,), (COUNTS, RODATA))


def count_by_pid() -> ModuleSpec:
    b = Builder("p")
    with b.at((12, 20)):
        key = b.variable(b.binary("lshr", b.helper("get_current_pid_tgid"), b.i64(32)), "key")
        value = b.map_lookup("@", key)
        missing, found, end = b.new_block("missing"), b.new_block("found"), b.new_block("end")
        b.branch(b.compare("ne", value, b.null(Space.MAP)), found, missing)
        b.start(found)
        b.atomic("add", value, b.i64(1))
        b.jump(end)
        b.start(missing)
        b.map_update("@", key, b.variable(b.i64(1)), 1)
        b.jump(end)
        b.start(end)
    b.ret(b.i64(0))
    return module(b.finish())


def kernel_pointers() -> ModuleSpec:
    b = Builder("p")
    task = b.to_pointer(b.helper("get_current_task"), Space.KERNEL)
    mm = b.load(Ptr(Space.KERNEL), b.offset(task, 1040, "task_struct.mm"))
    b.load(I32, b.offset(mm, 20, "mm_struct.map_count"))
    name = b.load(Ptr(Space.USER), b.offset(b.context, 104, "regs.si"))
    text = b.local(16, "text", zero=True)
    b.copy(text, name, 16)
    b.ret(b.binary("sdiv", b.load(I64, text), b.i64(-10)))
    return module(b.finish())


def inferred() -> ModuleSpec:
    infer = Ptr(Space.INFER)
    sub = Builder("first_word", (infer,))
    sub.ret(sub.load(I64, sub.function.parameters[0]))
    b = Builder("p")
    key = b.variable(b.i64(1), "key")
    p = b.local(8, "p")
    b.store(b.map_lookup("@", key), p)
    with b.when(b.compare("ne", b.load(infer, p), b.null(Space.INFER))):
        b.call("first_word", b.load(infer, p))
    q = b.local(8, "q")
    b.store(b.to_pointer(b.load(I64, b.offset(b.context, 112)), Space.INFER), q)
    b.load(I32, b.offset(b.load(infer, q), 4))
    b.ret(b.i64(0))
    return module(b.finish(), sub.finish())


def everything() -> ModuleSpec:
    step = Builder("step", (I64, Ptr(Space.STACK)))
    step.ret(step.i64(1))
    b = Builder("p")
    cell = b.local(12, "cell", align=4, scratch=False)
    b.fill(cell, 12, 255)
    small = b.resize(b.load(I8, b.element(cell, b.i64(3), 2, "cell.x")), I32, signed=True)
    b.store(b.select(b.truth(small), small, b.i32(7)), b.offset(cell, -0))
    b.barrier(b.barrier(small))
    b.barrier()
    b.emit(f.Convert(I32, "bswap", small))
    b.load(I64, b.map_value(".rodata", 8))
    b.helper("loop", b.i32(3), b.function_address("step"), cell, b.i64(0))
    b.kfunc("bpf_thing", b.i64(1), weak=True)
    b.invert(b.const(BOOL, 1))
    one, two, end = b.new_block("one"), b.new_block("two"), b.new_block("end")
    b.switch(small, end, [(1, one), (-2, two)])
    b.start(one)
    b.jump(end)
    b.start(two)
    b.emit(f.Unreachable(VOID))
    b.start(end)
    b.ret(b.i64(0))
    return module(b.finish(), step.finish())


CASES: list[Callable[[], ModuleSpec]] = [count_by_pid, kernel_pointers, inferred, everything]


@pytest.mark.parametrize("build", CASES)
def test_printed_modules(build: Callable[[], ModuleSpec]) -> None:
    before = build()
    after = passes.run(before)
    check_module(after)
    text = f"# before\n{format_module(before, spans=True)}\n# after\n{format_module(after)}"
    path = HERE / f"{build.__name__}.txt"
    if os.environ.get("TRAPLINE_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_value_without_definition_is_shown_as_such() -> None:
    b = Builder("p")
    stray = f.Load(I64, b.local(8))
    b.ret(stray)
    assert "return <undefined Load>" in format_function(b.finish())
