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


def test_what_the_package_gives():
    from trapline import bcc

    names = "__version__ ArgString Perf PerfEventArray RingBuf StrcmpRewrite Table USDT get_online_cpus lib printb"
    assert all(hasattr(bcc, name) for name in names.split())
    assert bcc._get_num_open_probes() == 0


def test_names_of_system_calls():
    number = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    assert syscalls[number] == syscall_name(number) == b"getpid"
    assert syscall_name(99999) == b"[unknown: 99999]"
    assert 99999 not in syscalls


@pytest.mark.parametrize(
    "name", ["containers", "exec", "libbcc", "perf", "syscall", "table", "tcp", "usdt", "utils", "version"]
)
def test_modules_can_be_imported(name):
    install()
    try:
        assert importlib.import_module(f"bcc.{name}")
    finally:
        uninstall()


def test_the_library():
    from trapline.bcc import lib

    class Table:
        map_fd = 7

    assert lib.bpf_table_fd({b"t": Table()}, b"t") == 7
    assert lib.bpf_table_fd({}, b"t") == -1
    assert lib.bpf_prog_attach(-1, -1, 1, 0) < 0
    assert lib.bpf_prog_detach2(-1, -1, 1) < 0
    with pytest.raises(NotImplementedError, match=r"no bpf_attach_xdp\(\)"):
        lib.bpf_attach_xdp(b"lo", 3, 0)


def test_names_of_map_types():
    from trapline.bcc import table

    assert table.BPF_MAP_TYPE_HASH == 1
    assert (table.stars_max, table.log2_index_max, table.linear_index_max) == (40, 65, 1025)
    assert table.get_json_hist([0, 0, 3], "usecs", ("disk", "sda"))["data"][1]["count"] == 3
    assert table.get_table_type_name(table.BPF_MAP_TYPE_RINGBUF) == "RINGBUF"
    assert table.get_table_type_name(999) == "<unknown>"
    with pytest.raises(AttributeError):
        _ = table.BPF_MAP_TYPE_NOSUCH


def test_attach_types_are_the_kernels():
    from trapline.abi.bpf import ATTACH_TYPES, PROGRAM_TYPES
    from trapline.bcc import BPFAttachType, BPFProgType

    ours = {name: number for name, number in vars(BPFAttachType).items() if not name.startswith("_")}
    assert ours.items() <= ATTACH_TYPES.items()
    assert {n: v for n, v in vars(BPFProgType).items() if not n.startswith("_")}.items() <= PROGRAM_TYPES.items()
