"""Makes ``import bcc`` find trapline's modules; nothing named bcc is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# What scripts import → the module that is it.
ALIASES = {
    "bcc": "trapline.bcc",
    "bcc.containers": "trapline.bcc.containers",
    "bcc.exec": "trapline.bcc.exec",
    "bcc.libbcc": "trapline.bcc.libbcc",
    "bcc.perf": "trapline.bcc.perf_events",
    "bcc.syscall": "trapline.bcc.syscall",
    "bcc.table": "trapline.bcc.table",
    "bcc.tcp": "trapline.bcc.tcp",
    "bcc.usdt": "trapline.bcc.usdt",
    "bcc.utils": "trapline.bcc.utils",
    "bcc.version": "trapline.bcc.version",
}
_PREFIX = "bcc."


# Neither derives from importlib.abc's classes, which add nothing and import a quarter of the standard library.
class _AliasLoader:
    """Gives an existing module another name."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._own: tuple[ModuleSpec | None, object] = (None, None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that is meant."""
        module = importlib.import_module(self._target)
        self._own = (module.__spec__, module.__loader__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system wrote into the module: it was executed under its own name."""
        module.__spec__, module.__loader__ = self._own  # type: ignore[assignment]


class _AliasFinder:
    """Finds ``bcc`` and its modules, and says which of them trapline does not have."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of an alias, ``None`` for all other modules."""
        if fullname in ALIASES:
            real = ALIASES[fullname]
            return ModuleSpec(fullname, _AliasLoader(real), is_package=fullname == "bcc")  # type: ignore[arg-type]
        if fullname.startswith(_PREFIX):
            known = ", ".join(sorted(ALIASES))
            raise ModuleNotFoundError(f"trapline has no module {fullname!r} (it has {known})", name=fullname)
        return None


def install() -> None:
    """Make ``import bcc`` and ``from bcc import BPF`` give trapline's modules from now on, in this process.

    A package named bcc that is installed is hidden, but not when it was imported before.
    """
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())


def uninstall() -> None:
    """Undo `install`; modules that were imported stay as they are."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AliasFinder)]
