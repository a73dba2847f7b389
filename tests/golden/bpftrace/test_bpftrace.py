"""Programs → syntax tree, types and IR; wrong programs → diagnostics (``TRAPLINE_UPDATE_GOLDEN=1`` rewrites them)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.golden.bpftrace.target import FixtureTarget

from trapline.errors import SourceError, UnsupportedError
from trapline.frontends.bpftrace import CompileOptions, compile_program
from trapline.ir import passes
from trapline.ir.check import check_module
from trapline.ir.printer import format_module
from trapline.ir.spec import Event
from trapline.source import Source

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.bt"))
ERRORS = sorted((HERE / "errors").glob("*.bt"))
OPTIONS = CompileOptions(positional=("7", "abc"), unsafe=True)


def compare(path: Path, text: str) -> None:
    if os.environ.get("TRAPLINE_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def format_events(events: tuple[Event, ...]) -> str:
    return "".join(f"event {index} {event}\n" for index, event in enumerate(events))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_program(path: Path) -> None:
    stages: dict[str, str] = {}
    source = Source("stdin", path.read_text().rstrip("\n"))
    result = compile_program(source, FixtureTarget(), OPTIONS, dump=stages.__setitem__)
    compare(path.with_suffix(".ast"), stages["ast"])
    compare(path.with_suffix(".types"), stages["types"])
    warnings = "".join(w.render() + "\n" for w in result.warnings)
    compare(path.with_suffix(".ir"), format_module(result.module) + format_events(result.module.events) + warnings)
    check_module(passes.run(result.module))


@pytest.mark.parametrize("path", ERRORS, ids=lambda p: p.stem)
def test_errors(path: Path) -> None:
    """Each file holds one wrong program a line."""
    found = []
    for line in path.read_text().splitlines():
        with pytest.raises(SourceError) as caught:
            compile_program(Source("stdin", line), FixtureTarget(), CompileOptions())
        assert (path.stem == "unsupported") == isinstance(caught.value, UnsupportedError)
        found.append(str(caught.value))
    compare(path.with_suffix(".txt"), "\n\n".join(found) + "\n")
