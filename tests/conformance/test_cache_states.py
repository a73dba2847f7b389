"""A program does the same whatever state its cache is in: a few of every sort; ``--cache-state`` runs all so.

Host only: in a guest compiling takes seconds. `test_cache_kprobes` has what the host has not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conformance.body import Body
from tests.conformance.case_files import read_all_cases
from tests.conformance.differential import run_bodies, run_trapline
from tests.conformance.generated import make_bodies
from tests.conformance.generated_loops import make_loop_bodies
from tests.conformance.generated_types import make_type_bodies
from tests.conformance.in_process import Done
from tests.conformance.test_cases import check_case
from tests.harness.cache_states import STATES, CacheState, cache_state, parse_cache_states
from tests.harness.limits import scaled

# With warnings (which the cache keeps), C of its own, types of the kernel, a traced file, an error, a process.
_CASES = (
    "division-by-zero",
    "map-of-tuples",
    "a-C-struct-in-the-script",
    "pointers-of-the-kernel",
    "uprobe-and-uretprobe",
    "undefined-variable",
    "started-as-a-process",
)
_EVERY = 60  # of the generated programs

_SCRIPT = """
import os, sys
from bcc import BPF
b = BPF(text='''
#include <linux/sched.h>
BPF_HASH(counts, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_getuid) {
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u32 pid = task->tgid;
    counts.increment(pid);
    return 0;
}
''')
for _ in range(5):
    os.getuid()
print([leaf.value for key, leaf in b["counts"].items() if key.value == os.getpid()])
sys.exit(3)
"""


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> CacheState:
    return CacheState(request.param)


@pytest.mark.needs("btf", "tracefs", "uprobes")
@pytest.mark.limit(200)
def test_cases(state: CacheState, tmp_path: Path) -> None:
    cases = {case.name: case for case in read_all_cases()}
    with cache_state(state):
        for case in map(cases.__getitem__, _CASES):
            folder = tmp_path / case.name
            folder.mkdir()
            check_case(case, folder)
    state.check(kept=len(_CASES) - 1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return run_bodies(run_trapline(tmp_path_factory.mktemp("expected")), _bodies())


def _bodies() -> list[Body]:
    return [*make_bodies(), *make_loop_bodies(), *make_type_bodies()][::_EVERY]


@pytest.mark.needs("btf", "tracefs")
@pytest.mark.limit(200)
def test_generated_programs(state: CacheState, expected: list[str], tmp_path: Path) -> None:
    with cache_state(state):
        assert run_bodies(run_trapline(tmp_path), _bodies()) == expected
    state.check(kept=1)


@pytest.mark.needs("btf", "tracefs")
@pytest.mark.limit(200)
def test_a_bcc_script(state: CacheState, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)

    def run(environment: Mapping[str, str]) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "trapline", "bcc", str(script)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=scaled(90),
            check=False,
        )
        return Done(done.stdout, done.stderr, done.returncode)

    assert state.run(run, "script", in_process=False) == Done("[5]\n", "", 3)
    state.check(kept=1)


def test_states_are_named() -> None:
    assert parse_cache_states("") == []
    assert parse_cache_states("warm,full") == ["warm", "full"]
    assert parse_cache_states("all") == list(STATES)
    with pytest.raises(ValueError, match="no state 'hot'"):
        parse_cache_states("warm,hot")
