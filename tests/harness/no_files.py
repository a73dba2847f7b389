"""A machine without files of user programs, for targets that tests make up."""

from __future__ import annotations


class NoUserFiles:
    """Implements `trapline.ir.target.UserFiles`: nothing is there."""

    def find(self, name: str, pid: int = 0) -> list[str]:
        """Find nothing."""
        return []

    def open(self, path: str) -> None:
        """Open nothing."""
        return

    def inode(self, path: str) -> int:
        """Know no file."""
        return 0

    def demangle(self, name: str) -> str:
        """Leave names as they are."""
        return name

    def fingerprint(self, name: str, pid: int = 0) -> str:
        """Nothing changes."""
        return ""
