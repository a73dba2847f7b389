"""The public names are those that ``trapline.__all__`` lists: each exists and is documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import trapline

REPO = Path(__file__).resolve().parents[2]


def public_names() -> set[str]:
    """Return the names that the package shows besides its own submodules."""
    return {
        name
        for name, value in vars(trapline).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "") != "__future__"
        and name not in ("Any", "TYPE_CHECKING")
    }


def test_all_lists_what_is_public() -> None:
    listed = {name for name in getattr(trapline, "__all__", ()) if not name.startswith("_")}
    for name in listed:
        getattr(trapline, name)  # A lazily loaded name becomes an attribute here.
    assert public_names() <= listed


def test_every_public_name_has_a_docstring() -> None:
    for name in getattr(trapline, "__all__", ()):
        value = getattr(trapline, name)
        if callable(value):
            assert (inspect.getdoc(value) or "").strip(), name


def test_the_reference_names_every_public_name() -> None:
    reference = REPO / "docs" / "api.md"
    if reference.exists():
        text = reference.read_text()
        for name in getattr(trapline, "__all__", ()):
            assert name.startswith("__") or re.search(rf"\b{name}\b", text), f"docs/api.md does not mention {name}"
