"""From IR to bytecode: references, spans, functions, determinism; nothing here looks at LLVM's text."""

from __future__ import annotations

import struct

import pytest

from trapline.abi.instructions import Instruction, decode_instructions
from trapline.codegen import compile_module
from trapline.codegen.llvm import farthest_branch
from trapline.codegen.object import span_at
from trapline.errors import InternalError, SemanticError
from trapline.ir.builder import Builder
from trapline.ir.function import BINARY, COMPARE, Convert
from trapline.ir.spec import KfuncRef, MapSpec, ModuleSpec, ObjectProgram, ObjectSpec, ProgramSpec, SubprogramInfo
from trapline.ir.types import I8, I32, I64, Int, Ptr, Space

COUNTS = MapSpec("counts", "HASH", 8, 8, 16)
DATA = MapSpec("data", "ARRAY", 4, 64, 1)


def compile_(*programs: ProgramSpec, cpu: str = "v3", maps: tuple[MapSpec, ...] = (COUNTS, DATA)) -> ObjectSpec:
    return compile_module(ModuleSpec("stdin", "x" * 100, programs, maps), None, cpu=cpu)  # type: ignore[arg-type]


def compile_one(b: Builder, *subprograms: Builder, cpu: str = "v3") -> ObjectProgram:
    spec = ProgramSpec("p", "KPROBE", b.finish(), subprograms=tuple(s.finish() for s in subprograms))
    return compile_(spec, cpu=cpu).programs[0]


def instructions(program: ObjectProgram) -> dict[int, Instruction]:
    return dict(decode_instructions(program.instructions))


def test_map_references() -> None:
    b = Builder("p")
    b.map_lookup("counts", b.variable(b.i64(1)))
    b.store(b.i64(1), b.map_value("data", 40))
    b.map_lookup("counts", b.variable(b.i64(2)))
    program = compile_one(b)
    code = instructions(program)
    assert sorted((ref.map, ref.value) for ref in program.map_refs)[-1] == ("data", True)
    for ref in program.map_refs:
        instruction = code[ref.index]
        assert instruction.opcode == 0x18
        assert instruction.src == (2 if ref.value else 1)
        assert instruction.imm == (40 << 32 if ref.value else 0)


def test_subprograms_and_callbacks_are_resolved() -> None:
    callback = Builder("each", (I64, Ptr(Space.STACK)))
    callback.ret(callback.i64(0))
    inlined = Builder("twice", (I64,))
    inlined.ret(inlined.binary("mul", inlined.function.parameters[0], inlined.i64(2)))
    unused = Builder("unused")
    unused.ret(unused.i64(0))
    b = Builder("p")
    total = b.variable(b.call("twice", b.load(I64, b.context)))
    b.helper("loop", b.i32(4), b.function_address("each"), total, b.i64(0))
    b.ret(b.load(I64, total))
    program = compile_one(b, callback, inlined, unused)
    assert [(s.name, s.parameters) for s in program.subprograms] == [("p", 1), ("each", 2)]
    start = program.subprograms[1].index
    ((index, load),) = [(i, x) for i, x in instructions(program).items() if x.opcode == 0x18 and x.src == 4]
    assert index + 1 + struct.unpack("<i", struct.pack("<I", load.imm & 0xFFFFFFFF))[0] == start


def test_every_program_has_its_own_code() -> None:
    programs = []
    for number in range(3):
        callback = Builder("each", (I64, Ptr(Space.STACK)))
        callback.ret(callback.i64(number))
        b = Builder(f"p{number}")
        b.helper("loop", b.i32(4), b.function_address("each"), b.local(8, zero=True), b.i64(0))
        b.ret(b.i64(number + 10))
        programs.append(ProgramSpec(f"p{number}", "KPROBE", b.finish(), subprograms=(callback.finish(),)))
    spec = compile_(*programs)
    for number, program in enumerate(spec.programs):
        assert program.name == f"p{number}"
        assert program.subprograms[0] == SubprogramInfo(0, f"p{number}", 1)
        returned = [x.imm for x in instructions(program).values() if x.opcode in (0xB7, 0xB4) and x.dst == 0]
        assert returned == [number + 10, number]


def test_only_functions_on_one_chain_of_calls_share_the_stack() -> None:
    """Three bodies of loops, one after the other, with 200 bytes each; nested they do not fit."""

    def body(name: str, inner: str = "") -> Builder:
        b = Builder(name, (I64, Ptr(Space.STACK)))
        text = b.local(200, "text", zero=True, scratch=False)
        b.helper("trace_printk", text, b.i32(200))
        if inner:
            b.helper("loop", b.i32(2), b.function_address(inner), text, b.i64(0))
        b.ret(b.i64(0))
        return b

    def program() -> Builder:
        b = Builder("p")
        for name in "abc":
            b.helper("loop", b.i32(4), b.function_address(name), b.local(8, zero=True), b.i64(0))
        return b

    assert len(compile_one(program(), body("a"), body("b"), body("c")).subprograms) == 4
    with pytest.raises(SemanticError, match="bytes of stack"):
        compile_one(program(), body("a", "b"), body("b", "c"), body("c"))


def test_kfunc_references() -> None:
    b = Builder("p")
    cpu = b.kfunc("bpf_get_smp_id", returns=I32)
    b.kfunc("bpf_maybe", b.resize(cpu, I64, signed=False), weak=True)
    program = compile_one(b)
    code = instructions(program)
    assert [(ref.name, ref.weak) for ref in program.kfunc_refs] == [("bpf_get_smp_id", False), ("bpf_maybe", True)]
    for ref in program.kfunc_refs:
        assert isinstance(ref, KfuncRef)
        assert (code[ref.index].opcode, code[ref.index].src, code[ref.index].imm) == (0x85, 2, 0)


def test_spans_reach_the_bytecode() -> None:
    b = Builder("p")
    with b.at((5, 12)):
        b.helper("trace_printk", b.local(8, zero=True), b.i32(8))
    with b.at((20, 31)):
        b.helper("get_current_comm", b.local(16, zero=True), b.i32(16))
    program = compile_one(b)
    calls = {x.imm: index for index, x in instructions(program).items() if x.opcode == 0x85}
    assert span_at(program.spans, calls[6]) == (5, 12)
    assert span_at(program.spans, calls[16]) == (20, 31)
    assert span_at((), 3) is None


def test_the_span_of_inlined_code_is_that_of_its_text() -> None:
    sub = Builder("sub", (I64,))
    with sub.at((40, 50)):
        sub.helper("trace_printk", sub.local(8, zero=True), sub.i32(8))
    sub.ret(sub.i64(0))
    b = Builder("p")
    with b.at((1, 2)):
        b.call("sub", b.i64(1))
    program = compile_one(b, sub)
    (call,) = (index for index, x in instructions(program).items() if x.opcode == 0x85)
    assert span_at(program.spans, call) == (40, 50)


def test_context_loads_keep_their_width_and_place() -> None:
    b = Builder("p")
    wide = b.load(I64, b.offset(b.context, 112))
    narrow = b.load(I8, b.offset(b.offset(b.context, 40), 9))
    low = b.resize(wide, I32, signed=False)
    b.store(low, b.map_value("data"))
    b.store(narrow, b.map_value("data", 8))
    loads = [(x.opcode & 0x18, x.off, x.src) for x in instructions(compile_one(b)).values() if x.opcode & 7 == 1]
    assert loads == [(0x18, 112, 1), (0x10, 49, 1)]


def test_the_same_input_gives_the_same_bytes() -> None:
    def build() -> ObjectSpec:
        b = Builder("p")
        b.map_update("counts", b.local(800, zero=True), b.variable(b.load(I64, b.context)))
        b.ret(b.binary("sdiv", b.load(I64, b.context), b.load(I64, b.offset(b.context, 8))))
        return compile_(ProgramSpec("p", "KPROBE", b.finish()))

    assert build() == build()


def test_a_module_can_be_compiled_twice() -> None:
    b = Builder("p")
    b.helper("get_current_comm", b.local(800, zero=True), b.i64(16))
    module = ModuleSpec("stdin", "", (ProgramSpec("p", "KPROBE", b.finish()),))
    first = compile_module(module, None)  # type: ignore[arg-type]
    assert compile_module(module, None) == first  # type: ignore[arg-type]
    assert [m.name for m in first.maps] == [".scratch"]


def test_a_frame_that_spills_gets_more_scratch() -> None:
    """Values that live across a call need the stack, besides the variables."""
    b = Builder("p")
    values = [b.barrier(b.load(I64, b.offset(b.context, 8 * (i % 20)))) for i in range(40)]
    for place in [b.local(40) for _ in range(9)]:
        b.helper("get_current_comm", place, b.i64(16))
    for value in values:
        b.store(b.barrier(value), b.map_value("data"))
    program = compile_one(b)
    lowest = min(x.off for x in instructions(program).values() if x.opcode & 7 == 3 and x.dst == 10)
    assert lowest >= -512
    assert ".scratch" in {ref.map for ref in program.map_refs}


def test_a_frame_that_can_never_fit_is_reported() -> None:
    b = Builder("p")
    values = [b.barrier(b.load(I64, b.offset(b.context, 8 * (i % 20)))) for i in range(90)]
    b.helper("get_current_comm", b.local(16), b.i64(16))
    for value in values:
        b.store(b.barrier(value), b.map_value("data"))
    function = b.finish()
    with pytest.raises(SemanticError, match=r"kprobe:f needs \d+ bytes of stack, and the kernel allows 512") as caught:
        compile_(ProgramSpec("p", "KPROBE", function, label="kprobe:f", span=(3, 6)))
    assert "stdin:1:4-7" in str(caught.value)


def test_signed_division_exists_in_v4_only_as_unsigned() -> None:
    """The same code for every instruction set: what v3 cannot do is never asked of it."""
    for cpu in ("v3", "v4"):
        b = Builder("p")
        b.ret(b.binary("srem", b.load(I64, b.context), b.load(I64, b.offset(b.context, 8))))
        divisions = [x for x in instructions(compile_one(b, cpu=cpu)).values() if x.opcode & 0xF7 == 0x97]
        assert [x.off for x in divisions] == [0]


def test_stages_are_dumped_in_order() -> None:
    stages: dict[str, str] = {}
    b = Builder("hello")
    b.helper("trace_printk", b.local(8, zero=True), b.i32(8))
    module = ModuleSpec("stdin", "", (ProgramSpec("hello", "KPROBE", b.finish()),))
    compile_module(module, None, dump=stages.__setitem__)  # type: ignore[arg-type]
    assert list(stages) == ["ir", "codegen", "codegen-opt", "elf", "dis"]
    assert "helper trace_printk(" in stages["ir"]
    assert "trace_printk" in stages["dis"]


def test_an_unknown_helper_is_our_bug() -> None:
    b = Builder("p")
    b.helper("make_coffee")
    with pytest.raises(InternalError, match="no BPF helper named make_coffee"):
        compile_one(b)


def test_no_programs() -> None:
    assert compile_().programs == ()


@pytest.mark.parametrize("cpu", ["v3", "v4"])
@pytest.mark.parametrize("bits", [8, 16, 32, 64, 128])
def test_every_operation_of_every_width_has_code(bits: int, cpu: str) -> None:
    """LLVM ends the process where the machine lacks an operation: none of ours may get there."""
    type_ = Int(bits)
    wide = bits == 128
    b = Builder("p")
    x = b.load(type_, b.map_value("data"))
    y = b.load(type_, b.map_value("data", 16))
    count = b.const(type_, 5)
    values = []
    for operation in BINARY:
        if wide and operation in ("mul", "udiv", "sdiv", "urem", "srem"):
            continue
        values.append(b.binary(operation, x, count if wide and operation in ("shl", "lshr", "ashr") else y))
    values += [b.resize(b.compare(c, x, y), type_, signed=False) for c in COMPARE]
    values.append(b.select(b.truth(x), x, y))
    if bits > 8:
        values.append(b.emit(Convert(type_, "bswap", x)))
    if not wide:
        values.append(b.barrier(x))
    for value in values:
        b.store(value, b.map_value("data", 32))
        b.barrier()
    assert len(compile_one(b, cpu=cpu).instructions) > 8 * len(values)


def test_a_long_run_of_stores_is_no_call_of_memset() -> None:
    """LLVM may turn loops and runs of stores into memset, which does not exist in the kernel."""
    b = Builder("p")
    for at in range(0, 4096, 8):
        b.store(b.i64(0), b.map_value("data", at))
    i = b.variable(b.i64(0))
    head, body, end = b.new_block("head"), b.new_block("body"), b.new_block("end")
    b.jump(head)
    b.start(head)
    index = b.load(I64, i)
    b.branch(b.compare("ult", index, b.i64(1000)), body, end)
    b.start(body)
    b.store(b.i64(0), b.element(b.map_value("data"), index, 8))
    b.store(b.binary("add", index, b.i64(1)), i)
    b.jump(head)
    b.start(end)
    assert [x for x in instructions(compile_one(b)).values() if x.opcode == 0x85] == []


def test_branches_are_measured_in_assembly() -> None:
    far = "f:\n\tif r1 == 0 goto LBB0_2\n" + "\tr1 = 5 ll\n" * 10 + "\tr2 = 1\nLBB0_2:   # %b\n\tgoto LBB0_2\n\texit\n"
    assert farthest_branch(far) == 21
    assert farthest_branch("f:\n\texit\n") == 0
