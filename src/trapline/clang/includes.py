"""Where included files are found, and which were read: the one place where the compiler half looks at other files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence

from trapline.clang.c_api import TranslationUnit, resource_folder
from trapline.clang.libclang import ROOT
from trapline.records import record

_DIRECTIVE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)

# The first folder of the headers that only the kernel's source has (some are also installed for programs).
_FOLDERS = """
    acpi asm asm-generic block clocksource config crypto drm dt-bindings fs generated keys kernel kunit kvm linux
    math-emu media memory misc mm mtd net pcmcia ras rdma rv scsi soc sound target trace uapi ufs vdso video xen
"""
_KERNEL_FOLDERS = frozenset(_FOLDERS.split())
# Headers of the C library, installed on few machines, that scripts include for constants which the kernel has too.
_C_LIBRARY = frozenset(("sys/socket.h", "sys/types.h", "netinet/in.h", "arpa/inet.h"))


@record(frozen=True)
class Headers:
    """Where included files are looked for.

    Args:
        quoted: folders for ``#include "name"`` only.
        folders: folders that the user gave (``-I``, ``CPATH``).
        files: files that are included before the text (``--include``).
        machine: how this machine's folders are called (``x86_64-linux-gnu``).
    """

    quoted: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    machine: str = ""

    def system(self) -> tuple[str, ...]:
        """Return the folders that are searched last: those of the compiler and of the C library."""
        built_in = os.path.join(resource_folder(), "include")
        return (built_in, "/usr/local/include", f"/usr/include/{self.machine}", "/usr/include")

    def arguments(self) -> list[str]:
        """Return clang's arguments."""
        result = ["-nostdinc"]
        for folder in self.quoted:
            result += ["-iquote", folder]
        result += [f"-I{folder}" for folder in self.folders]
        for folder in self.system():
            result += ["-isystem", folder]
        for file in self.files:
            result += ["-include", file]
        return result


def is_kernel_header(name: str) -> bool:
    """Whether the kernel can stand in for a header of this name (``linux/sched.h``) that is not there."""
    first, slash, _ = name.partition("/")
    return (bool(slash) and first in _KERNEL_FOLDERS) or name in _C_LIBRARY


def included_names(text: str) -> list[tuple[str, bool]]:
    """Return the names that a text includes, and whether each is quoted."""
    return [(match[2], match[1] == '"') for match in _DIRECTIVE.finditer(text)]


def read_headers(
    text: str, quoted: Sequence[str], folders: Sequence[str], is_known: Callable[[str], bool]
) -> list[str]:
    """Return the texts of the headers that a text includes and that are files, and of those that they include.

    Args:
        text: the text.
        quoted: folders for ``#include "name"`` only; a header's own folder comes before them.
        folders: folders for all.
        is_known: whether a name stands for something else than a file.
    """
    found: dict[str, str] = {}
    pending = [(text, tuple(quoted))]
    while pending:
        text, beside = pending.pop()
        for name, is_quoted in included_names(text):
            places = (*(beside if is_quoted else ()), *folders)
            candidates = (os.path.abspath(os.path.join(folder, name)) for folder in places)
            path = next((path for path in candidates if os.path.isfile(path)), None)
            if path is not None and path not in found and not is_known(name):
                found[path] = read_text(path)
                pending.append((found[path], (os.path.dirname(path), *quoted)))
    return list(found.values())


def dependencies(unit: TranslationUnit, text: str, headers: Headers) -> tuple[str, ...]:
    """Return the paths that a parsed text depends on, sorted: of each file that was read, and of each that is not
    there but would have been read instead.

    Args:
        unit: the parsed text.
        text: the text itself.
        headers: where it looked for files.
    """
    paths = {os.path.abspath(path) for path in unit.get_includes()}
    paths = {path for path in paths if not path.startswith(ROOT)}
    for name, quoted in [*included_names(text), *((file, True) for file in headers.files)]:
        for path in _candidates(name, quoted, headers):
            paths.add(path)
            if os.path.isfile(path):
                break
    return tuple(sorted(paths))


def _candidates(name: str, quoted: bool, headers: Headers) -> Iterable[str]:
    folders: Sequence[str] = (*(headers.quoted if quoted else ()), *headers.folders, *headers.system())
    return [os.path.abspath(os.path.join(folder, name)) for folder in folders]


def read_text(path: str) -> str:
    """Return a header's text, to show a line of it; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
