"""What operations mean, executed natively and compared with Python's integers."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trapline.codegen.jit import NativeCode, run_native
from trapline.errors import InternalError
from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.types import BOOL, I8, I16, I32, I64, Int, Ptr, Space

WIDTHS = {8: I8, 16: I16, 32: I32, 64: I64}


def as_signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def reference(operation: str, a: int, b: int, bits: int) -> int:
    """Return what an operation gives on the machine, for unsigned operands."""
    mask = (1 << bits) - 1
    sa, sb = as_signed(a, bits), as_signed(b, bits)
    if operation in ("udiv", "sdiv", "urem", "srem") and b == 0:
        return 0 if operation.endswith("div") else a
    if operation in ("sdiv", "srem"):
        quotient = abs(sa) // abs(sb) * (-1 if (sa < 0) != (sb < 0) else 1)
        return (quotient if operation == "sdiv" else sa - quotient * sb) & mask
    count = b % bits
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "udiv": lambda: a // b,
        "urem": lambda: a % b,
        "and": lambda: a & b,
        "or": lambda: a | b,
        "xor": lambda: a ^ b,
        "shl": lambda: a << count,
        "lshr": lambda: a >> count,
        "ashr": lambda: sa >> count,
    }[operation]() & mask


def _functions() -> list[f.Function]:
    functions = []
    for bits, type_ in WIDTHS.items():
        for operation in f.BINARY:
            b = Builder(f"{operation}{bits}", (type_, type_), type_)
            b.ret(b.binary(operation, *b.function.parameters))
            functions.append(b.finish())
        for operation in f.COMPARE:
            b = Builder(f"{operation}{bits}", (type_, type_), BOOL)
            b.ret(b.compare(operation, *b.function.parameters))
            functions.append(b.finish())
    return functions


CODE = NativeCode(_functions())
EDGES = st.sampled_from(
    [0, 1, 2, 7, 127, 128, 255, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
)
NUMBERS = EDGES | st.integers(0, (1 << 64) - 1)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(f.BINARY), st.sampled_from([8, 16, 32, 64]), NUMBERS, NUMBERS)
def test_arithmetic(operation: str, bits: int, a: int, b: int) -> None:
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    assert CODE.call(f"{operation}{bits}", a, b) == reference(operation, a, b, bits)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(f.COMPARE), st.sampled_from([8, 16, 32, 64]), NUMBERS, NUMBERS)
def test_comparisons(operation: str, bits: int, a: int, b: int) -> None:
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    x, y = (as_signed(a, bits), as_signed(b, bits)) if operation.startswith("s") else (a, b)
    expected = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}
    assert CODE.call(f"{operation}{bits}", a, b) == expected[operation[-2:]]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([8, 16, 32, 64]), st.sampled_from(["udiv", "sdiv", "urem", "srem"]), NUMBERS, NUMBERS)
def test_division_by_constants(bits: int, operation: str, a: int, divisor: int) -> None:
    mask = (1 << bits) - 1
    a, divisor = a & mask, divisor & mask
    type_: Int = WIDTHS[bits]
    b = Builder("f", (type_,), type_)
    b.ret(b.binary(operation, b.function.parameters[0], b.const(type_, divisor)))
    assert run_native(b.finish(), a) == reference(operation, a, divisor, bits)


@pytest.mark.parametrize("signed", [True, False])
def test_conversions(signed: bool) -> None:
    b = Builder("f", (I64,), I64)
    value = b.resize(b.resize(b.function.parameters[0], I16, signed=signed), I64, signed=signed)
    b.ret(b.emit(f.Convert(I64, "bswap", value)))
    expected = (0xFFFF_FFFF_FFFF_8001 if signed else 0x8001).to_bytes(8, "big")
    assert run_native(b.finish(), 0x7_8001) == int.from_bytes(expected, "little")


def test_memory_and_control() -> None:
    """Sum an array through a loop, a call and a copy."""
    add = Builder("add", (I64, I64))
    add.ret(add.binary("add", *add.function.parameters))
    b = Builder("total", (Ptr(Space.MAP), I64))
    array, count = b.function.parameters
    total, i = b.local(8, zero=True), b.variable(b.i64(0))
    head, body, end = b.new_block("head"), b.new_block("body"), b.new_block("end")
    b.jump(head)
    b.start(head)
    index = b.load(I64, i)
    b.branch(b.compare("ult", index, count), body, end)
    b.start(body)
    element = b.local(8)
    b.copy(element, b.element(array, index, 8), 8)
    b.store(b.call("add", b.load(I64, total), b.load(I64, element)), total)
    b.store(b.binary("add", index, b.i64(1)), i)
    b.jump(head)
    b.start(end)
    b.copy(b.map_value("out", 8), total, 8)
    b.ret(b.load(I64, total))
    numbers = (ctypes.c_uint64 * 5)(1, 2, 3, 4, 500)
    out = (ctypes.c_uint64 * 2)()
    code = NativeCode([add.finish(), b.finish()], {"out": ctypes.addressof(out)})
    assert code.call("total", ctypes.addressof(numbers), 5) == 510
    assert list(out) == [0, 510]


def test_helpers_do_not_exist_natively() -> None:
    b = Builder("f")
    b.helper("ktime_get_ns")
    with pytest.raises(InternalError, match="helper"):
        run_native(b.finish(), 0)
