"""Loading: references, subprograms, rejections in the user's terms, statistics."""

from __future__ import annotations

import signal
import struct

import pytest
from tests.kernel.tiny_objects import RING, record_code, target

from trapline.abi.assembler import R0, R1, R2, R3, R4, R10, Assembler
from trapline.errors import KernelError, VerifierError
from trapline.ir.spec import MapRef, MapSpec, ObjectProgram, ObjectSpec, SubprogramInfo
from trapline.kernel.features import feature_names
from trapline.kernel.object import load_object
from trapline.kernel.program import LoadOptions, Program
from trapline.syscall import bpf


def _load_one(code: bytes, *, type: str = "RAW_TRACEPOINT", **more: object) -> Program:
    return Program.load(ObjectProgram("p", type, code, label="raw:test", **more))  # type: ignore[arg-type]


def test_a_program_runs_and_is_counted() -> None:
    with bpf.enable_stats(), _load_one(Assembler().mov(R0, 42).exit().assemble()) as program:
        assert [program.run() for _ in range(5)] == [42] * 5
        assert program.id > 0
        found = program.statistics()
        assert found.run_count == 5 and found.run_time_ns > 0


def test_a_program_is_loaded_under_a_storm_of_signals() -> None:
    asm = Assembler().mov(R0, 0)
    # The verifier follows each turn, which takes longer than the timer leaves it in peace.
    code = asm.label("again").alu("add", R0, 1).jump("lt", R0, 300_000, "again").exit().assemble()
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        with _load_one(code) as program:
            assert program.run() == 300_000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen and not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_map_values_are_addressed_directly() -> None:
    code = Assembler().load_imm64(R1, 8 << 32).load(8, R0, R1, 0).alu("add", R0, 1).store(8, R1, 0, R0).exit()
    spec = ObjectProgram("p", "RAW_TRACEPOINT", code.assemble(), (MapRef(0, ".data", value=True),))
    data = MapSpec(".data", "ARRAY", 4, 16, 1, initial=struct.pack("<QQ", 5, 99))
    with load_object(ObjectSpec("t", "", (spec,), (data,)), target()) as loaded:
        assert loaded.programs["p"].run() == 100
        assert loaded.maps[".data"].lookup(bytes(4)) == struct.pack("<QQ", 5, 100)


def test_callbacks_are_described_to_the_verifier() -> None:
    asm = Assembler()
    asm.store_imm(8, R10, -8, 0).mov(R1, 10).load_function(R2, "callback").mov_reg(R3, R10).alu("add", R3, -8)
    asm.mov(R4, 0).call("loop").load(8, R0, R10, -8).exit()
    start = asm.label("callback").slot
    asm.load(8, R3, R2, 0).alu_reg("add", R3, R1).store(8, R2, 0, R3).mov(R0, 0).exit()
    spec = ObjectProgram(
        "p", "RAW_TRACEPOINT", asm.assemble(), subprograms=(SubprogramInfo(start, "callback.0", parameters=2),)
    )
    with load_object(ObjectSpec("t", "", (spec,)), target()) as loaded:
        assert loaded.programs["p"].run() == sum(range(10))


def test_a_rejection_points_at_the_source() -> None:
    code = Assembler().mov(R0, 0).mov(R1, 5).load(8, R0, R1, 0).exit().assemble()
    with pytest.raises(VerifierError) as caught:
        _load_one(code, spans=((0, 0, 3), (2, 10, 20)), span=(0, 50))
    error = caught.value
    assert (error.instruction, error.span, error.program) == (2, (10, 20), "p")
    assert "raw:test" in error.message and "plain number" in error.message
    assert "R1 invalid mem access" in error.log and error.errno == 13


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Assembler().store_imm(8, R10, -520, 0).mov(R0, 0).exit(), "512 bytes of stack"),
        (Assembler().mov_reg(R0, R3).exit(), "never set"),
        (Assembler().label("l").mov(R0, 0).jump("eq", R0, 0, "l").exit(), "loop ends"),
        (Assembler().mov(R1, 0).call("override_return").mov(R0, 0).exit(), "override_return"),
        (Assembler().load(8, R0, R1, 4096).exit(), "context"),
    ],
)
def test_rejections_in_the_users_terms(code: Assembler, words: str) -> None:
    with pytest.raises(KernelError) as caught:
        _load_one(code.assemble())
    if words not in caught.value.message:
        assert isinstance(caught.value, VerifierError)
        assert words in caught.value.message, caught.value.log


def test_null_checks_and_bounds() -> None:
    m = MapSpec("@x", "HASH", 4, 8, 1)
    lookup = Assembler().load_imm64(R1, 0).store_imm(4, R10, -4, 0).mov_reg(R2, R10).alu("add", R2, -4)
    lookup.call("map_lookup_elem").load(8, R0, R0, 0).exit()
    spec = ObjectProgram("p", "RAW_TRACEPOINT", lookup.assemble(), (MapRef(0, "@x"),))
    with pytest.raises(VerifierError, match="may be null"):
        load_object(ObjectSpec("t", "", (spec,), (m,)), target())


def test_the_log_of_a_good_program_is_there_on_request() -> None:
    spec = ObjectProgram("p", "RAW_TRACEPOINT", Assembler().mov(R0, 0).exit().assemble())
    with Program.load(spec, LoadOptions(log_level=2)) as program:
        assert "processed" in program.log


def test_a_long_log_is_read_whole() -> None:
    asm = Assembler().mov(R0, 0)
    for i in range(3000):
        asm.alu("add", R0, i)
    asm.load(8, R0, R0, 0).exit()
    with pytest.raises(VerifierError) as caught:
        _load_one(asm.assemble())
    assert caught.value.instruction == 3001 and "processed" in caught.value.log


def test_nothing_is_left_when_one_program_fails() -> None:
    good = ObjectProgram("a", "RAW_TRACEPOINT", record_code(1), (MapRef(0, RING.name),))
    bad = ObjectProgram("b", "RAW_TRACEPOINT", Assembler().exit().assemble())
    with pytest.raises(VerifierError):
        load_object(ObjectSpec("t", "", (good, bad), (RING,)), target())


def test_features_are_certain_here() -> None:
    known = {name: target().features.probe(name) for name in feature_names()}
    for name in ("ringbuf", "bpf_loop", "probe_read_kernel", "attach_cookie", "raw_tracepoint_run", "lpm_trie"):
        assert known[name] is True, name
    assert all(target().has(name) == (answer is True) for name, answer in known.items())
    assert target().has("map:HASH") and target().has("helper:map_lookup_elem")
    with pytest.raises(ValueError, match="unknown feature"):
        target().has("nothing")


@pytest.mark.needs("kprobe_multi")
def test_kprobe_multi_is_found() -> None:
    assert target().has("kprobe_multi")
    # Which of them it is shows in what order return programs run: see test_kprobe_places.py.
    assert target().features.probe("kprobe_multi_returns_last_first") is not None


@pytest.mark.needs("no_kprobe_multi")
def test_missing_kprobe_multi_is_found() -> None:
    assert target().features.probe("kprobe_multi") is False
    assert target().features.probe("kprobe_multi_returns_last_first") is False


@pytest.mark.needs("kprobe_session")
def test_kprobe_session_is_found() -> None:
    assert target().has("kprobe_session") and target().has("link_info_missed")


@pytest.mark.needs("fentry")
def test_trampolines_are_found() -> None:
    assert target().has("fentry") and target().has("fexit") and target().has("d_path")
