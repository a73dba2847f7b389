from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.unit.frontends.bcc_c.fixture import FixtureTarget

from trapline.bcc.compiling import compile_text
from trapline.source import Source


def test_the_index_of_types_is_kept_for_the_next_script() -> None:
    saved = []

    class Target(FixtureTarget):
        def save_index(self) -> None:
            saved.append(self.identity)

    machine: Any = SimpleNamespace(target=Target())
    compile_text(Source("test.c", "int f(void *ctx) { return 0; }"), machine)
    assert saved == ["fixture"]
