"""The machine that kernel tests run on is what they take it for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.harness.features import FEATURES, PEERS, has_feature
from tests.harness.leaks import find_leaks, take_snapshot
from tests.harness.shares import EVERY_GUEST_HAS


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_feature_probe_is_certain(name: str) -> None:
    if name == "no_lockdown" and not Path("/sys/kernel/security").is_mount():
        pytest.skip("lacks securityfs")
    assert has_feature(name) is not None


@pytest.mark.needs("kprobes")
def test_debian_kernels_have_what_the_tests_rely_on() -> None:
    if not os.environ.get("TRAPLINE_GUEST"):
        pytest.skip("lacks the guest's guarantees")
    expected = {"no_lockdown", "module_btf", *EVERY_GUEST_HAS}
    if not os.uname().release.startswith("6.1."):
        expected |= {"kprobe_multi", "kprobe_session"}
    assert {name for name in expected if not has_feature(name)} == set()


def test_the_leak_check_sees_a_descriptor() -> None:
    before = take_snapshot(whole_kernel=False)
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        assert [leak for leak in find_leaks(before, whole_kernel=False) if leak.startswith(f"descriptor {fd} ")]
    finally:
        os.close(fd)
    assert find_leaks(before, whole_kernel=False) == []


@pytest.mark.needs("bpftool", "tracefs")
def test_the_leak_check_sees_a_map() -> None:
    before = take_snapshot(whole_kernel=True)
    pinned = Path("/sys/fs/bpf/trapline_leak_check")
    if not pinned.parent.is_mount():
        pytest.skip("lacks a mounted bpf file system")
    create = f"bpftool map create {pinned} type array key 4 value 4 entries 1 name leak_check"
    subprocess.run(create.split(), check=True, timeout=60, env={"PATH": "/usr/sbin:/usr/bin"})
    try:
        assert [leak for leak in find_leaks(before, whole_kernel=True, patience_s=0.2) if leak.startswith("map ")]
    finally:
        pinned.unlink()


@pytest.mark.needs("kprobes", "bpftrace_peer")
def test_the_peer_runs() -> None:
    if not os.environ.get("TRAPLINE_GUEST"):
        pytest.skip("lacks a guest to run the peer in")
    from tests.harness.peers import run_peer

    done = run_peer(
        ["bpftrace", "-e", 'kprobe:do_nanosleep { printf("x\\n"); exit(); }', "-c", "sleep 0.1"], timeout_s=200
    )
    assert (done.returncode, done.stdout.strip()) == (0, b"x"), done.stderr
    assert PEERS.is_dir()
