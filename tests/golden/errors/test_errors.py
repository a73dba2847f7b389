"""What wrong programs and command lines are told, over all phases (``TRAPLINE_UPDATE_GOLDEN=1`` rewrites it).

``wrong.txt`` holds one of them a line, behind its phase; ``told.txt`` what trapline says.  What only a kernel can find
(load, attach, run time) is in ``tests/conformance/cases/cli.txt``.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from tests.golden.bpftrace.target import FixtureTarget

from trapline.cli.options import UsageError, parse_arguments
from trapline.errors import SourceError, TraplineError
from trapline.frontends.bpftrace import CompileOptions, compile_program
from trapline.ir import passes
from trapline.source import Source

HERE = Path(__file__).parent
LEAST = 50


def tell(phase: str, text: str) -> str:
    """Return what is said about a wrong program or command line."""
    expected = UsageError if phase == "option" else SourceError
    with pytest.raises(expected) as caught:
        if phase == "option":
            parse_arguments(shlex.split(text))
        else:
            passes.run(compile_program(Source("stdin", text), FixtureTarget(), CompileOptions()).module)
    error: TraplineError = caught.value
    return str(error)


def test_every_error_says_what_is_wrong_and_where() -> None:
    lines = (HERE / "wrong.txt").read_text().splitlines()
    told = []
    for line in lines:
        phase, _, text = line.partition(" | ")
        told.append(f"# {phase}: {text}\n{tell(phase, text)}\n")
    assert len(lines) >= LEAST
    path = HERE / "told.txt"
    if os.environ.get("TRAPLINE_UPDATE_GOLDEN"):
        path.write_text("\n".join(told))
    assert path.read_text() == "\n".join(told)
