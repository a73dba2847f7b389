"""Patching of references, without a kernel."""

from __future__ import annotations

import pytest

from trapline.abi.assembler import R1, R2, Assembler
from trapline.abi.instructions import decode_instructions
from trapline.errors import InternalError
from trapline.ir.spec import KfuncRef, MapRef, ObjectProgram
from trapline.kernel.program import LoadOptions, expected_attach_type, patch_references


def _code() -> bytes:
    return Assembler().load_imm64(R1, 0).load_imm64(R2, 16 << 32).call_kfunc(0).exit().assemble()


def test_map_descriptors_are_filled_in() -> None:
    spec = ObjectProgram("p", "KPROBE", _code(), (MapRef(0, "a"), MapRef(2, "b", value=True)))
    found = [i for _, i in decode_instructions(patch_references(spec, LoadOptions(map_fds={"a": 7, "b": 9})))]
    assert (found[0].src, found[0].imm) == (1, 7)
    assert (found[1].src, found[1].imm) == (2, 9 | 16 << 32)  # the offset into the value stays


def test_kernel_functions_are_filled_in() -> None:
    spec = ObjectProgram("p", "KPROBE", _code(), kfunc_refs=(KfuncRef(4, "f"),))
    found = [i for _, i in decode_instructions(patch_references(spec, LoadOptions(kfuncs={"f": (1234, 0)})))]
    assert (found[2].src, found[2].imm) == (2, 1234)


def test_an_unknown_map_is_our_bug() -> None:
    with pytest.raises(InternalError, match="nothing"):
        patch_references(ObjectProgram("p", "KPROBE", _code(), (MapRef(0, "nothing"),)), LoadOptions())


def test_attach_types_by_name() -> None:
    assert expected_attach_type(ObjectProgram("p", "KPROBE", b"")) == 0
    for name in ("TRACE_KPROBE_MULTI", "BPF_TRACE_KPROBE_MULTI"):
        assert expected_attach_type(ObjectProgram("p", "KPROBE", b"", expected_attach=name)) == 42
    with pytest.raises(InternalError):
        expected_attach_type(ObjectProgram("p", "KPROBE", b"", expected_attach="NOTHING"))
