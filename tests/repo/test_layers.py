"""The layers of docs/architecture.md hold; import-linter checks the imports, this what it cannot see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.repo.table import LIBRARIES, MAY_IMPORT, ONLY_USER, contracts

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

REPO = Path(__file__).resolve().parents[2]
SOURCE = REPO / "src" / "trapline"
MODULES = sorted(SOURCE.rglob("*.py"))


def package_of(path: Path) -> str:
    """Return the row of the table that a module belongs to, or ``""`` for the top of the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    if parts[0] == "frontends" and len(parts) > 2:
        return ".".join(parts[:2])
    return parts[0] if parts[0] in MAY_IMPORT else ""


class WithoutTypeImports(ast.NodeTransformer):
    """Drop ``if TYPE_CHECKING:`` blocks: an annotation uses nothing. (import-linter does look at them.)"""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imported_modules(tree: ast.AST, path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield every imported module with the name taken from it ("" for the module itself) and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = ("trapline", *path.relative_to(SOURCE).parts)[: -node.level]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                yield base, alias.name, node.lineno


def test_import_linter_enforces_the_table() -> None:
    """The contracts in pyproject.toml are those of the table (print contracts() to update them)."""
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert settings["root_packages"] == ["trapline"]
    assert settings["contracts"] == contracts()


def test_every_package_has_a_row() -> None:
    found = {package_of(path) for path in MODULES if path.name == "__init__.py"} - {""}
    assert found | {"errors", "source", "api"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_keeps_to_its_layer(path: Path) -> None:
    tree = WithoutTypeImports().visit(ast.parse(path.read_text()))
    package, file = package_of(path), str(path.relative_to(SOURCE))
    problems = []
    for module, name, line in imported_modules(tree, path):
        owner = ONLY_USER.get(module.partition(".")[0])
        if owner is not None and owner != package:
            problems.append(f"line {line}: {module} is for trapline.{owner} only")
        is_submodule = (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").exists()
        if module == "trapline" and package not in ("", "cli", "bcc") and name != "__version__" and not is_submodule:
            problems.append(f"line {line}: takes {name} from the top of the package")
    for node in ast.walk(tree):
        opens = isinstance(node, ast.Attribute) and node.attr in ("CDLL", "PyDLL", "cdll")
        if opens and package != "syscall" and file not in LIBRARIES:
            problems.append(f"line {node.lineno}: ctypes.{node.attr} is for trapline.syscall and {[*LIBRARIES]} only")
    assert not problems, "\n".join(problems)
