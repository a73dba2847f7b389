"""What is generated is what its generator writes."""

from __future__ import annotations

import pytest


def test_system_calls() -> None:
    pytest.importorskip("ziglang")
    from tools.develop.syscall_tables import GENERATED, make_module

    assert GENERATED.read_text() == make_module(), "python -m tools.develop.syscall_tables --write"
