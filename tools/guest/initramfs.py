"""Write the small initramfs that mounts the host's file system and starts the agent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.guest.errors import GuestError
from tools.guest.kernels import Kernel, module_files, read_module

_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]

_INIT = """#!/bin/busybox sh
b=/bin/busybox
fail() { $b echo "guest init: $1"; $b poweroff -f; }
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module || fail "cannot insert $module"; done
mount_host() {
    $b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=%(msize)d,$3" "$1" "$2" || fail "cannot mount $1"
}
mount_host root /lower ro,cache=loose
$b mount -t tmpfs -o size=75%% upper /upper
$b mkdir -p /upper/data /upper/work
overlay=lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work
$b mount -t overlay -o $overlay overlay /new || fail "cannot mount overlay"
# The fresh /tmp and /run may hide a repository that lies there.
$b mkdir /repo
$b mount -o bind /new%(repo)s /repo || fail "no repository"
$b mount -t tmpfs -o mode=1777 tmp /new/tmp
$b mount -t tmpfs run /new/run
$b mkdir -p /new%(repo)s /new%(results)s /new/tmp/home
%(live)s
%(modules)s
mount_host results /new%(results)s rw,cache=mmap
$b mount --move /dev /new/dev
$b mount --move /proc /new/proc
$b mount --move /sys /new/sys
cd /new
$b mkdir -p dev/pts dev/shm
$b mount -t devpts -o ptmxmode=666 devpts dev/pts
$b ln -s /proc/self/fd dev/fd
$b ln -s /proc/self/fd/0 dev/stdin
$b ln -s /proc/self/fd/1 dev/stdout
$b ln -s /proc/self/fd/2 dev/stderr
$b mount -t tmpfs shm dev/shm
$b mkdir -p run/lock
$b mount -t tracefs tracing sys/kernel/tracing
$b mount -t debugfs debug sys/kernel/debug
$b mount -t bpf bpf sys/fs/bpf
$b mount -t securityfs security sys/kernel/security
$b mount -t cgroup2 cgroup sys/fs/cgroup
$b ip link set lo up
$b hostname guest
exec $b switch_root /new %(python)s -I -S %(agent)s %(options)s
"""


@dataclass(frozen=True)
class Layout:
    """Where things are in the guest; all paths are the same as on the host.

    Attributes:
        repo: the repository.
        live: changes of the repository on the host are seen at once, and it is read-only; else it is part of the cached
            root, which is several times faster.
        results: a folder that the guest may write and the host reads.
        venv: a virtual environment inside the repository to read through the cached root instead, or ``None``.
        python: the interpreter that runs the agent.
        hold: the guest powers off when the launcher closes its control port.
        idle_s: the guest powers off after so many seconds without a command; 0 means never.
    """

    repo: Path
    live: bool
    results: Path
    venv: Path | None
    python: Path
    hold: bool
    idle_s: int


def write_initramfs(kernel: Kernel, layout: Layout, target: Path, msize: int = 512 * 1024) -> None:
    """Write a newc archive with busybox, the modules that reach the host's files, and the init script."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestError("no busybox here; install it with: apt-get install busybox-static")
    body = Path(busybox).read_bytes()
    if b"ld-linux" in body[:4096]:
        raise GuestError("busybox is not static; install the static one with: apt-get install busybox-static")
    live = [f"$b mount -o bind /repo /new{layout.repo}"]
    if layout.live:
        live = [f"mount_host repo /new{layout.repo} ro,cache=mmap"]
        if layout.venv is not None and layout.venv.is_dir():
            inside = layout.venv.relative_to(layout.repo)
            live.append(f"$b mount -o bind /repo/{inside} /new{layout.venv}")
    init = _INIT % {
        "msize": msize,
        "repo": layout.repo,
        "results": layout.results,
        "live": "\n".join(live),
        "modules": _modules_mount(kernel),
        "python": layout.python,
        "agent": Path(__file__).with_name("agent.py"),
        "options": f"{int(layout.hold)} {layout.idle_s}",
    }
    archive = _Archive()
    for folder in ("bin", "dev", "proc", "sys", "lower", "upper", "new", "modules"):
        archive.add(folder, 0o040755)
    archive.add("bin/busybox", 0o100755, body)
    archive.add("init", 0o100755, init.encode())
    files = module_files(kernel, _MODULES)
    names = [path.name.partition(".ko")[0] + ".ko" for path in files]
    for path, name in zip(files, names, strict=True):
        archive.add(f"modules/{name}", 0o100644, read_module(path))
    archive.add("modules/order", 0o100644, "\n".join(names).encode())
    target.write_bytes(archive.finish())


def _modules_mount(kernel: Kernel) -> str:
    """Return the command that puts a kernel's module tree where modprobe looks for it."""
    place = f"/new/lib/modules/{kernel.release}"
    if Path("/lib/modules", kernel.release).exists():
        return ""
    return f"$b mkdir -p {place} && $b mount -o bind /new{kernel.modules} {place}"


class _Archive:
    """A cpio archive in the kernel's newc format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._count = 0

    def add(self, name: str, mode: int, body: bytes = b"") -> None:
        self._count += 1
        encoded = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(encoded), 0)
        self._data += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + encoded
        self._align()
        self._data += body
        self._align()

    def finish(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return bytes(self._data)

    def _align(self) -> None:
        self._data += b"\0" * (-len(self._data) % 4)
