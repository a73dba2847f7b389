"""Write ``src/trapline/abi/_generated_syscalls.py``: the system calls of each architecture, from the kernel's headers.

    python -m tools.develop.syscall_tables            # compare; exit code 1 when the file is old
    python -m tools.develop.syscall_tables --write

The headers are those that the ``ziglang`` wheel carries for every architecture.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

GENERATED = Path(__file__).resolve().parents[2] / "src" / "trapline" / "abi" / "_generated_syscalls.py"
_HEADERS = {"x86_64": "x86-linux-any", "aarch64": "aarch64-linux-any"}
_NUMBER = re.compile(r"^#define __NR_(\w+)\s+(\d+)\s*$", re.MULTILINE)
_NOT_CALLS = ("arch_specific_syscall",)
_WIDTH = 112


def read_numbers(architecture: str) -> dict[int, str]:
    """Return the system calls of an architecture by their number."""
    import ziglang

    folder = Path(ziglang.__file__).parent / "lib" / "libc" / "include" / _HEADERS[architecture] / "asm"
    text = (folder / "unistd_64.h").read_text()
    return {int(number): name for name, number in _NUMBER.findall(text) if name not in _NOT_CALLS}


def make_module() -> str:
    """Return the text of the generated module."""
    lines = [
        '"""The numbers of the system calls, from the kernel\'s headers (python -m tools.develop.syscall_tables)."""',
        "",
        "# Names in the order of their numbers; @N goes on at number N.",
        "SYSCALLS = {",
    ]
    for architecture in sorted(_HEADERS):
        lines.append(f'    "{architecture}": (')
        lines += [f'        "{line} "' for line in _wrap(_words(read_numbers(architecture)))]
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def _words(numbers: dict[int, str]) -> list[str]:
    words = []
    expected = 0
    for number, name in sorted(numbers.items()):
        if number != expected:
            words.append(f"@{number}")
        words.append(name)
        expected = number + 1
    return words


def _wrap(words: list[str]) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= _WIDTH - 8:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main(arguments: list[str]) -> int:
    """Compare or write the generated module."""
    text = make_module()
    if arguments == ["--write"]:
        GENERATED.write_text(text)
        return 0
    return int(GENERATED.read_text() != text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
