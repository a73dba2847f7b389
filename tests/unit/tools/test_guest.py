from __future__ import annotations

import lzma
import struct
import subprocess
from pathlib import Path

import pytest
from tools.guest import channel
from tools.guest.errors import GuestError
from tools.guest.initramfs import Layout, write_initramfs
from tools.guest.kernels import Kernel, extract_vmlinux, find_kernel, module_files, read_module
from tools.guest.machine import GuestSpec, _qemu_command


def install(root: Path, release: str) -> None:
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{release}").write_bytes(b"image")
    (root / "modules" / release).mkdir(parents=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("6.1", "6.1.0-56-amd64"),
        ("6.12", "6.12.117+deb12-amd64"),
        ("6.1.0-9-amd64", "6.1.0-9-amd64"),
    ],
)
def test_find_kernel_takes_the_newest_of_a_series(tmp_path: Path, name: str, expected: str) -> None:
    for release in ("6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.117+deb12-amd64"):
        install(tmp_path, release)
    assert find_kernel(name, tmp_path / "boot", tmp_path / "modules").release == expected


@pytest.mark.parametrize("name", ["sid", "7.2", "7.2.13+deb14-amd64"])
def test_find_kernel_finds_one_that_is_not_installed(tmp_path: Path, name: str) -> None:
    install(tmp_path, "6.12.117+deb12-amd64")
    folder = tmp_path / "loose" / "7.2.13+deb14-amd64"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(b"image")
    kernel = find_kernel(name, tmp_path / "boot", tmp_path / "modules", tmp_path / "loose")
    assert kernel == Kernel("7.2.13+deb14-amd64", folder / "vmlinuz", folder)


@pytest.mark.parametrize(
    ("name", "hint"), [("6.1", "apt-get install linux-image-amd64"), ("sid", "make setup"), ("7.2", "make setup")]
)
def test_find_kernel_says_what_to_install(tmp_path: Path, name: str, hint: str) -> None:
    install(tmp_path, "6.12.117+deb12-amd64")
    with pytest.raises(GuestError, match=hint):
        find_kernel(name, tmp_path / "boot", tmp_path / "modules", tmp_path / "loose")


def bz_image(payload: bytes) -> bytes:
    setup = bytearray(5 * 512)
    setup[0x1F1] = 4
    struct.pack_into("<II", setup, 0x248, 64, len(payload))
    return bytes(setup) + bytes(64) + payload


def test_extract_vmlinux_unpacks_once(tmp_path: Path) -> None:
    elf = b"\x7fELF" + bytes(1000)
    image = tmp_path / "vmlinuz-1"
    # The kernel appends the unpacked size to the compressed stream.
    image.write_bytes(bz_image(lzma.compress(elf) + struct.pack("<I", len(elf))))
    kernel = Kernel("1", image, tmp_path)
    unpacked = extract_vmlinux(kernel, tmp_path)
    assert unpacked.read_bytes() == elf
    assert extract_vmlinux(kernel, tmp_path) == unpacked


def test_extract_vmlinux_falls_back_to_the_image(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz-1"
    image.write_bytes(bz_image(b"unknown compression"))
    assert extract_vmlinux(Kernel("1", image, tmp_path), tmp_path) == image


def make_modules(root: Path) -> Kernel:
    (root / "kernel").mkdir(parents=True)
    (root / "modules.builtin").write_text("kernel/virtio_console.ko\n")
    (root / "modules.dep").write_text(
        "kernel/9p.ko.xz: kernel/netfs.ko.xz kernel/9pnet.ko.xz\nkernel/netfs.ko.xz:\nkernel/9pnet.ko.xz:\n"
        "kernel/9pnet_virtio.ko.xz: kernel/9pnet.ko.xz\nkernel/overlay.ko.xz:\nkernel/virtio_pci.ko.xz:\n"
    )
    for name in ("9p", "netfs", "9pnet", "9pnet_virtio", "overlay", "virtio_pci"):
        (root / "kernel" / f"{name}.ko.xz").write_bytes(lzma.compress(name.encode()))
    return Kernel("1", root / "vmlinuz", root)


def test_module_files_puts_dependencies_first_and_once(tmp_path: Path) -> None:
    kernel = make_modules(tmp_path)
    files = module_files(kernel, ["virtio_console", "9pnet_virtio", "9p"])
    assert [path.name for path in files] == ["9pnet.ko.xz", "9pnet_virtio.ko.xz", "netfs.ko.xz", "9p.ko.xz"]
    assert read_module(files[0]) == b"9pnet"


def test_module_files_names_a_missing_module(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="no module nosuch"):
        module_files(make_modules(tmp_path), ["nosuch"])


@pytest.mark.parametrize("live", [False, True])
def test_initramfs_is_an_archive_that_cpio_reads(tmp_path: Path, live: bool) -> None:
    busybox = Path("/usr/bin/busybox")
    if not busybox.exists():
        busybox = Path("/bin/busybox")
    kernel = make_modules(tmp_path / "tree")
    layout = Layout(
        repo=Path("/r"),
        live=live,
        results=Path("/r/out"),
        venv=None,
        python=Path("/usr/bin/python3"),
        hold=True,
        idle_s=7,
    )
    write_initramfs(kernel, layout, tmp_path / "initrd")
    done = subprocess.run(
        [busybox, "cpio", "-t"], input=(tmp_path / "initrd").read_bytes(), capture_output=True, check=True, timeout=30
    )
    names = done.stdout.decode().split()
    assert {"init", "bin/busybox", "modules/order", "modules/9p.ko"} <= set(names)
    init = subprocess.run(
        [busybox, "cpio", "-i", "--to-stdout", "init"],
        input=(tmp_path / "initrd").read_bytes(),
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout.decode()
    assert ("mount_host repo /new/r ro" in init) == live
    assert "mount_host results /new/r/out rw" in init
    assert init.rstrip().endswith("agent.py 1 7")
    assert f"mount -o bind /new{kernel.modules} /new/lib/modules/1" in init


def test_decoder_takes_frames_in_any_pieces() -> None:
    data = channel.encode_frame(channel.STDOUT, b"abc") + channel.encode_frame(channel.EXIT, b"{}")
    decoder = channel.Decoder()
    frames = [frame for index in range(len(data)) for frame in decoder.feed(data[index : index + 1])]
    assert frames == [(channel.STDOUT, b"abc"), (channel.EXIT, b"{}")]
    assert channel.Decoder().feed(data) == frames


def test_nodes_share_the_memory_and_the_processors(tmp_path: Path) -> None:
    command = _qemu_command("qemu", GuestSpec("6.1", cpus=3, memory_mb=3072, nodes=2), tmp_path / "image", tmp_path)
    assert [word for word in command if word.startswith(("node,", "memory-"))] == [
        "memory-backend-ram,id=memory0,size=1536M",
        "node,nodeid=0,memdev=memory0,cpus=0,cpus=2",
        "memory-backend-ram,id=memory1,size=1536M",
        "node,nodeid=1,memdev=memory1,cpus=1",
    ]
    assert "-numa" not in _qemu_command("qemu", GuestSpec("6.1"), tmp_path / "image", tmp_path)
