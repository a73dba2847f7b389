"""What a kept program depends on is in the target's identity, or makes it volatile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trapline.kernel.target import LiveTarget
from trapline.syscall.tracefs import read_dynamic_events, tracefs_path

_TRACED = Path(__file__).resolve().parents[1] / "programs" / "user" / "traced"


@pytest.mark.needs("tracefs", "uprobes")
def test_events_made_by_hand_are_part_of_the_identity() -> None:
    name = f"trapline_identity/event_{os.getpid()}"

    def write(line: str) -> None:
        # Not open(…, "a"), which seeks to the end: that file has none.
        handle = os.open(f"{tracefs_path()}/uprobe_events", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)

    write(f"p:{name} {_TRACED}:0x1000 first=%di")
    try:
        first = LiveTarget().identity
        assert f"{name} " in read_dynamic_events()
        write(f"-:{name}")
        write(f"p:{name} {_TRACED}:0x1000 first=%di second=%si")  # the same name, other fields
        second = LiveTarget().identity
    finally:
        write(f"-:{name}")
    assert first != second
    assert name not in read_dynamic_events()


def test_a_program_that_depends_on_loaded_ones_is_not_kept() -> None:
    target = LiveTarget()
    assert not target.volatile
    target.bpf_functions("*", "no_such_function")
    assert target.volatile
