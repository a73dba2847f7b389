"""Build the traced programs: ``python tests/programs/user/build.py``.  What it makes is checked in.

Guests have no compiler that would be fast enough, and tests should trace the same code everywhere.  The first build
takes a minute: zig builds the C library's stubs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
_TARGET = ("-target", "x86_64-linux-gnu.2.31")
_COMMON = (
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    "-fno-sanitize=all",
    "-ffile-compilation-dir=/src",
    "-Wl,-z,norelro",
    *_TARGET,
)
# What is made: compiler, source, more flags.
PROGRAMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "traced": ("cc", "traced.c", ("-pie", "-fPIE", "-gdwarf-5")),
    "traced-fixed": ("cc", "traced.c", ("-no-pie", "-gdwarf-4", "-Wl,--compress-debug-sections=zlib")),
    "traced-cc": ("cc", "traced.cc", ("-fno-exceptions", "-fno-rtti")),
}


def digest() -> str:
    """Return what changes with the sources and flags."""
    hashed = hashlib.sha256(repr((_COMMON, sorted(PROGRAMS.items()))).encode())
    for name in ("probe_note.h", "traced.c", "traced.cc"):
        hashed.update((HERE / name).read_bytes())
    return hashed.hexdigest()


def main() -> None:
    """Build everything."""

    for name, (compiler, source, flags) in PROGRAMS.items():
        command = [sys.executable, "-m", "ziglang", compiler, *_COMMON, *flags, "-o", name, source]
        subprocess.run(command, cwd=HERE, check=True)
    (HERE / "digest").write_text(digest() + "\n")


if __name__ == "__main__":
    main()
