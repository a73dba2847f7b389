"""The small modules that tools import: containers, syscall, version."""

import importlib
import os
from types import SimpleNamespace

import pytest

from trapline.bcc.containers import filter_by_containers
from trapline.bcc.importer import install, uninstall
from trapline.bcc.syscall import syscall_name, syscalls


def test_without_containers_everything_passes():
    text = filter_by_containers(SimpleNamespace(cgroupmap=None, mntnsmap=""))
    assert "BPF_TABLE_PINNED" not in text
    assert "static inline int _cgroup_filter() { return 0; }" in text
    assert "static inline int _mntns_filter() { return 0; }" in text


def test_containers_are_pinned_maps():
    text = filter_by_containers(SimpleNamespace(cgroupmap="/sys/fs/bpf/c", mntnsmap="/sys/fs/bpf/m"))
    assert 'BPF_TABLE_PINNED("hash", u64, u64, cgroupset, 1024, "/sys/fs/bpf/c");' in text
    assert 'BPF_TABLE_PINNED("hash", u64, u32, mount_ns_set, 1024, "/sys/fs/bpf/m");' in text
    assert "int container_should_be_filtered()" in text


def test_names_of_system_calls():
    number = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    assert syscalls[number] == syscall_name(number) == b"getpid"
    assert syscall_name(99999) == b"[unknown: 99999]"
    assert 99999 not in syscalls


@pytest.mark.parametrize("name", ["containers", "exec", "perf", "syscall", "table", "tcp", "usdt", "utils", "version"])
def test_modules_can_be_imported(name):
    install()
    try:
        assert importlib.import_module(f"bcc.{name}")
    finally:
        uninstall()
