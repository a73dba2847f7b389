"""The checker finds what is malformed, and says where."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trapline.errors import InternalError
from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.spec import MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import BOOL, I8, I32, I64, I128, VOID, Int, Ptr, Space


def check(function: f.Function, *subprograms: f.Function, maps: tuple[MapSpec, ...] = ()) -> None:
    check_module(ModuleSpec("stdin", "", (ProgramSpec("p", "KPROBE", function, subprograms=subprograms),), maps))


def test_a_good_function_passes() -> None:
    b = Builder("p")
    value = b.map_lookup("m", b.variable(b.i32(1)))
    with b.when(b.compare("ne", value, b.null(Space.MAP))):
        b.atomic("add", value, b.i64(1))
    b.ret(b.i64(0))
    check(b.finish(), maps=(MapSpec("m", "HASH", 4, 8, 1),))


BAD: list[tuple[str, Callable[[Builder], object]]] = [
    ("does not exist", lambda b: b.map("nothing")),
    ("mixes i64 and i32", lambda b: b.emit(f.Binary(I64, "add", b.i64(1), b.i32(1)))),
    ("is no operation", lambda b: b.emit(f.Binary(I64, "pow", b.i64(1), b.i64(1)))),
    ("more than 5 arguments", lambda b: b.helper("trace_printk", *[b.i64(i) for i in range(6)])),
    ("accesses kernel memory directly", lambda b: b.load(I64, b.to_pointer(b.i64(1), Space.KERNEL))),
    ("accesses user memory directly", lambda b: b.store(b.i64(1), b.to_pointer(b.i64(1), Space.USER))),
    ("provenance is not known", lambda b: b.to_pointer(b.i64(1), Space.INFER)),
    ("not computed before", lambda b: b.emit(f.Store(VOID, f.Const(I64, 1), b.local(8)))),
    ("needs a pointer", lambda b: b.emit(f.Load(I64, b.i64(4)))),
    ("needs an i64 index", lambda b: b.element(b.local(8), b.i32(1), 1)),
    ("cannot convert i32 to i32", lambda b: b.emit(f.Convert(I32, "zext", b.i32(1)))),
    ("cannot convert i8 to i8", lambda b: b.emit(f.Convert(I8, "bswap", b.const(I8, 1)))),
    ("cannot convert i32 to ptr<map>", lambda b: b.emit(f.Convert(Ptr(Space.MAP), "inttoptr", b.i32(1)))),
    ("no subprogram", lambda b: b.call("missing")),
    ("no subprogram", lambda b: b.function_address("missing")),
    ("strange type", lambda b: b.const(Int(24), 1)),
    ("no atomic operation", lambda b: b.atomic("add", b.local(8), b.const(I8, 1))),
    ("not possible on 128 bits", lambda b: b.binary("mul", b.const(I128, 1), b.const(I128, 2))),
    ("compares", lambda b: b.emit(f.Compare(BOOL, "eq", b.i64(1), b.null()))),
    ("without a probe read", lambda b: b.copy(b.local(8), b.to_pointer(b.i64(1), Space.BTF), 8)),
    ("returns i32", lambda b: b.ret(b.i32(1))),
    ("selects between", lambda b: b.emit(f.Select(I64, b.const(BOOL, 1), b.i64(1), b.i32(1)))),
    ("has a case twice", lambda b: b.switch(b.i32(1), b.block, [(1, b.block), ((1 << 32) + 1, b.block)])),
]


@pytest.mark.parametrize(("message", "build"), BAD)
def test_malformed_operations(message: str, build: Callable[[Builder], object]) -> None:
    b = Builder("p")
    with b.at((3, 5)):
        build(b)
    if not b.finished:
        b.ret(b.i64(0))
    with pytest.raises(InternalError, match=message) as caught:
        check(b.finish())
    assert "malformed IR in p (source 3:5)" in str(caught.value)


def test_a_block_without_an_end() -> None:
    b = Builder("p")
    b.jump(b.new_block("nowhere"))
    with pytest.raises(InternalError, match="not part of it"):
        check(b.function)
    empty = Builder("p")
    empty.i64(1)
    with pytest.raises(InternalError, match="has no end"):
        check(empty.function)


def test_a_value_of_a_branch_that_was_not_taken() -> None:
    b = Builder("p")
    one, two = b.new_block("one"), b.new_block("two")
    b.branch(b.truth(b.load(I64, b.context)), one, two)
    b.start(two)
    late = f.Const(I64, 4)
    b.ret(b.binary("add", late, late))
    b.start(one)
    b.emit(late)
    b.ret(late)
    with pytest.raises(InternalError, match="not computed before"):
        check(b.finish())


def test_unreachable_code_is_not_looked_at() -> None:
    b = Builder("p")
    b.ret(b.i64(0))
    b.to_pointer(b.i64(1), Space.INFER)
    b.ret(b.i64(1))
    check(b.finish())


def test_recursion_and_wrong_calls() -> None:
    sub = Builder("sub", (I64,))
    sub.ret(sub.call("sub", sub.i64(1)))
    b = Builder("p")
    b.call("sub", b.i64(1))
    with pytest.raises(InternalError, match="sub calls sub: BPF has no recursion"):
        check(b.finish(), sub.finish())
    good = Builder("sub", (I64,))
    b = Builder("p")
    b.call("sub", b.i64(1), b.i64(2))
    with pytest.raises(InternalError, match="2 arguments for 1 parameters"):
        check(b.finish(), good.finish())
    b = Builder("p")
    b.call("sub", b.i32(1))
    with pytest.raises(InternalError, match="passes i32 for i64"):
        check(b.finish(), good.finish())
