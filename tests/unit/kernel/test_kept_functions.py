"""The kept lists of functions are used while kernel and modules are the same, and read anew when they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trapline.errors import TargetError
from trapline.kernel import probes
from trapline.kernel.probes import ProbeCatalogue
from trapline.syscall import machine
from trapline.syscall.kallsyms import SymbolTable
from trapline.syscall.machine import Module

_LISTED = {"": ["vfs_write", "vfs_read", "banned", "rcu_read", "do_it.part.0"], "ext4": ["vfs_read", "ext4_sync"]}
_FOUND = [("ext4", "ext4_sync"), ("ext4", "vfs_read"), ("vmlinux", "vfs_read"), ("vmlinux", "vfs_write")]


class Kernel:
    """A kernel whose list of functions is counted when it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.listed = _LISTED
        self.modules = [Module("ext4", 4096, 0, 77)]
        self.on_read: Callable[[], None] = lambda: None
        self.kept: dict[str, bytes] = {}

    def read(self, path: str = "") -> dict[str, list[str]]:
        self.reads += 1
        self.on_read()
        return {module: [*names] for module, names in self.listed.items()}

    def catalogue(self) -> ProbeCatalogue:
        symbols = SymbolTable("ffffffff81000000 T from_symbols\n")
        return ProbeCatalogue(lambda: symbols, load=self.kept.get, save=self.kept.__setitem__)

    def run(self) -> list[tuple[str, str]]:
        """Return the functions as a process sees them that then keeps what it read."""
        catalogue = self.catalogue()
        found = catalogue.match_functions("*")
        catalogue.keep()
        return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(probes, "read_functions_by_module", kernel.read)
    monkeypatch.setattr(probes, "read_blacklisted_names", lambda: frozenset({"banned"}))
    monkeypatch.setattr(machine, "loaded_modules", lambda: kernel.modules)
    return kernel


def test_they_are_read_once(kernel: Kernel) -> None:
    assert kernel.run() == _FOUND
    assert kernel.run() == _FOUND
    assert kernel.catalogue().function_names("*") == ["ext4_sync", "vfs_read", "vfs_write"]
    assert kernel.reads == 1


@pytest.mark.parametrize(
    "modules",
    [
        [],
        [Module("ext4", 4096, 0, 78)],
        [Module("ext4", 8192, 0, 77)],
        [Module("ext4", 4096, 0, 77), Module("xfs", 1, 0)],
    ],
)
def test_they_are_read_again_when_a_module_came_or_went(kernel: Kernel, modules: list[Module]) -> None:
    kernel.run()
    kernel.modules = modules
    kernel.listed = {"": ["other"]}
    assert kernel.run() == [("vmlinux", "other")]


def test_they_are_read_again_after_a_boot(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.run()
    monkeypatch.setattr(machine, "boot_id", lambda: "another")
    kernel.run()
    assert kernel.reads == 2


def test_they_are_not_kept_when_a_module_came_meanwhile(kernel: Kernel) -> None:
    kernel.on_read = lambda: kernel.modules.append(Module("xfs", 1, 0))
    assert kernel.run() == _FOUND
    assert not kernel.kept


def test_symbols_in_their_place_are_not_kept(kernel: Kernel) -> None:
    def fail() -> None:
        raise TargetError("tracefs is not mounted")

    kernel.on_read = fail
    assert kernel.run() == [("vmlinux", "from_symbols")]
    assert not kernel.kept


@pytest.mark.parametrize("blob", [b"", b"\xff\n\n", b"trapline-functions-1 0123\n\nvmlinux\nhostile"])
def test_what_does_not_fit_is_not_used(kernel: Kernel, blob: bytes) -> None:
    kernel.kept["functions"] = blob
    assert kernel.run() == _FOUND
