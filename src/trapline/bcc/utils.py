"""What scripts import from ``bcc.utils`` (the module's name is BCC's): byte-wise printing and CPU lists."""

from __future__ import annotations

import sys
import warnings

from trapline.bcc.strcmp import StrcmpRewrite
from trapline.hints import Any, TextIO

FILESYSTEMENCODING = sys.getfilesystemencoding()

__all__ = [
    "ArgString",
    "StrcmpRewrite",
    "detect_language",
    "get_online_cpus",
    "get_possible_cpus",
    "parse_cpu_list",
    "printb",
]

_CPU = "/sys/devices/system/cpu"


class ArgString:
    """A command-line argument usable both as text and as bytes (``argparse(type=ArgString)``).

    Args:
        arg: the text, or its bytes in the file system's encoding.
    """

    def __init__(self, arg: str | bytes) -> None:
        if isinstance(arg, bytes):
            self.bytes = arg
            self.str = arg.decode(FILESYSTEMENCODING, "surrogateescape")
        else:
            self.str = arg
            self.bytes = arg.encode(FILESYSTEMENCODING, "surrogateescape")

    def __bytes__(self) -> bytes:
        return self.bytes

    def __str__(self) -> str:
        return self.str


def printb(s: bytes, file: TextIO | None = None, nl: int = 1) -> None:
    """Write bytes to a text stream as they are, add a newline unless `nl` is 0, and flush.

    Args:
        s: the bytes; text is encoded in the file system's encoding.
        file: a text stream over a byte stream; stdout if not given.
        nl: whether a newline follows.
    """
    data = s if isinstance(s, bytes) else str(s).encode(FILESYSTEMENCODING, "surrogateescape")
    end = b"\n" if nl else b""
    file = sys.stdout if file is None else file
    binary = getattr(file, "buffer", None)
    if binary is None:
        file.write((data + end).decode(FILESYSTEMENCODING, "replace"))
    else:
        # The text layer may hold what was printed before.
        file.flush()
        binary.write(data + end)
    file.flush()


def _read_cpu_list(name: str) -> list[int]:
    return parse_cpu_list(_read(f"{_CPU}/{name}"))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def parse_cpu_list(text: str) -> list[int]:
    """Return the numbers in the kernel's list format: ``0-3,8``."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def get_online_cpus() -> list[int]:
    """Return the numbers of the CPUs that are online."""
    return _read_cpu_list("online")


def get_possible_cpus() -> list[int]:
    """Return the numbers of the CPUs that may come online; per-CPU values have an element for each."""
    return _read_cpu_list("possible")


_LANGUAGES = ("java", "node", "perl", "php", "python", "ruby")


def detect_language(candidates: list[str], pid: int) -> str | None:
    """Return which of `candidates` (``java``, ``node``, ``perl``, ``php``, ``python``, ``ruby``) a process runs.

    Judged by the name of its executable, else by the libraries that it has mapped; ``None`` when none fits.
    """
    comm = _read(f"/proc/{pid}/comm").strip()
    for language in candidates:
        if language in comm:
            return language
    maps = _read(f"/proc/{pid}/maps").lower()
    for language in candidates:
        if language in _LANGUAGES and any(f"/lib{language}" in line for line in maps.splitlines()):
            return language
    return None


def _assert_is_bytes(arg: Any) -> Any:
    """Return `arg` as bytes; text is converted, with a `DeprecationWarning`."""
    if arg is None or isinstance(arg, bytes):
        return arg
    import traceback

    stack = traceback.extract_stack(limit=2)
    warnings.warn(f"{stack[0].name}: text given where bytes are expected: {arg!r}", DeprecationWarning, stacklevel=3)
    return ArgString(arg).bytes
