"""Verifier logs, in the user's terms."""

from __future__ import annotations

import errno

import pytest

from trapline.errors import KernelError, VerifierError
from trapline.ir.spec import MapRef, ObjectProgram
from trapline.kernel.verifier import explain_rejection, parse_log, span_of_instruction

_HEAD = "0: R1=ctx(off=0,imm=0) R10=fp0\n"
_TAIL = "\nprocessed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("R1 invalid mem access 'scalar'", "plain number"),
        ("R1 invalid mem access 'inv'", "plain number"),
        ("R0 invalid mem access 'map_value_or_null'", "may be null"),
        (
            "invalid access to map value, value_size=8 off=8 size=4\nR0 min value is outside of the memory range",
            "4 bytes at offset 8 of a value of 8 bytes",
        ),
        ("R2 unbounded memory access, use 'var &= const' or 'if (var < const)'", "bounds"),
        ("R2 min value is negative, either use unsigned or 'var &= const'", "bounds"),
        ("combined stack size of 2 calls is 544. Too large", "544 bytes of stack"),
        ("invalid write to stack R10 off=-520 size=8", "512 bytes of stack (8 bytes at offset -520)"),
        ("invalid read from stack off -16+0 size 8", "never written"),
        ("invalid indirect read from stack R2 off -16+0 size 8", "never written"),
        ("invalid unbounded variable-offset write to stack R1", "local array"),
        ("Unreleased reference id=2 alloc_insn=7", "not released"),
        ("unknown func bpf_override_return#58", "bpf_override_return"),
        ("program of this type cannot use helper bpf_skb_output#111", "bpf_skb_output"),
        ("program of this type cannot use helper bpf_probe_write_user#36", "write user memory"),
        ("invalid func unknown#9999", "helper number 9999"),
        ("BPF program is too large. Processed 1000001 insn", "too complex"),
        ("back-edge from insn 9 to 4", "loop ends"),
        ("infinite loop detected at insn 4", "loop ends"),
        ("dereference of modified ctx ptr R1 off=8 disallowed", "context"),
        ("invalid bpf_context access off=400 size=8", "8 bytes at offset 400"),
        ("misaligned stack access off (0x0; 0x0)+-9+0 size 8", "misaligned"),
        ("R3 !read_ok", "never set"),
        ("R1 type=scalar expected=fp, pkt, map_value", "wrong kind"),
        ("calling kernel function bpf_task_from_pid is not allowed", "bpf_task_from_pid"),
        ("cannot call GPL-restricted function from non-GPL compatible program", "GPL"),
    ],
)
def test_common_rejections(last: str, words: str) -> None:
    found = parse_log(f"{_HEAD}0: (bf) r6 = r1\n1: (79) r0 = *(u64 *)(r1 +0)\n{last}{_TAIL}")
    assert words in found.message
    assert found.reason in last


def test_the_place_is_the_last_instruction() -> None:
    found = parse_log(
        f"{_HEAD}0: (bf) r6 = r1 ; R1=ctx() R6_w=ctx()\n12: (79) r0 = *(u64 *)(r1 +0)\nR1 !read_ok{_TAIL}"
    )
    assert (found.instruction, found.text) == (12, "r0 = *(u64 *)(r1 +0)")


def test_messages_that_name_their_place_win() -> None:
    assert parse_log(f"{_HEAD}20: (95) exit\nUnreleased reference id=2 alloc_insn=7{_TAIL}").instruction == 7
    assert parse_log(f"{_HEAD}20: (95) exit\nback-edge from insn 9 to 4{_TAIL}").instruction == 9


def test_states_and_source_lines_are_no_reasons() -> None:
    log = f"{_HEAD}; int x = *p; @ a.c:3\n3: (61) r1 = *(u32 *)(r2 +0)\nR2 invalid mem access 'scalar'{_TAIL}"
    assert parse_log(log).reason == "R2 invalid mem access 'scalar'"


def test_what_is_unknown_is_quoted() -> None:
    found = parse_log(f"{_HEAD}3: (61) r1 = *(u32 *)(r2 +0)\nsomething new happened{_TAIL}")
    assert found.message == found.reason == "something new happened"


def _program(**more: object) -> ObjectProgram:
    return ObjectProgram("p", "KPROBE", bytes(80), label="kprobe:f", span=(0, 50), **more)  # type: ignore[arg-type]


def test_spans_cover_from_their_instruction_on() -> None:
    program = _program(spans=((0, 1, 2), (4, 10, 20), (8, 30, 40)))
    assert [span_of_instruction(program, i) for i in (0, 3, 4, 7, 8, 99)] == [
        (1, 2), (1, 2), (10, 20), (10, 20), (30, 40), (30, 40)
    ]  # fmt: skip
    assert span_of_instruction(program, None) == (0, 50)
    assert span_of_instruction(_program(), 3) == (0, 50)


def test_a_rejection_points_at_the_source_and_keeps_the_log() -> None:
    log = f"{_HEAD}4: (61) r1 = *(u32 *)(r2 +0)\nR2 invalid mem access 'scalar'{_TAIL}"
    error = explain_rejection(_program(spans=((0, 1, 2), (4, 10, 20))), log, 13)
    assert isinstance(error, VerifierError)
    assert (error.span, error.instruction, error.log, error.errno) == ((10, 20), 4, log, 13)
    assert error.message.startswith("the kernel rejected kprobe:f: memory is accessed through a plain number")
    assert error.hint is not None


def test_too_many_maps_are_counted_where_the_kernel_is_silent() -> None:
    many = tuple(MapRef(i, f"@{i % 65}") for i in range(130))
    error = explain_rejection(_program(map_refs=many), _TAIL, errno.E2BIG)
    assert "it uses 65 maps" in error.message and "several probes" in (error.hint or "")
    assert "maps" not in explain_rejection(_program(map_refs=many[:64]), _TAIL, errno.E2BIG).message


def test_without_a_log_it_is_no_verifier_error() -> None:
    error = explain_rejection(_program(), "", 7)
    assert isinstance(error, KernelError) and not isinstance(error, VerifierError)
    assert "10 instructions" in error.message
