"""C semantics against a real compiler, and texts that are not C."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.frontends.bcc_c.c_programs import FIXED, FIXED_NAMES, HEADER, Generator
from tests.unit.frontends.bcc_c.fixture import FixtureTarget, compile_text

from trapline.codegen.jit import NativeCode
from trapline.errors import TraplineError
from trapline.ir.passes.provenance import infer_provenance

_FUNCTIONS = 60
_INPUTS = 8
_INPUT_BYTES = 256
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def _inputs(seed: int) -> list[bytes]:
    random = Random(seed)
    result = [bytes(_INPUT_BYTES)]
    while len(result) < _INPUTS:
        weight = random.random()
        data = bytearray(
            random.choice(_INTERESTING) if random.random() < weight else random.randrange(256)
            for _ in range(_INPUT_BYTES)
        )
        result.append(bytes(data))
    return result


def _peer(text: str, folder: Path) -> ctypes.CDLL:
    source, library = folder / "peer.c", folder / "peer.so"
    source.write_text(text)
    flags = ["-O1", "-fwrapv", "-fno-sanitize=all", "-fno-strict-aliasing", "-shared", "-fPIC", "-w"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.limit(300)
def test_semantics_equal_those_of_a_compiler(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    generator = Generator(seed)
    names = [f"f{i}" for i in range(_FUNCTIONS)]
    bodies = {name: generator.function(name) for name in names}
    _compare(HEADER + "".join(bodies.values()), names, _inputs(seed), tmp_path)


@pytest.mark.limit(300)
def test_objects_jumps_and_tables_equal_those_of_a_compiler(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    _compare(FIXED, FIXED_NAMES, [data for seed in range(4) for data in _inputs(seed)], tmp_path)


def _compare(text: str, names: Sequence[str], inputs: list[bytes], folder: Path) -> None:
    peer = _peer(text, folder)
    module = compile_text(text, target=FixtureTarget(types=False)).module
    infer_provenance(module)
    statics = {m.name: ctypes.create_string_buffer(m.initial, len(m.initial)) for m in module.maps}
    memory_of_maps = {name: ctypes.addressof(buffer) for name, buffer in statics.items()}
    ours = NativeCode([program.function for program in module.programs], memory_of_maps)
    for data in inputs:
        # A _Bool's byte is 0 or 1 in every valid object.
        words = bytearray(data)
        words[_offset_of_bool()] &= 1
        for name in names:
            expected_memory = ctypes.create_string_buffer(bytes(words), _INPUT_BYTES)
            function = getattr(peer, name)
            function.restype = ctypes.c_uint64
            expected = function(expected_memory)
            memory = ctypes.create_string_buffer(bytes(words), _INPUT_BYTES)
            found = ours.call(name, ctypes.addressof(memory)) & (1 << 64) - 1
            if found != expected:
                body = text[text.index(f"long long {name}(") :].split("\n}\n")[0]
                pytest.fail(f"{name} gives {found}, a compiler {expected}, for {bytes(words).hex()}:\n{body}")


def _offset_of_bool() -> int:
    # i8 u8 i16 u16 (pad) i32 u32 i64 u64 l ul, then b
    return 48


_VOCABULARY = """
int f ( ) { } ; , * & struct u32 u64 return if else for while = == + - / % << -> . [ ] 0 1 "s" 'c' BPF_HASH x y ctx
pt_regs lookup update sizeof static inline goto switch case default break # define include < linux/a.h >
"""
_WORDS = st.sampled_from([*_VOCABULARY.split(), "\n"])


_GOLDEN = Path(__file__).parents[1] / "golden/bcc_c/programs"
_PROGRAMS = st.sampled_from([path.read_text() for path in sorted(_GOLDEN.glob("*.c"))])


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_WORDS, max_size=40).map(" ".join) | st.text(max_size=60))
@pytest.mark.limit(300)
def test_any_text_gives_programs_or_a_diagnostic(text: str) -> None:
    try:
        compile_text(text)
    except TraplineError as error:
        assert str(error)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@pytest.mark.limit(300)
def test_a_damaged_program_gives_programs_or_a_diagnostic(data: st.DataObject) -> None:
    text = data.draw(_PROGRAMS)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    text = text[:at] + data.draw(_WORDS | st.just("")) + text[at + cut :]
    try:
        compile_text(text)
    except TraplineError as error:
        assert str(error)
