"""The compile cache: object specs on disk, keyed by all that they depend on.

The directory is 0700 and must belong to the user, and nobody else may be able to put another in its place; files are
written under a temporary name and renamed, start with the digest of their key and contents, and anything that does not
check out is as if it were not there.  The cache never makes a run fail: what cannot be read is compiled, what cannot be
written is not kept.
"""

from __future__ import annotations

import contextlib
import os
import stat

from trapline.digest import BYTES, digest

_LIMIT = 256  # files kept; the least recently written go first


class Cache:
    """A directory of blobs by key.

    Args:
        directory: where the files are; ``None`` disables the cache.
    """

    def __init__(self, directory: str | None) -> None:
        self.directory = directory

    @classmethod
    def default(cls) -> Cache:
        """Return the user's cache; a disabled one with ``TRAPLINE_CACHE=off``, or when there is no safe place."""
        setting = os.environ.get("TRAPLINE_CACHE", "")
        if setting == "off":
            return cls(None)
        if setting:
            return cls(setting)
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not base.startswith("/"):
            home = os.environ.get("HOME", "")
            if home.startswith("/"):
                base = f"{home}/.cache"
            elif os.geteuid() == 0:
                base = "/var/cache"
            else:
                return cls(None)
        return cls(f"{base}/trapline")

    def get(self, key: str) -> bytes | None:
        """Return the blob stored under `key`, or ``None``."""
        if self.directory is None or not self._safe(self.directory):
            return None
        content = _read_own_file(self._path(key))
        if content is None:
            return None
        digest, blob = content[:BYTES], content[BYTES:]
        return blob if _seal(key, blob) == digest else None

    def put(self, key: str, blob: bytes) -> None:
        """Store `blob` under `key`."""
        if self.directory is None:
            return
        with contextlib.suppress(OSError):
            parent = os.path.dirname(self.directory) or "."
            # Before anything is made: a directory of root's in a user's home would be in the user's way.
            if not _is_safe_parent(parent):
                return
            os.makedirs(parent, 0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
            if not self._safe(self.directory):
                return
            name = f"{self.directory}/.new-{os.getpid()}-{os.urandom(8).hex()}"
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_seal(key, blob))
                    file.write(blob)
                os.replace(name, self._path(key))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            self._trim()

    def _path(self, key: str) -> str:
        return f"{self.directory}/{_digest(key).hex()}"

    @staticmethod
    def _safe(directory: str) -> bool:
        """Whether the directory is ours alone, and nobody else can put another in its place."""
        try:
            info = os.lstat(directory)
        except OSError:
            return False
        ours = stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077
        return ours and _is_safe_parent(os.path.dirname(directory) or ".")

    def _trim(self) -> None:
        assert self.directory is not None
        files = [entry for entry in os.scandir(self.directory) if entry.is_file(follow_symlinks=False)]
        if len(files) > _LIMIT:
            files.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
            for entry in files[: len(files) - _LIMIT]:
                os.unlink(entry.path)


def _digest(key: str) -> bytes:
    return digest(key.encode("utf-8", "surrogateescape"))


def _seal(key: str, blob: bytes) -> bytes:
    """Return what a file starts with: it ties the contents to the key, so that no file is taken for another."""
    return digest(_digest(key), blob)


def _is_safe_parent(parent: str) -> bool:
    """Whether only root and we can rename what is in a directory, and the directories above it."""
    users = (0, os.geteuid())
    path = os.path.realpath(parent)
    while True:
        try:
            info = os.stat(path)
        except FileNotFoundError:
            path = os.path.dirname(path)
            continue
        except OSError:
            return False
        # In a sticky directory (/tmp) nobody can rename what is another's.
        if info.st_uid not in users or (info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX):
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def _read_own_file(path: str) -> bytes | None:
    """Return the contents of a regular file that is ours and that nobody else may write; ``None`` of anything else."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        if info.st_uid != os.geteuid() or not stat.S_ISREG(info.st_mode) or info.st_mode & 0o022:
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(handle)
