"""The native scan of types finds what Python's finds, and leaves malformed types to it."""

from __future__ import annotations

import random
from array import array
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden.bpftrace.target import build_btf

from trapline.btf import Btf, Struct
from trapline.btf.index import EXTRA_WORDS, scan_offsets
from trapline.codegen.jit import compile_position_independent
from trapline.errors import DecodeError
from trapline.kernel import type_scan
from trapline.kernel.type_scan import scan_types
from trapline.kernel.type_scan_ir import ENTRY, scan_functions

_KINDS = st.sampled_from(sorted(EXTRA_WORDS))


@cache
def code() -> tuple[bytes, int]:
    return compile_position_independent(scan_functions(), ENTRY)


def scan(types: bytes) -> tuple[list[int], list[int]] | None:
    found = scan_types(memoryview(types), code())
    return None if found is None else (list(found[0]), list(array("I", found[1])))


def encode(kind: int, length: int, name: int) -> bytes:
    fixed, each = EXTRA_WORDS[kind]
    return array("I", [name, kind << 24 | length, 7] + [9] * (fixed + each * length)).tobytes()


@given(st.lists(st.tuples(_KINDS, st.integers(0, 20), st.integers(0, 2**32 - 1))))
def test_types_are_found(rows: list[tuple[int, int, int]]) -> None:
    types = b"".join(encode(*row) for row in rows)
    offsets = scan_offsets(array("I", types))
    assert scan(types) == (list(offsets), [name for _, _, name in rows])


def test_flags_and_large_types() -> None:
    # The top bit is kind_flag; the bits between kind and length are unused.
    types = array("I", [1, 0x84FF0002, 8, *range(6)]).tobytes() + encode(4, 0xFFFF, 2) + encode(12, 0, 3)
    assert scan(types) == (list(scan_offsets(array("I", types))), [1, 2, 3])


@given(st.lists(st.tuples(_KINDS, st.integers(0, 3), st.integers(0, 9)), min_size=1), st.data())
def test_malformed_types_are_left_to_python(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    types = b"".join(encode(*row) for row in rows)
    cut = types[: 4 * data.draw(st.integers(0, len(types) // 4 - 1))]
    for malformed in (cut, types + array("I", [0, 31 << 24, 0]).tobytes(), types + bytes(12)):
        try:
            offsets = scan_offsets(array("I", malformed))
        except DecodeError:
            assert scan(malformed) is None
        else:
            found = scan(malformed)
            assert found is not None and found[0] == list(offsets)


def test_random_bytes_do_no_harm() -> None:
    chooser = random.Random(1)
    for _ in range(300):
        scan(chooser.randbytes(4 * chooser.randrange(60)))


def test_a_store_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = build_btf()
    slow, fast = Btf(data), Btf(data, scan=lambda types: scan_types(types, code()))
    assert fast.index_bytes() == slow.index_bytes()
    assert Btf(data, scan=lambda types: scan_types(types, code())).find("task_struct", Struct) == slow.find(
        "task_struct", Struct
    )


def test_what_comes_with_trapline_scans_a_large_section(monkeypatch: pytest.MonkeyPatch) -> None:
    types = encode(4, 5, 1) * 2000
    found = scan_types(memoryview(types))
    if type_scan.os.uname().machine in type_scan.CODE:
        assert found is not None and list(found[0]) == list(scan_offsets(array("I", types)))
    monkeypatch.setattr(type_scan, "CODE", {})
    assert scan_types(memoryview(types)) is None


def test_where_no_such_code_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(type_scan, "MachineCode", refuse)
    assert scan(encode(4, 5, 1)) is None
