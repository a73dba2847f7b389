"""The compile cache: object specs on disk, keyed by all that they depend on.

The directory is 0700 and must belong to the user; files are written under a temporary name and renamed, start with the
digest of their contents, and anything that does not check out is as if it were not there.  The cache never makes a run
fail: what cannot be read is compiled, what cannot be written is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

_DIGEST = 32
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
        try:
            with open(self._path(key), "rb") as file:
                info = os.fstat(file.fileno())
                if info.st_uid != os.geteuid() or not stat.S_ISREG(info.st_mode):
                    return None
                content = file.read()
        except OSError:
            return None
        digest, blob = content[:_DIGEST], content[_DIGEST:]
        return blob if hashlib.sha256(blob).digest() == digest else None

    def put(self, key: str, blob: bytes) -> None:
        """Store `blob` under `key`."""
        if self.directory is None:
            return
        import secrets

        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.directory), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.directory, 0o700)
            if not self._safe(self.directory):
                return
            name = f"{self.directory}/.new-{os.getpid()}-{secrets.token_hex(8)}"
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(blob).digest() + blob)
                os.replace(name, self._path(key))
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            self._trim()

    def _path(self, key: str) -> str:
        return f"{self.directory}/{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}"

    @staticmethod
    def _safe(directory: str) -> bool:
        """Whether the directory is ours alone, and nobody else can put another in its place."""
        try:
            info = os.lstat(directory)
            parent = os.stat(os.path.dirname(directory) or ".")
        except OSError:
            return False
        ours = stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077
        open_parent = parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX
        return ours and not open_parent and parent.st_uid in (0, os.geteuid())

    def _trim(self) -> None:
        assert self.directory is not None
        files = [entry for entry in os.scandir(self.directory) if entry.is_file(follow_symlinks=False)]
        if len(files) > _LIMIT:
            files.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
            for entry in files[: len(files) - _LIMIT]:
                os.unlink(entry.path)
