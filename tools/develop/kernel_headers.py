"""Put a kernel's headers beside the peers, for BCC alone: the machine does not get them, and trapline needs none."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tools.develop.run import StepError, run_step, say
from tools.guest.errors import GuestError
from tools.guest.kernels import find_kernel

_SNAPSHOT = ("-o", "Acquire::Check-Valid-Until=false")


def install_headers(kernel: str, peers: Path) -> None:
    """Download the headers of a kernel that guests boot and unpack them, unless they are there already.

    Args:
        kernel: its name for ``tools.guest``: ``6.12``, ``sid`` …
        peers: gets ``headers/RELEASE`` with the links ``build`` and ``source``, which ``/lib/modules/RELEASE`` has
            where headers are installed.

    Raises:
        StepError: there is no such kernel, a step failed, or it needs root.
    """
    try:
        found = find_kernel(kernel)
    except GuestError as error:
        raise StepError(str(error)) from None
    place = peers / "headers" / found.release
    if place.exists():
        return
    if os.geteuid() != 0:
        raise StepError(f"not root, so the kernel's headers cannot be put into {place}")
    # Sid's kernel is known to sid's apt, an installed one to ours.
    root = peers / "sid" if found.modules.is_relative_to(peers) else Path("/")
    if root != Path("/"):
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    packages = [f"linux-headers-{found.release}", f"linux-headers-{found.release.rpartition('-')[0]}-common"]
    hint = f"BCC needs the headers of the very kernel {found.release}. Has the mirror a newer one? Then upgrade it"
    place.parent.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=root / "tmp") as downloads,
        tempfile.TemporaryDirectory(dir=place.parent) as partial,
    ):
        inside = f"/{Path(downloads).relative_to(root)}"
        download = f"cd {inside} && exec apt-get -o APT::Sandbox::User=root download {' '.join(packages)}"
        run_step("apt-get update", ["chroot", root, "apt-get", *_SNAPSHOT, "update"], hint=hint)
        run_step(f"download {' '.join(packages)}", ["chroot", root, "sh", "-c", download], hint=hint)
        made = Path(partial, "made")
        for archive in sorted(Path(downloads).glob("*.deb")):
            run_step(f"unpack {archive.name.partition('_')[0]}", ["dpkg", "-x", archive, made])
        for link, package in zip(("build", "source"), packages, strict=True):
            (made / link).symlink_to(f"usr/src/{package}")
        made.chmod(0o755)
        made.rename(place)
    say(f"the headers of {found.release} are in {place}")
