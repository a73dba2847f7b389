"""How tests are shared out among kernels: each runs somewhere."""

from __future__ import annotations

import pytest
from tests.harness.shares import HOST, Share, parse_share, runs_here

KERNELS = ("6.1", "6.12", "sid")


def places(request: pytest.FixtureRequest, name: str, *marks: pytest.MarkDecorator) -> list[str]:
    """Return the kernels that run a test of this name and these marks."""
    item = pytest.Function.from_parent(request.node.parent, name=name, callobj=lambda: None)
    for mark in marks:
        item.add_marker(mark)
    return [kernel for kernel in KERNELS if runs_here(item, Share(kernel, KERNELS))]


def test_each_kernel_runs_what_is_not_shared(request: pytest.FixtureRequest) -> None:
    assert places(request, "test_x", pytest.mark.needs("kprobes")) == list(KERNELS)


def test_one_runs_what_is_shared_and_each_gets_some(request: pytest.FixtureRequest) -> None:
    found = [places(request, f"test_x[{number}]", pytest.mark.one_kernel) for number in range(300)]
    assert {len(names) for names in found} == {1}
    for kernel in KERNELS:
        assert 60 < sum(names == [kernel] for names in found) < 140


def test_the_kernels_that_are_named_share_it(request: pytest.FixtureRequest) -> None:
    mark = pytest.mark.one_kernel("6.12", "sid")
    found = {tuple(places(request, f"test_x[{number}]", mark)) for number in range(50)}
    assert found == {("6.12",), ("sid",)}


def test_what_a_kernel_may_lack_runs_on_each(request: pytest.FixtureRequest) -> None:
    marks = (pytest.mark.needs("kprobe_multi"), pytest.mark.one_kernel)
    assert places(request, "test_x", *marks) == list(KERNELS)


def test_the_machine_runs_what_it_can(request: pytest.FixtureRequest) -> None:
    def guests(*marks: pytest.MarkDecorator) -> list[str]:
        item = pytest.Function.from_parent(request.node.parent, name="test_x", callobj=lambda: None)
        for mark in marks:
            item.add_marker(mark)
        return [kernel for kernel in KERNELS if runs_here(item, Share(kernel, (HOST, *KERNELS)))]

    assert guests(pytest.mark.one_kernel, pytest.mark.needs("btf", "tracefs")) == []
    assert len(guests(pytest.mark.one_kernel, pytest.mark.needs("kprobes"))) == 1
    assert guests(pytest.mark.one_kernel("6.1")) == ["6.1"]
    assert guests() == list(KERNELS)


def test_tests_of_one_key_count_as_one(request: pytest.FixtureRequest) -> None:
    mark = pytest.mark.one_kernel(key="opensnoop")
    assert places(request, "test_tool[0.17-opensnoop]", mark) == places(request, "test_tool[0.27-opensnoop]", mark)


def test_one_kernel_alone_runs_all(request: pytest.FixtureRequest) -> None:
    item = pytest.Function.from_parent(request.node.parent, name="test_x", callobj=lambda: None)
    item.add_marker(pytest.mark.one_kernel("6.1"))
    assert runs_here(item, Share("6.12", ("6.12",)))


def test_the_option() -> None:
    assert parse_share("") is None
    assert parse_share("sid:6.1,sid") == Share("sid", ("6.1", "sid"))
    with pytest.raises(ValueError, match="'7' is none of those that share"):
        parse_share("7:6.1,sid")
