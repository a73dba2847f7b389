"""What is generated is what its generator writes."""

from __future__ import annotations

import pytest
from tools.develop import native_code
from tools.develop.reference import REFERENCE, make_reference

from trapline.codegen.llvm import version
from trapline.frontends.bpftrace.aggregates import AGGREGATES
from trapline.frontends.bpftrace.builtins import BUILTINS
from trapline.frontends.bpftrace.functions import FUNCTIONS
from trapline.frontends.bpftrace.parse_attach_points import _ALIASES, PROVIDERS
from trapline.frontends.bpftrace.provider_rows import PROVIDER_ROWS


def test_system_calls() -> None:
    pytest.importorskip("ziglang")
    from tools.develop.syscall_tables import GENERATED, make_module

    assert GENERATED.read_text() == make_module(), "python -m tools.develop.syscall_tables --write"


def test_reference() -> None:
    assert REFERENCE.read_text() == make_reference(), "python -m tools.develop.reference --write"


def test_every_kind_of_probe_has_a_row() -> None:
    assert {row.name for row in PROVIDER_ROWS} == set(PROVIDERS)
    aliases = {alias: row.name for row in PROVIDER_ROWS for alias in row.aliases}
    old = {"BEGIN": "begin", "END": "end", "U": "usdt"}
    assert aliases == {**_ALIASES, **old}


def test_every_row_is_complete() -> None:
    for builtin in BUILTINS.values():
        assert builtin.doc and builtin.gives, builtin.name
    for row in [*FUNCTIONS.values(), *AGGREGATES.values()]:
        signature, _, purpose = row.doc.partition("): ")
        if row.doc != "not supported yet" and not row.name.startswith("__"):
            assert f"{row.name}(" in signature and purpose, row.name


@pytest.mark.parametrize("generated", native_code.GENERATED, ids=lambda generated: generated.origin)
def test_native_code_is_what_llvm_makes_of_it(generated: native_code.Generated) -> None:
    # Another LLVM may choose other instructions; the unit tests run what it makes.
    if f'LLVM = "{version()}"' in generated.path.read_text():
        assert generated.path.read_text() == generated.make(), "python -m tools.develop.native_code --write"
