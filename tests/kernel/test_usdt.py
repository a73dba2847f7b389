"""USDT probes: arguments of every form, semaphores, processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness.limits import scaled
from tests.harness.processes import running
from tests.kernel.test_uprobe import PROGRAMS, TRACED, run, texts

import trapline

pytestmark = [pytest.mark.limit(60), pytest.mark.rows("1.2.31")]


@pytest.mark.parametrize("name", ["traced", "traced-fixed"])
def test_arguments_of_every_form(name: str) -> None:
    path = PROGRAMS / name
    program = f'usdt:{path}:tt:forms {{ printf("%d %d %d %d %d %d", arg0, arg1, arg2, arg3, arg4, arg5) }}'
    # numbers[2] of the loop's first turn; the low bytes of i + 300 and of -i
    assert run(program, str(path)) == [f"-9 9 {(3 + 300) & 0xFF} {-3 & 0xFFFF} 9 0"]


def test_places_with_different_arguments_share_a_program() -> None:
    program = f'usdt:{TRACED}:tt:multi {{ printf("%s %d %d", probe, arg0, arg1) }}'
    with trapline.Session(program, cache=False, command=str(TRACED)) as session:
        assert session.attach() == 1
        assert [event.text for event in session.events()] == [
            f"usdt:{TRACED}:tt:multi 3 0",
            f"usdt:{TRACED}:tt:multi -3 11",
        ]
        assert len(session.engine.spec.programs) == 1


@pytest.mark.rows("1.9.9")
def test_a_semaphore_counts_up_and_down() -> None:
    program = f'usdt:{TRACED}:guarded {{ printf("%d", arg0) }}'

    with running(TRACED, "100000") as pid:
        assert read_semaphore(pid) == 0
        with trapline.Session(program, cache=False) as session:
            session.attach()
            # The kernel counts each mapping of the place once, however many trace it; this small file has several.
            once = read_semaphore(pid)
            assert once > 0
            with trapline.Session(program, cache=False, pid=pid) as second:
                second.attach()
                assert read_semaphore(pid) == once
            assert read_semaphore(pid) == once
            assert next(session.events(timeout=scaled(10))).text == "42"
        assert read_semaphore(pid) == 0


def read_semaphore(pid: int) -> int:
    from trapline.kernel.user_files import UserFiles

    binary = UserFiles().open(str(TRACED))
    assert binary is not None
    symbol = binary.data_symbol("guarded_semaphore")
    assert symbol is not None
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    base = min(int(line.split("-")[0], 16) for line in maps if str(TRACED) in line)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(base + symbol.value)
        return int.from_bytes(memory.read(2), "little")


def test_a_process_by_wildcard_and_by_name() -> None:
    with running(TRACED, "100000") as pid:
        name = f"usdt:/proc/{pid}/root{TRACED}:tt:one"
        for place in ("*:tt:one", "one", "*:one", ":tt:one"):
            assert texts(f'usdt:{place} {{ printf("%s %s", probe, str(arg1)) }}', pid=pid) == [f"{name} text"]


def test_func_of_a_usdt_probe() -> None:
    program = f'usdt:{TRACED}:tt:one {{ printf("%s", func) }}'
    with running(TRACED, "100000") as pid:
        assert texts(program, pid=pid) == ["fire"]
