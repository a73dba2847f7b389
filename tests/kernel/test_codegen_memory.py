"""Maps, ring buffers, probe reads, large variables and blocks of memory, on the running kernel."""

from __future__ import annotations

import ctypes
import struct

import pytest
from tests.harness.programs import loaded, make_module, run_slots

from trapline.ir.builder import Builder
from trapline.ir.function import Op
from trapline.ir.spec import MapSpec
from trapline.ir.types import I8, I16, I32, I64, Ptr, Space


def argument(b: Builder, index: int) -> Op:
    return b.load(I64, b.offset(b.context, 8 * index))


def test_hash_map_lookup_update_delete() -> None:
    counts = MapSpec("counts", "HASH", 8, 8, 16)
    b = Builder("test")
    key = b.variable(argument(b, 0))
    value = b.map_lookup("counts", key)
    missing, found, end = b.new_block("missing"), b.new_block("found"), b.new_block("end")
    b.branch(b.compare("ne", value, b.null(Space.MAP)), found, missing)
    b.start(found)
    b.store(b.binary("add", b.load(I64, value), b.i64(1)), value)
    b.jump(end)
    b.start(missing)
    first = b.variable(b.i64(1))
    b.map_update("counts", key, first)
    b.jump(end)
    b.start(end)
    with b.when(b.truth(argument(b, 1))):
        b.map_delete("counts", key)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[counts])) as program:
        for _ in range(3):
            program.run(5, 0)
        program.run(6, 0)
        program.run(7, 1)
        items = dict(program.maps["counts"].items())
    assert items == {struct.pack("<Q", 5): struct.pack("<Q", 3), struct.pack("<Q", 6): struct.pack("<Q", 1)}


def test_per_cpu_map() -> None:
    sums = MapSpec("sums", "PERCPU_HASH", 4, 16, 16)
    b = Builder("test")
    key = b.variable(b.i32(3))
    zero = b.local(16, zero=True)
    b.map_update("sums", key, zero, flags=1)
    value = b.map_lookup("sums", key)
    with b.when(b.compare("ne", value, b.null(Space.MAP))):
        b.store(b.binary("add", b.load(I64, value), argument(b, 0)), value)
        count = b.offset(value, 8)
        b.store(b.binary("add", b.load(I64, count), b.i64(1)), count)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[sums])) as program:
        program.run(10)
        program.run(32)
        parts = program.maps["sums"].lookup_parts(struct.pack("<I", 3))
    assert parts is not None
    pairs = [struct.unpack("<QQ", part) for part in parts]
    assert (sum(total for total, _ in pairs), sum(count for _, count in pairs)) == (42, 2)


def test_ring_buffer_record() -> None:
    ring = MapSpec(".ring", "RINGBUF", 0, 0, 4096)
    b = Builder("test")
    record = b.helper("ringbuf_reserve", b.map(".ring"), b.i64(24), b.i64(0), returns=Ptr(Space.RECORD))
    with b.when(b.compare("ne", record, b.null(Space.RECORD))):
        b.store(b.i32(7), record)
        b.store(b.i32(0), b.offset(record, 4))
        b.store(argument(b, 0), b.offset(record, 8))
        b.fill(b.offset(record, 16), 8, 0xAB)
        b.helper("ringbuf_submit", record, b.i64(0), returns=I64)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[ring])) as program, program.maps[".ring"].open_ring() as reader:
        program.run(0x1122)
        records = [bytes(record) for record in reader.records()]
    assert records == [struct.pack("<IIQ", 7, 0, 0x1122) + b"\xab" * 8]


TEXT = b"Linux version 6!"


def kernel_text(b: Builder) -> Op:
    """Return the address, as an integer, of 16 bytes of kernel memory that hold TEXT."""
    b.store(b.i64(int.from_bytes(TEXT[:8], "little")), b.map_value("out", 128))
    b.store(b.i64(int.from_bytes(TEXT[8:], "little")), b.map_value("out", 136))
    return b.barrier(b.to_integer(b.map_value("out", 128)))


def test_loads_from_kernel_memory() -> None:
    def build(b: Builder) -> list[Op]:
        text = b.to_pointer(kernel_text(b), Space.KERNEL)
        copy = b.local(16)
        b.copy(copy, text, 16)
        bad = [b.load(I64, b.to_pointer(b.i64(8), space)) for space in (Space.KERNEL, Space.USER, Space.UNKNOWN)]
        widths = [b.resize(b.load(t, text), I64, signed=False) for t in (I8, I16, I32, I64)]
        unknown = b.load(I64, b.to_pointer(text, Space.UNKNOWN))
        return [*bad, *widths, unknown, b.load(I64, b.offset(copy, 8))]

    expected = [int.from_bytes(TEXT[:size], "little") for size in (1, 2, 4, 8, 8)]
    assert run_slots(build) == [0, 0, 0, *expected, int.from_bytes(TEXT[8:], "little")]


def test_loads_from_user_memory() -> None:
    memory = ctypes.create_string_buffer(TEXT)

    def build(b: Builder) -> list[Op]:
        text = b.to_pointer(argument(b, 0), Space.USER)
        copy = b.local(16)
        b.copy(copy, text, 16)
        return [b.load(I64, b.offset(text, 1)), b.load(I64, b.offset(copy, 8))]

    expected = [int.from_bytes(part, "little") for part in (TEXT[1:9], TEXT[8:])]
    assert run_slots(build, ctypes.addressof(memory)) == expected


def test_inferred_pointers() -> None:
    """As a C front end writes: every pointer goes through a variable, nobody says where it points."""
    values = MapSpec("values", "HASH", 4, 8, 4)

    def build(b: Builder) -> list[Op]:
        infer = Ptr(Space.INFER)
        key = b.variable(b.i32(1))
        b.map_update("values", key, b.variable(b.i64(77)))
        p = b.local(8, "p")
        b.store(b.map_lookup("values", key), p)
        result = b.variable(b.i64(0))
        with b.when(b.compare("ne", b.load(infer, p), b.null(Space.INFER))):
            target = b.load(infer, p)
            b.store(b.binary("add", b.load(I64, target), b.i64(1)), target)
            b.store(b.load(I64, target), result)
        text = b.local(8, "text")
        b.store(b.to_pointer(kernel_text(b), Space.INFER), text)
        word = b.load(I64, b.load(infer, text))
        return [b.load(I64, result), word]

    assert run_slots(build, maps=[values]) == [78, int.from_bytes(TEXT[:8], "little")]


@pytest.mark.parametrize("size", [1, 7, 8, 60, 64, 65, 500, 512, 1024, 1200, 4096, 16384])
def test_large_fill_and_copy(size: int) -> None:
    data = MapSpec("data", "ARRAY", 4, size, 1)

    def build(b: Builder) -> list[Op]:
        text = b.local(size, "text")
        b.fill(text, size, 0)
        b.store(b.const(I8, 0x5A), b.offset(text, size - 1))
        b.store(b.const(I8, 0x21), text)
        copy = b.local(size, "copy", zero=True)
        b.copy(copy, text, size)
        value = b.map_value("data")
        b.copy(value, copy, size)
        return []

    b = Builder("test")
    build(b)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[data])) as program:
        assert program.run() == 0
        value = program.maps["data"].lookup(bytes(4))
    expected = bytearray(size)
    expected[-1] = 0x5A
    expected[0] = 0x21
    assert value == bytes(expected)


@pytest.mark.parametrize("size", [24, 100, 900, 2048])
def test_fill_with_a_pattern(size: int) -> None:
    data = MapSpec("data", "ARRAY", 4, size, 1)
    b = Builder("test")
    b.fill(b.map_value("data"), size, 0xC3)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[data])) as program:
        program.run()
        assert program.maps["data"].lookup(bytes(4)) == b"\xc3" * size


def test_many_variables_do_not_overflow_the_frame() -> None:
    """Forty 24-byte keys (960 bytes) that helpers need in memory, and scratch in a callback as well."""
    keys = MapSpec("keys", "HASH", 24, 8, 64)

    def build(b: Builder) -> list[Op]:
        for number in range(40):
            key = b.local(24, f"key{number}")
            b.store(b.i64(number), key)
            b.store(b.i64(0), b.offset(key, 8))
            b.store(argument(b, 0), b.offset(key, 16))
            b.map_update("keys", key, b.variable(b.i64(number)))
        return []

    b = Builder("test")
    build(b)
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[keys])) as program:
        program.run(9)
        found = sorted(struct.unpack("<QQQ", key) for key, _ in program.maps["keys"].items())
    assert found == [(number, 0, 9) for number in range(40)]


def test_large_variable_in_a_callback() -> None:
    step = Builder("step", (I64, Ptr(Space.STACK)))
    index, context = step.function.parameters
    text = step.local(300, "text", zero=True)
    step.store(index, step.offset(text, 200))
    total = step.binary("add", step.load(I64, context), step.load(I64, step.offset(text, 200)))
    step.store(total, context)
    step.ret(step.i64(0))

    def build(b: Builder) -> list[Op]:
        big = b.local(300, "big", zero=True)
        b.store(argument(b, 0), b.offset(big, 104))
        total = b.variable(b.i64(0))
        b.helper("loop", b.i32(10), b.function_address("step"), total, b.i64(0))
        return [b.load(I64, total), b.load(I64, b.offset(big, 104))]

    assert run_slots(build, 5, subprograms=(step.finish(),)) == [45, 5]


def test_unaligned_fields_on_the_stack() -> None:
    """A packed struct {u8; u32; u64} as a key."""
    keys = MapSpec("keys", "HASH", 13, 8, 4)
    b = Builder("test")
    key = b.local(13, "packed")
    b.store(b.const(I8, 1), key)
    b.store(b.i32(0x0A0B0C0D), b.offset(key, 1))
    b.store(argument(b, 0), b.offset(key, 5))
    other = b.local(16, "shifted")
    b.copy(b.offset(other, 3), key, 13)
    b.copy(key, b.offset(other, 3), 13)
    b.map_update("keys", key, b.variable(b.load(I64, b.offset(key, 5))))
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), maps=[keys])) as program:
        program.run(0x1122334455667788)
        items = program.maps["keys"].items()
    assert items == [(struct.pack("<BIQ", 1, 0x0A0B0C0D, 0x1122334455667788), struct.pack("<Q", 0x1122334455667788))]


def test_constants_in_a_frozen_map() -> None:
    rodata = MapSpec(".rodata", "ARRAY", 4, 32, 1, flags=0x80, initial=b"0123456789abcdef", frozen=True)

    def build(b: Builder) -> list[Op]:
        text = b.local(16)
        b.copy(text, b.map_value(".rodata", 2), 8)
        return [b.load(I64, text), b.load(I64, b.map_value(".rodata", 8))]

    expected = [int.from_bytes(b"23456789", "little"), int.from_bytes(b"89abcdef", "little")]
    assert run_slots(build, maps=[rodata]) == expected


def test_copy_from_the_context() -> None:
    def build(b: Builder) -> list[Op]:
        copy = b.local(24)
        b.copy(copy, b.offset(b.context, 8), 24)
        return [b.load(I64, b.offset(copy, at)) for at in (0, 8, 16)]

    assert run_slots(build, 1, 2, 3, 4) == [2, 3, 4]


def test_bounded_index_into_a_map_value() -> None:
    def build(b: Builder) -> list[Op]:
        index = b.binary("and", argument(b, 0), b.i64(7))
        slot = b.element(b.map_value("out", 128), index, 8)
        b.store(b.i64(5), slot)
        return [b.load(I64, b.map_value("out", 128 + 24)), b.load(I64, b.map_value("out", 128 + 32))]

    assert run_slots(build, 11) == [5, 0]


def test_tracepoint_program_loads() -> None:
    b = Builder("test")
    fields = b.offset(b.context, 16)
    total = b.binary("add", b.load(I64, fields), b.resize(b.load(I32, b.offset(b.context, 8)), I64, signed=True))
    copy = b.local(40)
    b.copy(copy, fields, 40)
    b.store(b.binary("add", total, b.load(I64, b.offset(copy, 32))), b.map_value("out"))
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), type="TRACEPOINT")) as program:
        assert program.spec.type == "TRACEPOINT"


def test_kprobe_program_loads() -> None:
    b = Builder("test")
    registers = [b.load(I64, b.offset(b.context, 8 * i)) for i in range(21)]
    total = registers[0]
    for register in registers[1:]:
        total = b.binary("add", total, register)
    b.store(total, b.map_value("out"))
    b.store(b.load(I32, b.offset(b.context, 16)), b.map_value("out", 8))
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), type="KPROBE")) as program:
        assert program.spec.type == "KPROBE"
