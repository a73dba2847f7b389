"""Maps of BCC scripts that other programs, processes and objects share, or that hold kernel objects."""

from __future__ import annotations

import ctypes as ct
import os
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from trapline.bcc import BPF
from trapline.bcc.containers import filter_by_containers
from trapline.bcc.failures import BccError

BPFFS = Path("/sys/fs/bpf")


@pytest.fixture
def pin():
    if not os.path.ismount(BPFFS):
        subprocess.run(["mount", "-t", "bpf", "bpf", str(BPFFS)], check=True)
    path = BPFFS / f"trapline_{uuid.uuid4().hex[:8]}"
    yield path
    path.unlink(missing_ok=True)


PINNED = """
BPF_TABLE_PINNED("hash", u32, u64, counts, 64, "PATH");
TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 zero = 0, *count = counts.lookup_or_try_init(&pid, &zero);
    if (count)
        (*count)++;
    return 0;
}
"""


def test_a_pinned_table_outlives_its_object(pin):
    text = PINNED.replace("PATH", str(pin))
    me = ct.c_uint(os.getpid())
    with BPF(text=text):
        os.getuid()
    assert pin.exists()
    with BPF(text=text.replace(", 64,", ", 1,")) as b:
        os.getuid()
        assert b["counts"][me].value == 2
        assert b["counts"].max_entries == 64
    with pytest.raises(BccError, match=r"does not fit counts: it is a HASH with keys of 4"):
        BPF(text=text.replace("u32, u64, counts", "u64, u64, counts").replace("u32 pid", "u64 pid"))


def test_a_table_cannot_be_pinned_elsewhere(tmp_path):
    with pytest.raises(BccError, match=r"cannot .*pin") as caught:
        BPF(text=PINNED.replace("PATH", str(tmp_path / "x")))
    assert "BPF file system" in caught.value.hint


FILTERED = """
BPF_HASH(seen, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
{
    if (container_should_be_filtered())
        return 0;
    seen.increment(bpf_get_current_pid_tgid() >> 32);
    return 0;
}
"""


@pytest.mark.parametrize("option", ["cgroupmap", "mntnsmap", ""])
def test_filter_by_containers(pin, option):
    options = SimpleNamespace(cgroupmap=None, mntnsmap=None)
    if option:
        setattr(options, option, str(pin))
    with BPF(text=filter_by_containers(options) + FILTERED) as b:
        os.getuid()
        if option == "cgroupmap":
            assert not len(b["seen"])
            b["cgroupset"][ct.c_ulonglong(own_cgroup().stat().st_ino)] = ct.c_ulonglong(0)
        elif option == "mntnsmap":
            assert not len(b["seen"])
            b["mount_ns_set"][ct.c_ulonglong(os.stat("/proc/self/ns/mnt").st_ino)] = ct.c_uint(0)
        b["seen"].clear()
        os.getuid()
        assert b["seen"][ct.c_uint(os.getpid())].value == 1


def own_cgroup():
    root = Path("/sys/fs/cgroup")
    if (root / "unified" / "cgroup.procs").exists():
        root /= "unified"
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return root / next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))


@pytest.mark.parametrize("kind", ['BPF_ARRAY_OF_MAPS(outer, "inner", 4)', 'BPF_HASH_OF_MAPS(outer, int, "inner", 4)'])
def test_maps_of_maps(kind):
    text = f"""
    BPF_ARRAY(inner, u64, 2);
    BPF_ARRAY(second, u64, 2);
    {kind};
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {{
        int key = 1, place = 0;
        void *found = outer.lookup(&key);
        if (!found)
            return 0;
        u64 *count = bpf_map_lookup_elem(found, &place);
        if (count)
            __sync_fetch_and_add(count, 1);
        return 0;
    }}
    """
    with BPF(text=text) as b:
        os.getuid()
        assert b["second"][0].value == 0
        b["outer"][ct.c_int(1)] = ct.c_int(b["second"].get_fd())
        os.getuid()
        counted = b["second"][0].value
        assert counted >= 1
        del b["outer"][ct.c_int(1)]
        os.getuid()
        assert b["second"][0].value == counted
        b["outer"][ct.c_int(1)] = b["inner"]
        os.getuid()
        assert b["inner"][0].value >= 1


def test_tables_of_another_object():
    first = 'BPF_TABLE_PUBLIC("hash", u32, u64, shared_counts, 16);'
    second = """
    BPF_TABLE("extern", u32, u64, shared_counts, 16);
    TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
    {
        u32 pid = bpf_get_current_pid_tgid() >> 32;
        u64 one = 1;
        shared_counts.update(&pid, &one);
        return 0;
    }
    """
    with BPF(text=first) as a, BPF(text=second):
        os.getuid()
        assert a["shared_counts"][ct.c_uint(os.getpid())].value == 1


STORAGE = """
BPF_INODE_STORAGE(inodes, u64);
BPF_TASK_STORAGE(tasks, struct { u32 calls; u32 last; });
BPF_SK_STORAGE(socks, u64);
BPF_DEVMAP(devices, 4);
BPF_CPUMAP(cpus, 4);
BPF_XSKMAP(xsks, 4);
BPF_SOCKMAP(sockets, 4);
BPF_SOCKHASH(hashed, u32, 4);
BPF_XDP_REDIRECT_MAP(redirects, 4);
BPF_CGROUP_STORAGE(cgroups, u64);
BPF_PERCPU_CGROUP_STORAGE(percpu, u64);
BPF_F_TABLE("hash", u32, u32, sparse, 8, BPF_F_NO_PREALLOC);
int nothing(void *ctx) { return 0; }
"""


def test_maps_of_every_kind_are_created():
    with BPF(text=STORAGE) as b:
        types = {name: type(b[name]).__name__ for name in ("devices", "cpus", "xsks", "redirects")}
        assert types == {"devices": "DevMap", "cpus": "CpuMap", "xsks": "XskMap", "redirects": "DevMap"}
        assert b["sparse"].flags == 1
        b["devices"][ct.c_int(2)] = ct.c_int(1)  # lo
        assert {key.value: leaf.value for key, leaf in b["devices"].items()} == {2: 1}
        with open("/proc/self/exe", "rb") as file:
            b["inodes"][ct.c_int(file.fileno())] = ct.c_ulonglong(7)
            assert b["inodes"][ct.c_int(file.fileno())].value == 7


TASKS = """
BPF_TASK_STORAGE(tasks, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_getuid)
{
    u64 zero = 0, *count = tasks.task_storage_get(bpf_get_current_task_btf(), &zero, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (count)
        *count += 1;
    return 0;
}
"""


def test_storage_of_tasks():
    with BPF(text=TASKS) as b:
        for _ in range(3):
            os.getuid()
        pidfd = os.pidfd_open(os.getpid())
        try:
            assert b["tasks"][ct.c_int(pidfd)].value == 3
            del b["tasks"][ct.c_int(pidfd)]
            with pytest.raises(KeyError):
                b["tasks"][ct.c_int(pidfd)]
        finally:
            os.close(pidfd)


def test_a_command_is_held_until_the_tool_is_ready(tmp_path):
    script = tmp_path / "tool.py"
    script.write_text(
        "import sys, time\n"
        "from bcc.exec import run_cmd, cmd_ready, cmd_exited\n"
        "pid = run_cmd(['sh', '-c', 'echo ran'])\n"
        "print('ready', cmd_exited(), flush=True)\n"
        "cmd_ready()\n"
        "while not cmd_exited(): time.sleep(0.01)\n"
        "print('ended', cmd_exited())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "trapline.bcc", str(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["ready", "0", "ran", "ended", "1"]
