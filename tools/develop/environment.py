"""Set up the machine: Debian packages, the virtual environment, and the peers that tests compare with.

Every step first looks whether it is needed, so that a machine that has everything passes in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.develop.run import REPO, StepError, clean_environment, run_step, say
from tools.develop.sid_kernel import install_sid_kernel

# A developer who has an environment already names it here; set-up leaves it alone.
_GIVEN_VENV = os.environ.get("TRAPLINE_VENV")
VENV = Path(_GIVEN_VENV) if _GIVEN_VENV else REPO / ".venv"
PEERS = Path(os.environ.get("TRAPLINE_PEERS", "/var/lib/trapline-peers"))
MIRROR = os.environ.get("TRAPLINE_DEBIAN_MIRROR", "http://deb.debian.org/debian")

_GUEST_PACKAGES = ("qemu-system-x86", "busybox-static", "zstd", "kmod")
_KERNEL_PACKAGES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}
_TEST_PACKAGES = ("bpftool", "debootstrap", "procps", "binutils", "linux-libc-dev", "iproute2")
_PEER_PACKAGES = ("bpftrace", "python3-bpfcc")
# A frozen mirror serves indexes that have run out; the signatures are still checked.
_SNAPSHOT = ("-o", "Acquire::Check-Valid-Until=false")


@dataclass(frozen=True)
class Needs:
    """What a task needs to be installed."""

    extras: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    peers: bool = False
    sid_kernel: bool = False


RUN = Needs()
CHECK = Needs(extras=("dev",))
TEST = Needs(
    extras=("dev",),
    packages=(*_GUEST_PACKAGES, *_KERNEL_PACKAGES.values(), *_TEST_PACKAGES),
    peers=True,
    sid_kernel=True,
)


def guest_needs(kernel: str) -> Needs:
    """Return what it takes to run trapline in a guest of one kernel."""
    if kernel in _KERNEL_PACKAGES:
        return Needs(packages=(*_GUEST_PACKAGES, _KERNEL_PACKAGES[kernel]))
    return Needs(packages=(*_GUEST_PACKAGES, "debootstrap"), peers=True, sid_kernel=True)


def set_up(needs: Needs) -> None:
    """Install what is needed and not there yet.

    Raises:
        StepError: a step failed, or needs root.
    """
    if sys.version_info < (3, 10):  # noqa: UP036
        raise StepError(
            f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.11"
        )
    packages = list(needs.packages)
    if not _GIVEN_VENV and not _venv_is_ready(needs.extras) and not _can_make_venv():
        packages.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    _install_packages(packages)
    _install_venv(needs.extras)
    if needs.peers:
        _install_peers()
        _unpack_tools()
    if needs.sid_kernel:
        install_sid_kernel(PEERS / "sid", PEERS / "kernels")


def mount_filesystems() -> None:
    """Mount what nobody has: tracepoints need tracefs; securityfs says whether the kernel is locked down."""
    for kind, place in (("tracefs", Path("/sys/kernel/tracing")), ("securityfs", Path("/sys/kernel/security"))):
        if place.is_dir() and not any(place.iterdir()):
            run_step(f"mount {kind}", ["mount", "-t", kind, kind, place])


def compile_sources() -> None:
    """Write the byte code of our modules, which guests cannot write and compile 20 times slower."""
    compileall = [str(venv_program("python")), "-m", "compileall", "-q", "src", "tools"]
    subprocess.run(compileall, cwd=REPO, env=clean_environment(), check=False)


def venv_program(name: str) -> Path:
    """Return the path of a program of the virtual environment."""
    return VENV / "bin" / name


def _install_packages(names: list[str]) -> None:
    missing = [name for name in names if not _is_installed(name)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None:
        raise StepError(f"this machine has no apt-get; install what corresponds to: {' '.join(missing)}")
    if os.geteuid() != 0:
        raise StepError(f"not root, so Debian packages cannot be installed. Run: sudo {' '.join(command)}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    # The 6.12 kernel comes with Debian 12's security updates, which debootstrap leaves out of the sources.
    hint = "Is the network up, and are the security updates (bookworm-security) among apt's sources?"
    run_step("apt-get update", ["apt-get", "update"], env=env, hint=hint)
    run_step(f"apt-get install {' '.join(missing)}", command, env=env, hint=hint)


def _is_installed(name: str) -> bool:
    return name in _installed_packages()


@cache
def _installed_packages() -> frozenset[str]:
    """Return the names of installed Debian packages; read from dpkg's file, which is faster than asking it."""
    try:
        status = Path("/var/lib/dpkg/status").read_text(errors="replace")
    except FileNotFoundError:
        return frozenset()
    names = set()
    for entry in status.split("\n\n"):
        if "\nStatus: install ok installed" in entry and (match := re.match(r"Package: (\S+)", entry)):
            names.add(match[1])
    return frozenset(names)


def _can_make_venv() -> bool:
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _venv_identity() -> str:
    """Return what the environment's content depends on: the interpreter and the project's declaration."""
    text = f"{sys.version} {REPO} {(REPO / 'pyproject.toml').read_text()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _venv_is_ready(extras: tuple[str, ...]) -> bool:
    try:
        stamp = json.loads((VENV / "trapline-stamp.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return bool(stamp["identity"] == _venv_identity()) and set(extras) <= set(stamp["extras"])


def _stamped_extras() -> list[str]:
    try:
        return list(json.loads((VENV / "trapline-stamp.json").read_text())["extras"])
    except (FileNotFoundError, ValueError):
        return []


def _install_venv(extras: tuple[str, ...]) -> None:
    if _GIVEN_VENV:
        if not venv_program("python").exists():
            raise StepError(f"TRAPLINE_VENV={VENV} has no bin/python")
        return
    if _venv_is_ready(extras):
        return
    hint = "Is the network (or the package index that pip is set to) reachable? make needs it the first time"
    if _venv_works():
        extras = tuple(sorted({*extras, *_stamped_extras()}))  # A demo does not take away what the tests need.
    else:
        shutil.rmtree(VENV, ignore_errors=True)
        run_step(f"virtual environment in {VENV}", [sys.executable, "-m", "venv", VENV])
    target = f".[{','.join(extras)}]" if extras else "."
    pip: list[str | Path] = [venv_program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_step(f"pip install -e {target}", [*pip, "-e", target], hint=hint)
    (VENV / "trapline-stamp.json").write_text(json.dumps({"identity": _venv_identity(), "extras": extras}))


def _venv_works() -> bool:
    """Return whether the environment was made by this very Python and has pip."""
    if not venv_program("python").exists():
        return False
    probe = [str(venv_program("python")), "-c", "import pip, sys; print(sys.version)"]
    done = subprocess.run(probe, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == sys.version.strip()


def _install_peers() -> None:
    """Put Debian sid's bpftrace and BCC into a folder of their own, for use with chroot in a guest."""
    root = PEERS / "sid"
    if all((root / f"var/lib/dpkg/info/{name}.list").exists() for name in _PEER_PACKAGES):
        return
    if os.geteuid() != 0:
        raise StepError(f"not root, so the peers cannot be installed in {root}")
    hint = f"The tests compare with Debian sid's bpftrace and BCC; they come from {MIRROR} (TRAPLINE_DEBIAN_MIRROR)"
    if (root / "usr/bin/apt-get").exists():
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        install = ["apt-get", "install", "-y", "--no-install-recommends", *_PEER_PACKAGES]
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        run_step(f"apt-get update in {root}", ["chroot", root, "apt-get", *_SNAPSHOT, "update"], env=env, hint=hint)
        run_step(f"{' '.join(_PEER_PACKAGES)} in {root}", ["chroot", root, *install], env=env, hint=hint)
    else:
        partial = PEERS / f"sid.partial-{os.getpid()}"
        PEERS.mkdir(parents=True, exist_ok=True)
        debootstrap = ["debootstrap", "--variant=minbase", f"--include={','.join(_PEER_PACKAGES)}", "sid"]
        try:
            run_step(f"{' '.join(_PEER_PACKAGES)} of Debian sid", [*debootstrap, partial, MIRROR], hint=hint)
            partial.rename(root)
        finally:
            if partial.exists():
                shutil.rmtree(partial, ignore_errors=True)
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    say(f"peers are in {root}")


def _unpack_tools() -> None:
    """Put the ``*.bt`` tools of this Debian's own, older bpftrace beside the peers, and BCC's tools of both."""
    _unpack("bpftrace", PEERS / "tools", {"usr/sbin": ""})
    folders = {"usr/sbin": "sbin", "usr/share/bpfcc-tools": "share/bpfcc-tools"}
    _unpack("bpfcc-tools", PEERS / "bcc-tools-0.26", folders)
    _unpack("bpfcc-tools", PEERS / "bcc-tools-0.37", folders, chroot=PEERS / "sid")


def _unpack(package: str, place: Path, folders: dict[str, str], chroot: Path | None = None) -> None:
    """Unpack folders of a Debian package into `place`; nothing is installed.

    Args:
        package: its name.
        place: is made, whole or not at all.
        folders: a folder of the package → its name in `place`.
        chroot: the Debian whose package it is; this one if not given.
    """
    if place.exists():
        return
    if os.geteuid() != 0:
        raise StepError(f"not root, so {package} cannot be put into {place}")
    enter: list[str | Path] = ["chroot", chroot] if chroot else []
    if chroot:
        shutil.copy("/etc/resolv.conf", chroot / "etc/resolv.conf")
    options = _SNAPSHOT if chroot else ()
    hint = f"The tests run the tools of {package}. Does apt know it?"
    with tempfile.TemporaryDirectory(dir=chroot / "tmp" if chroot else PEERS) as folder:
        inside = f"/{Path(folder).relative_to(chroot)}" if chroot else folder
        download = f"cd {inside} && exec apt-get -o APT::Sandbox::User=root download {package}"
        run_step("apt-get update", [*enter, "apt-get", *options, "update"], hint=hint)
        run_step(f"download {package} for {place.name}", [*enter, "sh", "-c", download], hint=hint)
        archive = next(Path(folder).glob(f"{package}_*.deb"))
        run_step(f"unpack {package}", ["dpkg", "-x", archive, Path(folder, "root")])
        with tempfile.TemporaryDirectory(dir=PEERS) as partial:
            made = Path(partial, "made")
            for source, target in folders.items():
                if Path(folder, "root", source).exists():
                    shutil.copytree(Path(folder, "root", source), made / target, symlinks=True)
            made.chmod(0o755)
            made.rename(place)
