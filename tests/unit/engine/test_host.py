"""The running kernel is one object for the process until its modules change."""

from __future__ import annotations

import pytest

from trapline.engine.host import forget_target, live_target
from trapline.syscall import machine


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAPLINE_CACHE", "off")
    forget_target()


def test_callers_share_it_until_a_module_comes_or_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {("kvm", 7)}
    monkeypatch.setattr(machine, "module_instances", lambda: frozenset(loaded))
    first = live_target()
    assert live_target() is first
    loaded.add(("dummy", 8))
    second = live_target()
    assert second is not first and live_target() is second
    loaded.remove(("kvm", 7))
    loaded.add(("kvm", 9))  # unloaded and loaded again
    assert live_target() is not second
    forget_target()


def test_every_loaded_module_has_its_instance() -> None:
    assert {(module.name, module.instance) for module in machine.loaded_modules()} <= machine.module_instances()
    assert machine.module_instances() == machine.module_instances()
