"""Every module is small, says what it is for, and keeps the rules that a linter does not know."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCE = REPO / "src" / "trapline"
CAP = 600
# Modules that may be longer. It is empty, and is to stay so.
LONGER: set[str] = set()
FORBIDDEN_NAMES = {"util", "utils", "misc", "common", "helpers"}

MODULES = sorted(path for top in ("src", "tools", "tests") for path in (REPO / top).rglob("*.py"))
PACKAGE_MODULES = [path for path in MODULES if SOURCE in path.parents]


def name(path: Path) -> str:
    return str(path.relative_to(REPO))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_module_is_within_the_cap(path: Path) -> None:
    if path.name.startswith("_generated_") or name(path) in LONGER:
        return
    assert len(path.read_text().splitlines()) <= CAP


def test_nothing_is_allowed_to_be_longer() -> None:
    assert not LONGER


# trapline.bcc.utils carries the name that BCC scripts import (`from bcc.utils import …`).
@pytest.mark.parametrize(
    "path", [path for path in PACKAGE_MODULES if name(path) != "src/trapline/bcc/utils.py"], ids=name
)
def test_module_name_says_a_duty(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", PACKAGE_MODULES, ids=name)
def test_docstrings_are_finished(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node) or ""
            assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", text), f"line {node.lineno}"


@pytest.mark.parametrize("path", PACKAGE_MODULES, ids=name)
def test_errors_are_precise(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            assert caught not in ("", "Exception"), f"line {node.lineno} catches everything"
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = ast.unparse(node.exc).partition("(")[0]
            assert raised not in ("Exception", "BaseException"), f"line {node.lineno} raises a bare Exception"
