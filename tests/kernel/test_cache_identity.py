"""What a kept program depends on is in the target's identity, or counts as a volatile answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trapline.engine.cache import Cache
from trapline.engine.compile import Translated, compile_source
from trapline.frontends.bpftrace.compile import compile_program
from trapline.frontends.bpftrace.config import CompileOptions
from trapline.kernel.target import LiveTarget
from trapline.source import Source
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
    assert target.volatile_answers == 0
    target.bpf_functions("*", "no_such_function")
    assert target.volatile_answers == 1


def test_only_the_program_that_depends_on_them_is_not_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    target, cache = LiveTarget(), Cache(str(tmp_path / "cache"))

    def compile_it(text: str, *, asks: bool) -> int:
        def front_end(source: Source, target: Any) -> Translated:
            if asks:
                target.bpf_functions("*", "no_such_function")
            return Translated(compile_program(source, target, CompileOptions()).module)

        compile_source(Source("test", text), front_end, target, cache=cache)
        return len(list((tmp_path / "cache").glob("*")))

    assert compile_it("BEGIN { exit(); }", asks=True) == 0
    assert compile_it("BEGIN { exit(); }", asks=False) == 1
    assert compile_it("END { exit(); }", asks=True) == 1
