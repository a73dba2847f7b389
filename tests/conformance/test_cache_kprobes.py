"""A kprobe is traced the same whatever state the cache is in; in a guest, so only in the states that differ most."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.case_files import read_all_cases
from tests.conformance.test_cases import check_case
from tests.harness.cache_states import CacheState, cache_state


@pytest.mark.needs("kprobes", "btf")
@pytest.mark.one_kernel
@pytest.mark.parametrize("name", ["warm", "flipped", "foreign-kernel"])
def test_entry_and_return(name: str, tmp_path: Path) -> None:
    (case,) = (case for case in read_all_cases() if case.name == "entry-and-return-of-one-function")
    state = CacheState(name)
    with cache_state(state):
        check_case(case, tmp_path)
    state.check(kept=1)
