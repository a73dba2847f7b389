"""What every conformance test does: kernel tests, with a compile cache of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# What needs no kernel probe is compared with the peer on the host: a guest is 20 times slower.
_HOST_ONLY = ["test_differential.py", "test_differential_types.py", "test_peer_errors.py", "test_cache_states.py"]
collect_ignore = _HOST_ONLY if os.environ.get("TRAPLINE_GUEST") else []


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile every program anew: the user's cache may hold what an older compiler made."""
    before = os.environ.get("TRAPLINE_CACHE")
    os.environ["TRAPLINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["TRAPLINE_CACHE"]
    else:
        os.environ["TRAPLINE_CACHE"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Treat everything here as kernel tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("kernel") is None:
            item.add_marker(pytest.mark.kernel)
