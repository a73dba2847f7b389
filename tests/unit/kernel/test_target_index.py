"""The kept index of the kernel's types is used when it fits, and made anew when it does not."""

from __future__ import annotations

import pytest
from tests.golden.bpftrace.target import build_btf

from trapline.btf import Btf, Struct
from trapline.btf.write import BtfBuilder
from trapline.kernel.target import LiveTarget
from trapline.syscall import machine


def _target(kept: dict[str, bytes]) -> LiveTarget:
    return LiveTarget(load=kept.get, save=kept.__setitem__)


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_btf", lambda module="": build_btf())


def test_a_kept_index_is_used() -> None:
    kept: dict[str, bytes] = {}
    first = _target(kept)
    assert first.btf.find("task_struct", Struct)
    first.keep()
    (key,) = kept
    before = kept[key]
    second = _target(kept)
    assert second.btf.find("task_struct", Struct) == first.btf.find("task_struct", Struct)
    kept.clear()
    second.keep()
    assert not kept  # it was not made again
    assert before == second.btf.index_bytes()


@pytest.mark.parametrize("damage", ["another's", "cut off", "empty", "another version's"])
def test_an_index_that_does_not_fit_is_made_anew(damage: str) -> None:
    kept: dict[str, bytes] = {}
    good = _target(kept)
    assert good.btf.find("task_struct", Struct)
    good.keep()
    ((key, index),) = kept.items()
    other = BtfBuilder()
    other.add_struct("task_struct", 4, [("pid", other.add_int("int", 4), 0)])
    kept[key] = {
        "another's": Btf(other.build()).index_bytes(),
        "cut off": index[:-4],
        "empty": b"",
        "another version's": b"TLBTFIX0" + index[8:],
    }[damage]
    target = _target(kept)
    assert target.btf.find("task_struct", Struct) == good.btf.find("task_struct", Struct)
    target.keep()
    assert kept == {key: index}


def test_another_build_of_the_kernel_has_another_index(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, bytes] = {}
    for notes in (b"one", b"another"):
        monkeypatch.setattr(machine, "kernel_notes", lambda notes=notes: notes)
        target = _target(kept)
        assert target.btf.find("task_struct", Struct)
        target.keep()
    assert len(kept) == 2


def test_types_that_were_let_go_are_read_again() -> None:
    kept: dict[str, bytes] = {}
    target = _target(kept)
    first = target.btf
    assert first.find("task_struct", Struct)
    target.release_types()
    assert target.btf is not first
    assert target.btf.find("task_struct", Struct) == first.find("task_struct", Struct)
