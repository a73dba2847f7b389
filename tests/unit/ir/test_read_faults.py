"""Failing reads are counted only when a module asks for it, each at its place."""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir import passes
from trapline.ir.builder import Builder
from trapline.ir.check import check_module
from trapline.ir.spec import FAULTS, FaultSite, ModuleSpec, ProgramSpec
from trapline.ir.types import I32, I64, Space


def make_module(*, report: bool) -> ModuleSpec:
    b = Builder("p")
    with b.at((3, 9)):
        first = b.load(I32, b.to_pointer(b.i64(16), Space.KERNEL))
    with b.at((12, 14)):
        b.helper("probe_read_user_str", b.local(8), b.i32(8), b.to_pointer(b.i64(16), Space.USER))
        b.load(I64, b.to_pointer(b.i64(24), Space.USER))
    b.ret(b.resize(first, I64, signed=True))
    program = ProgramSpec("p", "KPROBE", b.finish())
    return ModuleSpec("stdin", " " * 20, (program,), report_reads=report)


def lookups(module: ModuleSpec) -> list[f.Helper]:
    return [op for op in module.programs[0].function.ops() if isinstance(op, f.Helper) and "lookup" in op.name]


def test_nothing_is_added_unasked() -> None:
    result = passes.run(make_module(report=False))
    assert result.faults == () and not lookups(result)


def test_each_read_is_a_site() -> None:
    result = passes.run(make_module(report=True))
    check_module(result)
    assert result.faults == (
        FaultSite("helper", "probe_read_kernel", (3, 9), False),
        FaultSite("helper", "probe_read_user_str", (12, 14), False),
        FaultSite("helper", "probe_read_user", (12, 14), False),
    )
    assert [m.max_entries for m in result.maps if m.name == FAULTS] == [3]
    assert [op.span for op in lookups(result)] == [(3, 9), (12, 14), (12, 14)]
