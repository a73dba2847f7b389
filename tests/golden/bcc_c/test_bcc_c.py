"""C texts → IR and table descriptions; wrong texts → diagnostics (``TRAPLINE_UPDATE_GOLDEN=1`` rewrites the files)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.frontends.bcc_c.fixture import FixtureTarget

from trapline.errors import SourceError
from trapline.frontends.bcc_c.compile import compile_c
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.ir.printer import format_module
from trapline.source import Source

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.c"))
ERRORS = sorted((HERE / "errors").glob("*.c"))


def compare(path: Path, text: str) -> None:
    if os.environ.get("TRAPLINE_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_program(path: Path) -> None:
    result = compile_c(Source(path.name, path.read_text()), FixtureTarget())
    tables = "".join(f"{table}\n" for table in result.tables.values())
    programs = "".join(f"{program}\n" for program in result.programs.values())
    warnings = "".join(f"{warning.render()}\n" for warning in result.diagnostics)
    compare(path.with_suffix(".ir"), format_module(result.module) + tables + programs + warnings)
    check_module(passes.run(result.module))


@pytest.mark.parametrize("path", ERRORS, ids=lambda p: p.stem)
def test_errors(path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        compile_c(Source(path.name, path.read_text()), FixtureTarget())
    compare(path.with_suffix(".txt"), f"{type(caught.value).__name__}\n{caught.value}\n")
