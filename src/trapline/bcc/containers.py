"""C text that keeps a tool's events to some containers (``bcc.containers`` of the scripts)."""

from __future__ import annotations

from trapline.hints import Protocol


class ContainerOptions(Protocol):
    """What the tools' ``--cgroupmap`` and ``--mntnsmap`` gave: paths of pinned maps."""

    cgroupmap: str | None
    mntnsmap: str | None


_EVERYTHING = "static inline int NAME() { return 0; }\n"

_CGROUPS = """
BPF_TABLE_PINNED("hash", u64, u64, cgroupset, 1024, "PATH");
static inline int NAME()
{
    u64 cgroup = bpf_get_current_cgroup_id();
    return cgroupset.lookup(&cgroup) == 0;
}
"""

# The kernel's own struct mnt_namespace is known: no script needs one of its own.
_MOUNTS = """
#define MNT_NAMESPACE_DEFINED
BPF_TABLE_PINNED("hash", u64, u32, mount_ns_set, 1024, "PATH");
static inline int NAME()
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    u64 number = task->nsproxy->mnt_ns->ns.inum;
    return mount_ns_set.lookup(&number) == 0;
}
"""

_BOTH = """
static inline int container_should_be_filtered() { return _cgroup_filter() || _mntns_filter(); }
"""


def filter_by_containers(args: ContainerOptions) -> str:
    """Return C that defines ``container_should_be_filtered()``: whether the current task is in none of the containers.

    Args:
        args: ``cgroupmap`` is a pinned hash whose keys are cgroup ids, ``mntnsmap`` one whose keys are inode numbers
            of mount namespaces; where a path is empty, all tasks pass.
    """
    return (
        _filter(_CGROUPS, "_cgroup_filter", args.cgroupmap) + _filter(_MOUNTS, "_mntns_filter", args.mntnsmap) + _BOTH
    )


def _filter(text: str, name: str, path: str | None) -> str:
    return (text if path else _EVERYTHING).replace("NAME()", f"{name}()").replace("PATH", path or "")
