"""Markers, the rules for skipping, the leak check and the time limit that hold for every test."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.harness.cache_states import STATES, CacheState, cache_state, parse_cache_states
from tests.harness.features import FEATURES, INSTALLED, has_feature
from tests.harness.leaks import find_leaks, take_snapshot
from tests.harness.limits import scaled
from tests.harness.results import LACKS, ResultFile
from tests.harness.shares import parse_share, runs_here

# unset: kernel tests run where they can and say why not elsewhere; 1: an obstacle is a failure; 0: they do not run.
MODE = os.environ.get("TRAPLINE_KERNEL_TESTS", "")
REQUIRED = MODE == "1"
IN_GUEST = bool(os.environ.get("TRAPLINE_GUEST"))
DEFAULT_LIMIT_S = 60.0
# Those of --cache-state, with what was done in them.
CACHE_STATES: dict[str, CacheState] = {}


# A loaded machine is no bug; the limit per test catches what hangs.
# What everybody runs (make test) tries the same examples each time; by hand, pytest tests/fuzz looks for new ones.
settings.register_profile("trapline", deadline=None, derandomize=REQUIRED)
settings.load_profile("trapline")


class TestTimeoutError(Exception):
    """A test ran longer than its limit."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run a part of the tests, so that several guests can share a kernel's."""
    parser.addoption("--cache-state", default="", help=f"run in these states of the cache: {','.join(STATES)} or all")
    parser.addoption("--part", default="1/1", help="run part K of N (every Nth test, from the Kth on): 1/2")
    parser.addoption("--share", default="", help="which kernel this is of those that share tests: 6.1:host,6.1,6.12")


def pytest_configure(config: pytest.Config) -> None:
    """Write results where we are told to."""
    for option, parse in (("--cache-state", parse_cache_states), ("--share", parse_share)):
        try:
            parse(config.getoption(option))
        except ValueError as error:
            raise pytest.UsageError(f"{option}: {error}") from None
    if path := os.environ.get("TRAPLINE_RESULTS"):
        config.pluginmanager.register(ResultFile(Path(path)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse unknown features, treat everything under tests/kernel as kernel tests, and keep our share and part."""
    folder = Path(__file__).parent / "kernel"
    for item in items:
        for marker in item.iter_markers("needs"):
            unknown = [name for name in marker.args if name not in FEATURES]
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid} needs {unknown}; tests/harness/features.py has no such row")
        if folder in item.path.parents and item.get_closest_marker("kernel") is None:
            item.add_marker(pytest.mark.kernel)
    if share := parse_share(config.getoption("--share")):
        config.hook.pytest_deselected(items=[item for item in items if not runs_here(item, share)])
        items[:] = [item for item in items if runs_here(item, share)]
    part, parts = (int(number) for number in config.getoption("--part").split("/"))
    items[:] = items[part - 1 :: parts]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each state of the cache that was asked for."""
    if (
        states := parse_cache_states(metafunc.config.getoption("--cache-state"))
    ) and "_cache_state" in metafunc.fixturenames:
        metafunc.parametrize("_cache_state", states, indirect=True)


@pytest.fixture(autouse=True)
def _cache_state(request: pytest.FixtureRequest) -> Iterator[None]:
    if hasattr(request, "param"):
        with cache_state(CACHE_STATES.setdefault(request.param, CacheState(request.param))):
            yield
    else:
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was done to the cache."""
    for state in CACHE_STATES.values():
        terminalreporter.write_line(f"cache state {state.name}: {state.totals}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip only what this kernel certainly lacks; where tests are required, every other obstacle is a failure."""
    if item.get_closest_marker("kernel") is not None:
        if MODE == "0":
            pytest.skip("kernel tests are turned off (TRAPLINE_KERNEL_TESTS=0)")
        if os.geteuid() != 0:
            (pytest.fail if REQUIRED else pytest.skip)("kernel tests need root")
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            if has_feature(name) is False:
                if REQUIRED and name in INSTALLED:
                    pytest.fail(f"{name} is not installed; make setup installs it")
                pytest.skip(f"{LACKS}{name}")


@pytest.fixture(autouse=True)
def _limit_time(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("limit")
    limit = scaled(marker.args[0] if marker else DEFAULT_LIMIT_S)

    def interrupt(_number: int, _frame: object) -> None:
        raise TestTimeoutError(f"the test took longer than {limit:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit)
    # What does not react to the exception (a wait in C) ends the whole run, with every thread's stack.
    faulthandler.dump_traceback_later(limit * 2, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest, _limit_time: None) -> Iterator[None]:
    if request.node.get_closest_marker("kernel") is None:
        yield
        return
    # On a shared machine other people's programs come and go; in a guest or a required run we are alone.
    alone = IN_GUEST or REQUIRED
    before = take_snapshot(whole_kernel=alone)
    yield
    if leaks := find_leaks(before, whole_kernel=alone):
        pytest.fail("left behind: " + "; ".join(leaks))
