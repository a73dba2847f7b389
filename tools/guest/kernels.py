"""Find the Debian kernels that are installed here, their images and their modules."""

from __future__ import annotations

import lzma
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.guest.errors import GuestError


@dataclass(frozen=True)
class Kernel:
    """One installed kernel.

    Attributes:
        release: what ``uname -r`` prints in the guest.
        image: the bzImage, ``/boot/vmlinuz-RELEASE``.
        modules: its module tree, ``/lib/modules/RELEASE``.
    """

    release: str
    image: Path
    modules: Path


def find_kernel(name: str, boot: Path = Path("/boot"), modules: Path = Path("/lib/modules")) -> Kernel:
    """Return the newest installed kernel that a name selects.

    Args:
        name: a series (``6.1``, ``6.12``) or a full release (``6.1.0-56-amd64``).
        boot: where images are.
        modules: where module trees are.

    Raises:
        GuestError: none is installed.
    """
    found = []
    for image in boot.glob("vmlinuz-*"):
        release = image.name.removeprefix("vmlinuz-")
        if release == name or re.match(re.escape(name) + r"(?![0-9])", release):
            found.append(Kernel(release, image, modules / release))
    found = [kernel for kernel in found if kernel.modules.is_dir()]
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
