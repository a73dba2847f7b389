"""The passes, each on a function small enough to be read."""

from __future__ import annotations

import pytest

from trapline.errors import FeatureMissingError, SemanticError
from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.passes.clone import clone_module
from trapline.ir.passes.provenance import infer_provenance, join
from trapline.ir.printer import format_module
from trapline.ir.spec import SCRATCH, MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import I32, I64, VOID, Ptr, Space

INFER = Ptr(Space.INFER)
TABLE = MapSpec("table", "HASH", 8, 8, 16)


def module(
    function: f.Function,
    *subprograms: f.Function,
    type: str = "KPROBE",
    source: str = "",
    maps: tuple[MapSpec, ...] = (TABLE,),
) -> ModuleSpec:
    return ModuleSpec(
        "stdin", source, (ProgramSpec("p", type, function, label="kprobe:f", subprograms=subprograms),), maps
    )


def helpers(spec: ModuleSpec) -> list[str]:
    program = spec.programs[0]
    return [op.name for fn in (program.function, *program.subprograms) for op in fn.ops() if isinstance(op, f.Helper)]


def space_of_load(build: object, type: str = "KPROBE") -> Space:
    """Return what is inferred of the pointer that `build` returns."""
    b = Builder("p")
    value = build(b)  # type: ignore[operator]
    b.store(value, b.local(8, "result"))
    b.ret(b.i64(0))
    spec = clone_module(module(b.finish(), type=type))
    infer_provenance(spec)
    stores = [op for op in spec.programs[0].function.ops() if isinstance(op, f.Store)]
    result = stores[-1].value.type
    assert isinstance(result, Ptr)
    return result.space


def lookup(b: Builder) -> f.Op:
    return b.map_lookup("table", b.variable(b.i64(1)))


def through_variable(b: Builder, *values: f.Op) -> f.Op:
    variable = b.local(16, "v")
    for value in values:
        b.store(value, b.offset(variable, 8))
    return b.load(INFER, b.offset(variable, 8))


def test_join() -> None:
    assert join(None, Space.MAP) is Space.MAP
    assert join(Space.STACK, Space.MAP) is Space.MAP
    assert join(Space.MAP, Space.KERNEL) is Space.UNKNOWN
    assert join(Space.KERNEL, Space.USER) is Space.UNKNOWN
    assert join(Space.USER, Space.USER) is Space.USER
    assert join(Space.BTF, Space.STACK) is Space.BTF


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda b: through_variable(b, lookup(b)), Space.MAP),
        (lambda b: through_variable(b, b.null(Space.INFER), lookup(b)), Space.MAP),
        (lambda b: through_variable(b, lookup(b), b.local(8)), Space.MAP),
        (lambda b: through_variable(b, lookup(b), b.to_pointer(b.i64(5), Space.INFER)), Space.UNKNOWN),
        (lambda b: through_variable(b, b.null(Space.INFER)), Space.UNKNOWN),
        (lambda b: through_variable(b, b.to_pointer(b.i64(5), Space.KERNEL)), Space.KERNEL),
        (lambda b: b.offset(through_variable(b, lookup(b)), 4), Space.MAP),
        (lambda b: b.load(INFER, lookup(b)), Space.UNKNOWN),
        (lambda b: b.load(INFER, b.offset(b.context, 112)), Space.UNKNOWN),
        (lambda b: b.load(INFER, through_variable(b, b.context)), Space.UNKNOWN),
        (lambda b: through_variable(b, b.context), Space.CTX),
    ],
)
def test_provenance(build: object, expected: Space) -> None:
    assert space_of_load(build) is expected


def test_typed_contexts_hold_btf_pointers() -> None:
    def build(b: Builder) -> f.Op:
        return b.load(INFER, b.offset(b.context, 8))

    assert space_of_load(build, "TRACING") is Space.BTF
    assert space_of_load(build, "RAW_TRACEPOINT") is Space.UNKNOWN


def test_a_variable_that_a_helper_wrote_holds_anything() -> None:
    def build(b: Builder) -> f.Op:
        variable = b.variable(b.null(Space.INFER))
        b.helper("probe_read_kernel", variable, b.i64(8), b.to_pointer(b.i64(4096), Space.KERNEL))
        return b.load(INFER, variable)

    assert space_of_load(build) is Space.UNKNOWN


def test_a_copied_struct_keeps_its_pointers() -> None:
    def build(b: Builder) -> f.Op:
        one, two = b.local(24), b.local(24)
        b.store(lookup(b), b.offset(one, 16))
        b.copy(two, one, 24)
        return b.load(INFER, b.offset(two, 16))

    assert space_of_load(build) is Space.MAP


def test_network_programs_reach_packets() -> None:
    def number(b: Builder) -> f.Op:
        return b.to_pointer(b.resize(b.load(I32, b.context), I64, signed=False), Space.INFER)

    for type_ in ("XDP", "SCHED_CLS", "SK_MSG"):
        assert space_of_load(number, type_) is Space.PACKET
        assert space_of_load(lambda b: b.load(INFER, b.context), type_) is Space.PACKET
    assert space_of_load(number, "KPROBE") is Space.UNKNOWN
    assert join(Space.PACKET, Space.STACK) is Space.PACKET
    assert join(Space.PACKET, Space.KERNEL) is Space.UNKNOWN


def test_only_network_programs_write_to_their_context() -> None:
    def write(type_: str) -> None:
        b = Builder("p")
        b.store(b.i32(1), b.offset(b.context, 8))
        b.ret(b.i64(0))
        passes.run(module(b.finish(), type=type_))

    write("SCHED_CLS")
    with pytest.raises(SemanticError, match="cannot write to the context"):
        write("KPROBE")


def test_a_select_joins() -> None:
    def build(b: Builder) -> f.Op:
        condition = b.truth(b.load(I64, b.context))
        value = f.Select(INFER, condition, lookup(b), b.null(Space.INFER))
        return b.emit(value)

    assert space_of_load(build) is Space.MAP


def test_parameters_and_returns_of_subprograms() -> None:
    sub = Builder("advance", (INFER,), INFER)
    sub.ret(sub.offset(sub.function.parameters[0], 8))
    b = Builder("p")
    result = b.call("advance", lookup(b), returns=INFER)
    b.store(result, b.local(8))
    b.ret(b.i64(0))
    spec = clone_module(module(b.finish(), sub.finish()))
    infer_provenance(spec)
    program = spec.programs[0]
    assert program.subprograms[0].parameters[0].type == Ptr(Space.MAP)
    assert program.subprograms[0].returns == Ptr(Space.MAP)
    call = next(op for op in program.function.ops() if isinstance(op, f.Call))
    assert call.type == Ptr(Space.MAP)


@pytest.mark.parametrize(
    ("space", "helper"),
    [(Space.KERNEL, "probe_read_kernel"), (Space.USER, "probe_read_user"), (Space.UNKNOWN, "probe_read")],
)
def test_indirect_loads_become_probe_reads(space: Space, helper: str) -> None:
    b = Builder("p")
    pointer = b.to_pointer(b.load(I64, b.offset(b.context, 112)), space)
    value = b.load(I32, b.offset(pointer, 12))
    b.copy(b.local(40), pointer, 40)
    b.ret(b.resize(value, I64, signed=False))
    spec = passes.run(module(b.finish()))
    assert helpers(spec) == [helper, helper]
    check_module(spec)


def test_copies_from_btf_typed_memory_become_probe_reads() -> None:
    b = Builder("p")
    pointer = b.load(Ptr(Space.BTF), b.context)
    b.copy(b.local(16), pointer, 16)
    b.ret(b.load(I64, b.offset(pointer, 8)))
    spec = passes.run(module(b.finish(), type="TRACING"))
    assert helpers(spec) == ["probe_read_kernel"]


@pytest.mark.parametrize(
    ("type", "expected"),
    [("TRACEPOINT", ["get_prandom_u32", "probe_read_kernel"]), ("PERF_EVENT", ["get_prandom_u32"])],
)
def test_the_context_is_read_at_a_computed_place_where_it_is_memory(type, expected):
    b = Builder("p")
    index = b.binary("and", b.helper("get_prandom_u32"), b.i64(7))
    b.load(I64, b.element(b.offset(b.context, 32), b.i64(2), 1))  # a constant place
    b.ret(b.load(I64, b.element(b.offset(b.context, 32), index, 1)))
    spec = passes.run(module(b.finish(), type=type))
    assert helpers(spec) == expected


@pytest.mark.parametrize("space", [Space.KERNEL, Space.USER, Space.UNKNOWN, Space.BTF, Space.CTX])
def test_a_store_to_foreign_memory_is_the_users_mistake(space: Space) -> None:
    b = Builder("p")
    pointer = b.to_pointer(b.load(I64, b.context), space)
    with b.at((4, 9)):
        b.store(b.i32(1), b.offset(pointer, 4))
    b.ret(b.i64(0))
    with pytest.raises(SemanticError) as caught:
        passes.run(module(b.finish(), source="abc\nt->pid = 1"))
    assert "cannot write to" in str(caught.value)
    assert "stdin:2:1-6" in str(caught.value)


def test_divisions_have_no_zero_divisor_and_no_sign() -> None:
    b = Builder("p")
    x = b.load(I64, b.context)
    y = b.load(I64, b.offset(b.context, 8))
    total = b.binary("add", b.binary("sdiv", x, y), b.binary("srem", x, b.i64(-3)))
    total = b.binary("add", total, b.binary("udiv", y, b.i64(10)))
    b.ret(total)
    spec = passes.run(module(b.finish()))
    operations = [op.operation for op in spec.programs[0].function.ops() if isinstance(op, f.Binary)]
    assert not {"sdiv", "srem"} & set(operations)
    assert operations.count("udiv") == 2
    check_module(spec)


def test_large_variables_move_to_scratch() -> None:
    b = Builder("p")
    text = b.local(1000, "text", zero=True)
    small = b.local(16, "small")
    b.helper("get_current_comm", small, b.i64(16))
    b.helper("get_current_comm", b.offset(text, 500), b.i64(16))
    b.ret(b.i64(0))
    before = module(b.finish())
    spec = passes.run(before)
    assert [(m.name, m.type, m.value_size, m.max_entries) for m in spec.maps[1:]] == [
        (SCRATCH, "PERCPU_ARRAY", 1000, 1)
    ]
    assert helpers(spec) == ["map_lookup_elem", "get_current_comm", "get_current_comm"]
    sizes = [op.size for op in spec.programs[0].function.ops() if isinstance(op, f.Local)]
    assert sizes == [4, 16]
    check_module(spec)
    assert len(before.maps) == 1


def test_each_program_has_an_element_of_scratch() -> None:
    def build(name: str, size: int) -> ProgramSpec:
        b = Builder(name)
        b.helper("get_current_comm", b.local(size), b.i64(16))
        b.ret(b.i64(0))
        return ProgramSpec(name, "KPROBE", b.finish())

    spec = passes.run(ModuleSpec("stdin", "", (build("a", 16), build("b", 200), build("c", 3001))))
    assert [(m.name, m.value_size, m.max_entries) for m in spec.maps] == [(SCRATCH, 3008, 3)]
    text = format_module(spec)
    assert "store i32 0" not in text
    assert text.count("store i32 1 -> ") == text.count("store i32 2 -> ") == 1


@pytest.mark.parametrize(
    ("size", "preemptible", "tail_call", "forbids"),
    [(200, True, False, True), (16, True, False, False), (200, False, False, False), (200, True, True, False)],
)
def test_a_program_that_may_be_preempted_keeps_its_scratch_to_itself(
    size: int, preemptible: bool, tail_call: bool, forbids: bool
) -> None:
    b = Builder("p")
    b.helper("get_current_comm", b.local(size), b.i64(16))
    if tail_call:
        b.helper("tail_call", b.context, b.map("table"), b.i64(0))
    other = b.new_block("other")
    b.branch(b.truth(b.helper("jiffies64")), other, second := b.new_block("second"))
    b.start(other)
    b.ret(b.i64(1))
    b.start(second)
    b.ret(b.i64(0))
    program = ProgramSpec("p", "KPROBE", b.finish(), preemptible=preemptible)
    spec = passes.run(ModuleSpec("stdin", "", (program,), (TABLE,)))
    blocks = spec.programs[0].function.blocks
    calls = [[op.name for op in block.ops if isinstance(op, f.Kfunc)] for block in blocks]
    ends = [isinstance(block.terminator, f.Return) for block in blocks]
    assert sum(ends) == (3 if size > 64 else 2)  # with scratch, one more: there is none
    assert calls[0] == ["bpf_preempt_disable"] * forbids
    assert [bool(names) for names in calls[1:]] == [end and forbids for end in ends[1:]]
    check_module(spec)


def test_many_small_variables_move_when_the_frame_is_full() -> None:
    b = Builder("p")
    keep = b.local(40, "keep", scratch=False)
    together = [b.local(32) for _ in range(20)]
    for local in together:
        b.helper("get_current_comm", local, b.i64(16))
    b.helper("get_current_comm", keep, b.i64(16))
    b.ret(b.i64(0))
    spec = passes.run(module(b.finish()))
    kept = [op.size for op in spec.programs[0].function.ops() if isinstance(op, f.Local)]
    assert sum(kept) <= passes.BUDGET + 4
    assert 40 in kept
    assert spec.maps[-1].value_size == 32 * (20 - kept.count(32))


def test_many_keys_move_when_the_frame_is_full() -> None:
    b = Builder("p")
    for _ in range(60):
        b.helper("get_current_comm", b.local(8), b.i64(8))
    b.ret(b.i64(0))
    spec = passes.run(module(b.finish()))
    kept = [op.size for op in spec.programs[0].function.ops() if isinstance(op, f.Local)]
    assert sum(kept) <= passes.BUDGET + 4


def test_variables_that_become_registers_stay() -> None:
    b = Builder("p")
    array = b.local(80, "registers")
    for at in range(0, 80, 8):
        b.store(b.i64(at), b.offset(array, at))
    b.ret(b.load(I64, b.offset(array, 8)))
    assert len(passes.run(module(b.finish())).maps) == 1


def test_too_much_scratch_is_an_error() -> None:
    b = Builder("p")
    b.helper("get_current_comm", b.local(40000), b.i64(16))
    b.ret(b.i64(0))
    with pytest.raises(FeatureMissingError, match="kprobe:f needs 40000 bytes"):
        passes.run(module(b.finish()))


def test_the_module_that_is_given_stays_unchanged() -> None:
    sub = Builder("sub", (INFER,), VOID)
    sub.store(sub.load(I64, sub.function.parameters[0]), sub.local(8))
    b = Builder("p")
    b.local(900, zero=True)
    b.binary("sdiv", b.load(I64, b.context), b.load(I64, b.offset(b.context, 8)))
    b.call("sub", b.to_pointer(b.load(I64, b.context), Space.KERNEL), returns=VOID)
    body, end = b.new_block("body"), b.new_block("end")
    b.switch(b.load(I64, b.context), end, [(1, body)])
    b.start(body)
    b.jump(end)
    b.start(end)
    b.ret(b.i64(0))
    spec = module(b.finish(), sub.finish())
    before = format_module(spec)
    first = format_module(passes.run(spec))
    assert format_module(spec) == before != first
    assert format_module(passes.run(spec)) == first


def test_variables_that_do_not_live_together_share_memory() -> None:
    b = Builder("p")
    for size in (1000, 800, 1000):
        b.helper("get_current_comm", b.local(size), b.i64(16))
    for _ in range(50):
        b.helper("get_current_comm", b.local(40), b.i64(16))
    spec = passes.run(module(b.finish()))
    assert spec.maps[-1].value_size == 1000
    assert sorted(op.size for op in spec.programs[0].function.ops() if isinstance(op, f.Local)) == [4, 40]


def test_a_variable_older_than_a_loop_lives_to_the_end_of_the_loop() -> None:
    b = Builder("p")
    head, after = b.new_block("head"), b.new_block("after")
    old = b.local(1000, "old", zero=True)
    b.jump(head)
    b.start(head)
    b.helper("get_current_comm", old, b.i64(16))
    b.helper("get_current_comm", b.local(600, "inside"), b.i64(16))
    b.branch(b.truth(b.helper("ktime_get_ns")), head, after)
    b.start(after)
    b.helper("get_current_comm", b.local(500, "later"), b.i64(16))
    assert passes.run(module(b.finish())).maps[-1].value_size == 1600


def test_an_address_that_is_kept_makes_its_variable_live_on() -> None:
    keeper = Builder("keeper", (Ptr(Space.STACK), Ptr(Space.STACK)))
    keeper.store(keeper.function.parameters[0], keeper.function.parameters[1])
    reader = Builder("reader", (Ptr(Space.STACK),))
    reader.ret(reader.load(I64, reader.function.parameters[0]))

    def used(name: str, *others: Builder) -> int:
        b = Builder("p")
        place = b.local(8, "place")
        first = b.local(1000, "first", zero=True)
        if name == "store":
            b.store(first, place)
        else:
            b.call(name, *([first, place] if name == "keeper" else [first]))
        b.helper("get_current_comm", b.local(600, "second"), b.i64(16))
        return passes.run(module(b.finish(), *(o.finish() for o in others))).maps[-1].value_size

    assert used("store") == 1600
    assert used("keeper", keeper) == 1600
    assert used("reader", reader) == 1000


def test_functions_on_one_chain_of_calls_have_memory_of_their_own() -> None:
    def caller(name: str, size: int, *callees: str) -> Builder:
        b = Builder(name, (Ptr(Space.CTX),))
        b.helper("get_current_comm", b.local(size, name), b.i64(16))
        for callee in callees:
            b.call(callee, b.context)
        return b

    functions = [caller("a", 200), caller("b", 300, "c"), caller("c", 400), caller("d", 500)]
    top = caller("p", 1000, "a", "b", "d")
    spec = passes.run(module(top.finish(), *(x.finish() for x in functions)))
    assert spec.maps[-1].value_size == 1000 + 304 + 400
