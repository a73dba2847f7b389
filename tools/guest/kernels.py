"""Find the Debian kernels that are installed here, their images and their modules."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.guest.errors import GuestError

# Kernels that are not installed: a folder for each, its module tree with its image.
LOOSE_KERNELS = Path(os.environ.get("TRAPLINE_PEERS", "/var/lib/trapline-peers"), "kernels")


@dataclass(frozen=True)
class Kernel:
    """One installed kernel.

    Attributes:
        release: what ``uname -r`` prints in the guest.
        image: the bzImage, ``/boot/vmlinuz-RELEASE`` when it is installed.
        modules: its module tree, ``/lib/modules/RELEASE`` when it is installed.
    """

    release: str
    image: Path
    modules: Path


def find_kernel(
    name: str,
    boot: Path = Path("/boot"),
    modules: Path = Path("/lib/modules"),
    loose: Path = LOOSE_KERNELS,
) -> Kernel:
    """Return the newest kernel that a name selects.

    Args:
        name: a series (``6.1``, ``6.12``), a full release (``6.1.0-56-amd64``), or ``sid``, the kernel that set-up put
            beside the peers.
        boot: where images are.
        modules: where module trees are.
        loose: where kernels are that are not installed.

    Raises:
        GuestError: none is installed.
    """
    installed = [
        Kernel(release, image, modules / release)
        for image in boot.glob("vmlinuz-*")
        if (modules / (release := image.name.removeprefix("vmlinuz-"))).is_dir()
    ]
    others = [Kernel(image.parent.name, image, image.parent) for image in loose.glob("*/vmlinuz")]
    if name == "sid":
        found = others
    else:
        pattern = re.compile(re.escape(name) + r"(?![0-9])")
        found = [kernel for kernel in installed + others if kernel.release == name or pattern.match(kernel.release)]
    if not found and not re.match(r"6\.", name):
        raise GuestError(f"no kernel {name} in {boot} or {loose}; `make setup` puts Debian sid's there")
    if not found:
        package = "linux-image-amd64" if name == "6.1" else f"linux-image-{name}-amd64"
        raise GuestError(f"no kernel {name} in {boot}; install one with: apt-get install {package}")
    return max(found, key=lambda kernel: [int(part) for part in re.findall(r"\d+", kernel.release)])


def extract_vmlinux(kernel: Kernel, cache: Path) -> Path:
    """Return the uncompressed ELF image of a kernel, unpacking it into ``cache`` once.

    QEMU boots it through the PVH entry point, so the guest does not decompress itself under emulation. Falls back to
    the bzImage when the compression cannot be undone here.
    """
    stat = kernel.image.stat()
    target = cache / f"vmlinux-{kernel.release}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
    if target.exists():
        return target
    image = kernel.image.read_bytes()
    # Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c.
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        vmlinux = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd") and shutil.which("zstd"):
        # The last four bytes are the unpacked size, not part of the zstd frame.
        done = subprocess.run(["zstd", "-dcq"], input=payload[:-4], stdout=subprocess.PIPE, check=False)
        vmlinux = done.stdout
    else:
        return kernel.image
    if not vmlinux.startswith(b"\x7fELF"):
        return kernel.image
    for old in cache.glob(f"vmlinux-{kernel.release}-*"):
        old.unlink(missing_ok=True)
    partial = target.with_suffix(f".{id(image):x}")
    partial.write_bytes(vmlinux)
    partial.replace(target)
    return target


def module_files(kernel: Kernel, names: list[str]) -> list[Path]:
    """Return the files of the named modules and of what they depend on, in the order to insert them.

    Modules that are built into the kernel are left out.
    """
    depends: dict[str, tuple[str, list[str]]] = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[_module_name(path)] = (path, needs.split())
    builtin = {_module_name(line) for line in (kernel.modules / "modules.builtin").read_text().splitlines()}
    ordered: dict[str, None] = {}
    for name in names:
        if name not in depends:
            if name in builtin:
                continue
            raise GuestError(f"kernel {kernel.release} has no module {name}")
        module, requires = depends[name]
        for item in [*reversed(requires), module]:
            ordered.setdefault(item)
    return [kernel.modules / item for item in ordered]


def read_module(path: Path) -> bytes:
    """Return the ELF bytes of a module file, unpacked when the distribution compresses modules."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def _module_name(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")
