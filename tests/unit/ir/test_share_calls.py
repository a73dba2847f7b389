"""Helpers that return the same all the time are called once, where one call lies on every way to the others."""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.spec import ModuleSpec, ProgramSpec
from trapline.ir.types import I64, Ptr, Space

PID = "get_current_pid_tgid"


def shared(b: Builder) -> list[str]:
    """Run the passes over a program; return the helpers that it calls."""
    module = passes.run(ModuleSpec("stdin", "", (ProgramSpec("p", "KPROBE", b.finish()),)))
    check_module(module)
    return [op.name for op in module.programs[0].function.ops() if isinstance(op, f.Helper)]


def test_one_call_is_enough_on_a_straight_way_and_into_branches() -> None:
    b = Builder("p")
    first = b.helper(PID)
    with b.when(b.truth(first)):
        b.store(b.helper(PID), b.local(8))
    b.ret(b.binary("add", first, b.helper(PID)))
    assert shared(b) == [PID]


def test_a_call_in_a_branch_is_none_behind_it() -> None:
    b = Builder("p")
    with b.when(b.truth(b.helper("ktime_get_ns"))):
        b.store(b.helper(PID), b.local(8))
    b.ret(b.helper(PID))
    assert shared(b) == ["ktime_get_ns", PID, PID]


def test_a_loop_uses_the_call_before_it() -> None:
    b = Builder("p")
    count = b.variable(b.helper(PID), "count")
    head, body, after = (b.new_block(name) for name in ("head", "body", "after"))
    b.jump(head)
    b.start(head)
    b.branch(b.truth(b.load(I64, count)), body, after)
    b.start(body)
    b.store(b.binary("sub", b.load(I64, count), b.helper(PID)), count)
    b.jump(head)
    b.start(after)
    b.ret(b.helper(PID))
    assert shared(b) == [PID]


def test_a_call_inside_a_loop_is_not_known_before_it() -> None:
    b = Builder("p")
    head, body, after = (b.new_block(name) for name in ("head", "body", "after"))
    b.jump(head)
    b.start(head)
    b.branch(b.truth(b.helper("ktime_get_ns")), body, after)
    b.start(body)
    b.store(b.helper(PID), b.local(8))
    b.jump(head)
    b.start(after)
    b.ret(b.helper(PID))
    assert shared(b) == ["ktime_get_ns", PID, PID]


def test_what_can_change_is_called_each_time() -> None:
    b = Builder("p")
    for name in ("ktime_get_ns", "get_smp_processor_id", "get_prandom_u32"):
        b.store(b.binary("add", b.helper(name), b.helper(name)), b.local(8))
    task = b.helper("get_current_task_btf", returns=Ptr(Space.BTF))
    b.ret(b.binary("add", b.load(I64, task), b.helper("get_current_task")))
    assert len(shared(b)) == 8
