"""`UserFiles`: the executables of this machine, opened for a compiler, the runtime, and whoever attaches."""

from __future__ import annotations

import os
from collections.abc import Sequence

from trapline.abi.elf import Elf
from trapline.debuginfo.binary import Binary, DebugLink
from trapline.errors import DecodeError
from trapline.syscall.binaries import find_binaries
from trapline.syscall.process import read_vdso

_DEBUG_DIRS = ("", ".debug", "/usr/lib/debug")


class UserFiles:
    """Files of user programs; each is read once, and again when it changed.

    Attributes:
        debug_dirs: where separate debug files are searched.
        check_crc: trust a debug file that is found by name only if its checksum is right.
    """

    debug_dirs: tuple[str, ...] = _DEBUG_DIRS
    check_crc = True

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, Binary | None]] = {}
        self._names: dict[str, str] = {}

    def set_debug_dirs(self, text: str) -> None:
        """Search separate debug files where ``DIR:DIR`` says too; ``+`` or ``-`` before it: check CRCs or not.

        A relative directory is one beside the traced file; an empty one is the folder of that file itself.
        """
        self.check_crc = not text.startswith("-")
        self.debug_dirs = (*text.lstrip("+-").split(":"), *_DEBUG_DIRS)
        self._open.clear()

    def find(self, name: str, pid: int = 0) -> Sequence[str]:
        """Return the paths of the files that `name` means; see `trapline.syscall.binaries.find_binaries`."""
        return find_binaries(name, pid)

    def fingerprint(self, name: str, pid: int = 0) -> str:
        """Return text that changes when `name` means other files, or when they change."""
        seen = [f"{path} {self.stamp(path)}" for path in self.find(name, pid)]
        return "\n".join([*seen, *self.debug_dirs]) if self.debug_dirs != _DEBUG_DIRS else "\n".join(seen)

    def stamp(self, path: str) -> str:
        """Return text that changes with the file; empty when there is none."""
        try:
            info = os.stat(path.partition("!/")[0])
        except OSError:
            return ""
        return f"{info.st_dev}:{info.st_ino}:{info.st_size}:{info.st_mtime_ns}"

    def inode(self, path: str) -> int:
        """Return the inode number of the file at `path`; 0 when there is none."""
        try:
            return os.stat(path.partition("!/")[0]).st_ino
        except OSError:
            return 0

    def open(self, path: str) -> Binary | None:
        """Return the ELF file at `path` (``x.apk!/lib.so`` is one inside of an archive); ``None`` if it is none."""
        stamp = self.stamp(path)
        known = self._open.get(path)
        if known is None or known[0] != stamp:
            known = self._open[path] = stamp, self._read(path)
        return known[1]

    def _read(self, path: str) -> Binary | None:
        if path == "[vdso]":
            return self._read_vdso()
        archive, inside, member = path.partition("!/")
        if inside:
            found = _read_member(archive, member)
            if found is None:
                return None
            base, data = found
        else:
            base = 0
            read = _read_file(path)
            if read is None:
                return None
            data = read
        try:
            elf = Elf(data)
        except DecodeError:
            return None
        return Binary(elf, base=base, find_debug=lambda link: self._find_debug(archive, link))

    @staticmethod
    def _read_vdso() -> Binary | None:
        image = read_vdso()
        try:
            return Binary(Elf(image)) if image else None
        except DecodeError:
            return None

    def _find_debug(self, path: str, link: DebugLink) -> Elf | None:
        folder = os.path.dirname(os.path.realpath(path))
        candidates = []
        if len(link.build_id) > 2:
            name = f".build-id/{link.build_id[:2]}/{link.build_id[2:]}.debug"
            candidates += [(f"{directory}/{name}", False) for directory in self.debug_dirs if directory.startswith("/")]
        if link.link:
            for directory in self.debug_dirs:
                places = (directory + folder, directory) if directory.startswith("/") else (f"{folder}/{directory}",)
                candidates += [(f"{place}/{link.link}", self.check_crc) for place in places]
        for candidate, check in candidates:
            if os.path.exists(candidate) and not (os.path.exists(path) and os.path.samefile(candidate, path)):
                data = _read_file(candidate)
                if data is None or (check and _crc(data) != link.crc):
                    continue
                try:
                    return Elf(data)
                except DecodeError:
                    continue
        return None

    def demangle(self, name: str) -> str:
        """Return the readable form of a C++ symbol; the name as it is when it is none."""
        if not name.startswith("_Z"):
            return name
        found = self._names.get(name)
        if found is None:
            from trapline.syscall.demangle import demangle

            found = self._names[name] = demangle(name) or name
        return found


def _read_file(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _read_member(archive: str, member: str) -> tuple[int, bytes] | None:
    """Return (offset in the archive, bytes) of an archive's member that is stored uncompressed."""
    import zipfile

    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(member)
            if info.compress_type != zipfile.ZIP_STORED:
                return None
            with opened.open(info) as stream:
                data = stream.read()
        with open(archive, "rb") as file:
            # The local header's lengths count: its extra field, with the padding for alignment, is another one.
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
    except (OSError, KeyError, zipfile.BadZipFile):
        return None
    start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return start, data


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)
