"""Programs of every operation, compiled, accepted by the verifier, and run with BPF_PROG_TEST_RUN."""

from __future__ import annotations

import pytest
from tests.harness.programs import loaded, make_module, run_slots
from tests.harness.results import LACKS

from trapline.errors import VerifierError
from trapline.ir.builder import Builder
from trapline.ir.function import Convert, Op
from trapline.ir.types import I8, I16, I32, I64, I128, Int, Ptr, Space

MASK = (1 << 64) - 1


def argument(b: Builder, index: int) -> Op:
    return b.load(I64, b.offset(b.context, 8 * index))


def signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def divide(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


PAIRS = [(7, 2), (-7, 2), (7, -2), (-7, -2), (5, 0), (-5, 0), (-(1 << 63), -1), (MASK, 3), (1 << 40, 1 << 20)]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_division(left: int, right: int) -> None:
    def build(b: Builder) -> list[Op]:
        x, y = argument(b, 0), argument(b, 1)
        return [b.binary(operation, x, y) for operation in ("udiv", "urem", "sdiv", "srem")]

    a, b = signed(left), signed(right)
    ua, ub = left & MASK, right & MASK
    if b == 0:
        expected = [0, ua, 0, ua]
    else:
        quotient = divide(a, b)
        expected = [ua // ub, ua % ub, quotient & MASK, (a - quotient * b) & MASK]
    assert run_slots(build, left, right) == expected


@pytest.mark.parametrize("divisor", [1, -1, 3, -3, 10, 0, -(1 << 31), (1 << 31) - 1])
def test_division_by_a_constant_in_32_bits(divisor: int) -> None:
    def build(b: Builder) -> list[Op]:
        x = b.resize(argument(b, 0), I32, signed=True)
        y = b.i32(divisor)
        return [b.resize(b.binary(operation, x, y), I64, signed=True) for operation in ("sdiv", "srem")]

    for value in (100, -100, -(1 << 31)):
        if divisor == 0:
            expected = [0, value & MASK]
        else:
            quotient = divide(value, divisor)
            expected = [signed(quotient, 32) & MASK, signed(value - quotient * divisor, 32) & MASK]
        assert run_slots(build, value) == expected


def test_arithmetic() -> None:
    x, y = 0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321

    def build(b: Builder) -> list[Op]:
        left, right = argument(b, 0), argument(b, 1)
        values = [b.binary(operation, left, right) for operation in ("add", "sub", "mul", "and", "or", "xor")]
        values += [b.binary(operation, left, b.i64(4)) for operation in ("shl", "lshr", "ashr")]
        # A shift by more than the width takes the count modulo the width.
        values += [b.binary("shl", left, b.binary("add", right, b.i64(64)))]
        return values

    shift = (y + 64) & 63
    expected = [x + y, x - y, x * y, x & y, x | y, x ^ y, x << 4, x >> 4, x >> 4, x << shift]
    assert run_slots(build, x, y) == [value & MASK for value in expected]


def test_comparisons() -> None:
    def build(b: Builder) -> list[Op]:
        x, y = argument(b, 0), argument(b, 1)
        results = [b.compare(c, x, y) for c in ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")]
        return [b.resize(result, I64, signed=False) for result in results]

    assert run_slots(build, 1, -1) == [0, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    assert run_slots(build, 5, 5) == [1, 0, 0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("type_", [I8, I16, I32, I64])
def test_widths_of_loads_and_stores(type_: Int) -> None:
    def build(b: Builder) -> list[Op]:
        cell = b.local(16, zero=True)
        b.store(b.resize(argument(b, 0), type_, signed=False), b.offset(cell, 8))
        value = b.load(type_, b.offset(cell, 8))
        slot = b.map_value("out", 64)
        b.store(value, slot)
        again = b.load(type_, slot)
        pieces = [b.resize(value, I64, signed=False), b.resize(again, I64, signed=True)]
        return [*pieces, b.load(I64, cell), b.load(I64, b.offset(cell, 8))]

    value = 0xFEDC_BA98_7654_B2F1
    low = value & ((1 << type_.bits) - 1)
    assert run_slots(build, value) == [low, signed(low, type_.bits) & MASK, 0, low]


def test_byte_order_and_narrowing() -> None:
    def build(b: Builder) -> list[Op]:
        x = argument(b, 0)
        values = []
        for type_ in (I16, I32, I64):
            narrow = b.resize(x, type_, signed=False)
            values.append(b.resize(b.emit(Convert(type_, "bswap", narrow)), I64, signed=False))
        return values

    assert run_slots(build, 0x0102_0304_0506_0708) == [0x0807, 0x0807_0605, 0x0807_0605_0403_0201]


def test_128_bits() -> None:
    def build(b: Builder) -> list[Op]:
        cell = b.local(16)
        b.store(argument(b, 0), cell)
        b.store(argument(b, 1), b.offset(cell, 8))
        value = b.load(I128, cell)
        total = b.binary("add", value, b.const(I128, 1))
        b.store(total, cell)
        same = b.compare("eq", value, total)
        return [b.load(I64, cell), b.load(I64, b.offset(cell, 8)), b.resize(same, I64, signed=False)]

    assert run_slots(build, MASK, 5) == [0, 6, 0]


def test_select_and_switch() -> None:
    def build(b: Builder) -> list[Op]:
        x = argument(b, 0)
        result = b.variable(b.i64(0))
        end, default = b.new_block("end"), b.new_block("default")
        cases = []
        for number in range(12):
            cases.append((number * 3, b.new_block(f"case{number}")))
        b.switch(x, default, cases)
        for number, block in cases:
            b.start(block)
            b.store(b.i64(number * number + 1), result)
            b.jump(end)
        b.start(default)
        b.store(b.i64(999), result)
        b.jump(end)
        b.start(end)
        return [b.load(I64, result), b.select(b.truth(x), b.i64(1), b.i64(2))]

    assert run_slots(build, 0) == [1, 2]
    assert run_slots(build, 9) == [82, 1]
    assert run_slots(build, 10) == [999, 1]


def test_bounded_loop_over_an_array() -> None:
    def build(b: Builder) -> list[Op]:
        array = b.local(80, scratch=False)
        limit = argument(b, 0)
        i, total = b.variable(b.i64(0)), b.variable(b.i64(0))
        for loop in ("fill", "sum"):
            head, body, after = b.new_block(loop), b.new_block(f"{loop} body"), b.new_block(f"{loop} end")
            b.store(b.i64(0), i)
            b.jump(head)
            b.start(head)
            index = b.load(I64, i)
            inside = b.compare("ult", index, b.i64(10))
            b.branch(inside, body, after)
            b.start(body)
            cell = b.element(array, index, 8)
            if loop == "fill":
                b.store(b.binary("mul", index, limit), cell)
            else:
                b.store(b.binary("add", b.load(I64, total), b.load(I64, cell)), total)
            b.store(b.binary("add", index, b.i64(1)), i)
            b.jump(head)
            b.start(after)
        return [b.load(I64, total)]

    assert run_slots(build, 3) == [3 * 45]


def test_barrier_keeps_values() -> None:
    def build(b: Builder) -> list[Op]:
        x = argument(b, 0)
        hidden = [b.barrier(b.resize(x, t, signed=False)) for t in (I8, I16, I32)]
        b.barrier()
        return [*(b.resize(h, I64, signed=False) for h in hidden), b.barrier(x)]

    assert run_slots(build, 0x1234_5678_9ABC) == [0xBC, 0x9ABC, 0x5678_9ABC, 0x1234_5678_9ABC]


def test_atomics() -> None:
    def build(b: Builder) -> list[Op]:
        slot, small = b.map_value("out", 80), b.map_value("out", 88)
        b.store(b.i64(10), slot)
        b.store(b.i64(0), small)
        for operation, value in (("add", 5), ("or", 16), ("and", 0x1E), ("xor", 1)):
            b.atomic(operation, slot, b.i64(value))
        b.atomic("add", small, b.i32(7))
        old = b.atomic("add", slot, b.i64(100), fetch=True)
        swapped = b.atomic("xchg", slot, b.i64(1), fetch=True)
        return [old, swapped, b.load(I64, slot), b.load(I64, small)]

    value = ((10 + 5) | 16) & 0x1E ^ 1
    assert run_slots(build) == [value, value + 100, 1, 7]


def test_subprogram_and_its_return() -> None:
    square = Builder("square", (I64,))
    square.ret(square.binary("mul", square.function.parameters[0], square.function.parameters[0]))

    def build(b: Builder) -> list[Op]:
        return [b.call("square", argument(b, 0)), b.call("square", b.i64(4))]

    assert run_slots(build, 9, subprograms=(square.finish(),)) == [81, 16]


def test_callback() -> None:
    step = Builder("step", (I64, Ptr(Space.STACK)))
    index, context = step.function.parameters
    step.store(step.binary("add", step.load(I64, context), index), context)
    step.ret(step.i64(0))

    def build(b: Builder) -> list[Op]:
        total = b.variable(argument(b, 0))
        count = b.helper("loop", b.i32(100), b.function_address("step"), total, b.i64(0))
        return [b.load(I64, total), count]

    assert run_slots(build, 7, subprograms=(step.finish(),)) == [7 + 4950, 100]


@pytest.mark.parametrize("cpu", ["v3", "v4"])
def test_instruction_sets(cpu: str) -> None:
    b = Builder("test")
    x = argument(b, 0)
    value = b.binary("sdiv", b.resize(b.resize(x, I32, signed=True), I64, signed=True), b.i64(-3))
    b.store(value, b.map_value("out"))
    b.ret(b.i64(0))
    try:
        with loaded(make_module(b.finish()), cpu=cpu) as program:
            program.run(-7)
            assert program.out()[0] == 2
    except VerifierError as error:
        # Kernels before 6.6 know no sign-extending moves.
        if cpu == "v4" and ("uses reserved fields" in error.log or "unknown opcode" in error.log):
            pytest.skip(f"{LACKS}cpu v4")
        raise


def test_all_context_loads_stay_at_constant_offsets() -> None:
    """Loads that LLVM would merge into one at a computed address (“dereference of modified ctx ptr”)."""

    def build(b: Builder) -> list[Op]:
        which = argument(b, 0)
        result = b.variable(b.i64(0))
        end = b.new_block("end")
        blocks = [b.new_block(f"arm{i}") for i in range(4)]
        b.switch(which, end, [(i, block) for i, block in enumerate(blocks)])
        for i, block in enumerate(blocks):
            b.start(block)
            b.store(b.load(I64, b.offset(b.offset(b.context, 8), 8 * i)), result)
            b.jump(end)
        b.start(end)
        return [b.load(I64, result)]

    for which in range(4):
        assert run_slots(build, which, 11, 22, 33, 44) == [[11, 22, 33, 44][which]]
