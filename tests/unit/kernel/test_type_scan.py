"""The native code that goes through types finds what Python finds, and leaves malformed types to it."""

from __future__ import annotations

import os
import random
from array import array
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.golden.bpftrace.target import build_btf

from trapline.btf import Btf, Enum, Enum64, Enumerator, Struct
from trapline.btf.index import EXTRA_WORDS, scan_offsets
from trapline.btf.write import BtfBuilder
from trapline.codegen.jit import compile_position_independent
from trapline.errors import DecodeError
from trapline.kernel import _generated_scan, type_names_ir, type_scan, type_scan_ir
from trapline.kernel.type_scan import TypeScanner

_KINDS = st.sampled_from(sorted(EXTRA_WORDS))


@cache
def scanner() -> TypeScanner:
    return TypeScanner(
        compile_position_independent(type_scan_ir.scan_functions(), type_scan_ir.ENTRY),
        compile_position_independent(type_names_ir.names_functions(), type_names_ir.ENTRY),
    )


def scan(types: bytes) -> tuple[list[int], list[int]] | None:
    found = scanner().scan(types, range(len(types)))
    return None if found is None else (list(found[0]), list(array("I", found[1])))


def parts(types: bytes, strings: bytes) -> tuple[range, range]:
    return range(len(types)), range(len(types), len(types) + len(strings))


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


def test_a_store_is_the_same() -> None:
    data = build_btf()
    slow, fast = Btf(data), Btf(data, scanner=scanner())
    assert fast.index_bytes() == slow.index_bytes()
    assert Btf(data, scanner=scanner()).find("task_struct", Struct) == slow.find("task_struct", Struct)


_NAMES = st.one_of(st.sampled_from(("a", "task", "")), st.text("abcdefgh_1é", max_size=30))


@given(st.lists(st.tuples(_NAMES, st.lists(_NAMES, max_size=60), st.booleans()), max_size=40))
def test_a_table_of_names_is_the_same(enums: list[tuple[str, list[str], bool]]) -> None:
    builder = BtfBuilder()
    for name, constants, wide in enums:
        values = tuple(Enumerator(constant, value) for value, constant in enumerate(constants))
        builder.add((Enum64 if wide else Enum)(name, 8 if wide else 4, False, values))
        builder.add_int(f"{name}_t", 4)
    slow, fast = Btf(builder.build()), Btf(builder.build(), scanner=scanner())
    assert fast.index_bytes() == slow.index_bytes()
    for constant in {constant for _, constants, _ in enums for constant in constants if constant}:
        owner = next(number for number, (_, constants, _) in enumerate(enums) if constant in constants)
        value = max(value for value, name in enumerate(enums[owner][1]) if name == constant)
        found = fast.enum_constant(constant)
        assert found is not None and found == slow.enum_constant(constant)
        assert found[0] <= value and fast.expect(found[1], Enum, Enum64).name == enums[owner][0]


def test_a_name_outside_of_the_strings_is_left_to_python() -> None:
    types, strings = encode(5, 0, 1) + encode(4, 2, 99), b"\0ab\0"
    found = scanner().scan(types, range(len(types)))
    assert found is not None
    assert scanner().hash_names(types + strings, *parts(types, strings), found[0], 1) is None


def test_many_searches_without_an_index_find_the_same() -> None:
    data = build_btf()
    names = [Btf(data).name_of(type_id) for type_id in Btf(data).ids()]
    slow, fast = Btf(data), Btf(data, scanner=scanner())
    assert [fast.find_all(name) for name in names] == [slow.find_all(name) for name in names]


def test_what_comes_with_trapline_scans_a_large_section(monkeypatch: pytest.MonkeyPatch) -> None:
    types, strings = encode(4, 5, 1) * 2000, b"\0ab\0"
    found = TypeScanner().scan(types, range(len(types)))
    if os.uname().machine in _generated_scan.CODE:
        assert found is not None and list(found[0]) == list(scan_offsets(array("I", types)))
        table = TypeScanner().hash_names(types + strings, *parts(types, strings), found[0], 1)
        assert table is not None and list(table.candidates(b"ab")) == list(range(1, 2001))
    monkeypatch.setattr(_generated_scan, "CODE", {})
    assert TypeScanner().scan(types, range(len(types))) is None


def test_where_no_such_code_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(type_scan, "MachineCode", refuse)
    assert scan(encode(4, 5, 1)) is None
