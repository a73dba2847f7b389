"""Put Debian sid's kernel beside the peers: guests boot it, the machine itself does not get it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tools.develop.run import StepError, run_step, say

_META_PACKAGE = "linux-image-amd64"
_DOWNLOADS = "var/cache/trapline-kernel"


def install_sid_kernel(root: Path, kernels: Path) -> None:
    """Download the kernel that sid has now and unpack it, unless some kernel is there already.

    Args:
        root: a Debian sid with apt, entered with chroot.
        kernels: gets a folder named like the release: the kernel's ``/lib/modules/RELEASE`` with its ``vmlinuz``.

    Raises:
        StepError: a step failed, or needs root.
    """
    if any(kernels.glob("*/vmlinuz")):
        return
    if os.geteuid() != 0:
        raise StepError(f"not root, so sid's kernel cannot be put into {kernels}")
    hint = f"Guests boot Debian sid's kernel too; it comes from the mirror in {root}/etc/apt/sources.list"
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    update = ["apt-get", "-o", "Acquire::Check-Valid-Until=false", "update"]
    run_step(f"apt-get update in {root}", ["chroot", root, *update], hint=hint)
    image = _dependencies(root, _META_PACKAGE, "linux-image-")[0]
    release = image.removeprefix("linux-image-")
    # The image's package is empty since sid's 6.17 or so: the kernel, its modules and their lists have their own.
    packages = [image, *(name for name in _dependencies(root, image, "linux-") if name.endswith(release))]
    downloads = root / _DOWNLOADS
    partial = kernels / f".partial-{os.getpid()}"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    partial.mkdir(parents=True)
    try:
        download = f"cd /{_DOWNLOADS} && exec apt-get -o APT::Sandbox::User=root download {' '.join(packages)}"
        run_step(f"download sid's kernel {release}", ["chroot", root, "sh", "-c", download], hint=hint)
        for archive in sorted(downloads.glob("*.deb")):
            run_step(f"unpack {archive.name.partition('_')[0]}", ["dpkg", "-x", archive, partial / "root"])
        # The link is what depmod wants to find.
        if not (partial / "root/lib").exists():
            (partial / "root/lib").symlink_to("usr/lib")
        modules = partial / "root/lib/modules" / release
        old_place = partial / f"root/boot/vmlinuz-{release}"
        if old_place.exists():
            shutil.move(old_place, modules / "vmlinuz")
        run_step("depmod", ["depmod", "-b", partial / "root", release])
        shutil.move(modules, kernels / release)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(downloads, ignore_errors=True)
    say(f"sid's kernel is in {kernels / release}")


def _dependencies(root: Path, package: str, prefix: str) -> list[str]:
    """Return what a package of sid depends on, of the names that begin so."""
    shown = subprocess.run(["chroot", root, "apt-cache", "show", package], capture_output=True, text=True, check=False)
    match = re.search(r"^Depends: (.*)$", shown.stdout, re.MULTILINE)
    names = [item.split()[0] for item in match[1].split(", ")] if match else []
    found = [name for name in names if name.startswith(prefix)]
    if not found and package == _META_PACKAGE:
        raise StepError(f"Debian sid in {root} has no kernel: {package} depends on {', '.join(names) or 'nothing'}")
    return found
