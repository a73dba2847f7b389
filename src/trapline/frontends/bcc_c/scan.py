"""What can be learned from the text before it is parsed: its identifiers, includes, tracepoints and own definitions."""

from __future__ import annotations

import re

from trapline.records import record

_NOISE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"\n]+)[>\"]", re.MULTILINE)
_TRACEPOINT = re.compile(r"\bTRACEPOINT_PROBE\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)")
_TRACEPOINT_STRUCT = re.compile(r"\btracepoint__(\w+?)__(\w+)")
_ITERATOR = re.compile(r"\bBPF_ITER\s*\(\s*(\w+)\s*\)")
_TAG = re.compile(r"\b(?:struct|union|enum)\s+(?:__attribute__\s*\(\([^)]*\)\)\s*)?(\w+)\s*\{")
_TYPEDEF_NAME = re.compile(r"\btypedef\b[^;{}]*?(\w+)\s*(?:\[[^\]]*\]\s*)?;")
_TYPEDEF_RECORD = re.compile(r"\}\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?(\w+)\s*;")
_ENUM = re.compile(r"\benum\b\s*\w*\s*\{([^}]*)\}")
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
_UNDEFINED = re.compile(r"^[ \t]*#[ \t]*undef[ \t]+(\w+)", re.MULTILINE)
_LICENSE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+BPF_LICENSE[ \t]+(.+)$", re.MULTILINE)
_FUNCTION = re.compile(r"\b(\w+)\s*\([^;{}]*\)\s*\{")
_TABLE = re.compile(r"\b(BPF_\w+)\s*\(([^;{}]*)\)\s*;")
_NAME_POSITIONS = {"BPF_TABLE": 3, "BPF_F_TABLE": 3, "BPF_QUEUESTACK": 1}

_KERNEL_FOLDERS_TEXT = """
acpi asm asm-generic bcc block bpf clocksource config crypto drivers drm dt-bindings fs generated kernel kvm linux
math-emu media misc mm net pcmcia ras rdma rv scsi soc sound target trace uapi ufs vdso video xen
"""
_KERNEL_FOLDERS = frozenset(_KERNEL_FOLDERS_TEXT.split())
_LANGUAGE_HEADERS_TEXT = """
stddef.h stdint.h stdbool.h stdarg.h inttypes.h limits.h string.h stdlib.h errno.h vmlinux.h sys/types.h sys/socket.h
netinet/in.h arpa/inet.h
"""
_LANGUAGE_HEADERS = frozenset(_LANGUAGE_HEADERS_TEXT.split())


@record(frozen=True)
class TextScan:
    """Findings about a text.

    Args:
        identifiers: every identifier outside comments and strings.
        includes: names of its ``#include`` lines that the kernel (or C) provides, to be empty files.
        tracepoints: (category, event) of the tracepoint structs that it uses.
        defined: tags, typedefs, enumerators and macros that it defines itself, in place of the kernel's.
        license: what ``#define BPF_LICENSE`` says, GPL by default.
        globals: maps and functions that it defines; a type of the kernel may have the same name.
    """

    identifiers: frozenset[str]
    includes: tuple[str, ...]
    tracepoints: tuple[tuple[str, str], ...]
    defined: frozenset[str]
    globals: frozenset[str]
    license: str


def is_virtual_include(name: str) -> bool:
    """Whether an include names a header of the kernel, BCC or the C library (which are all empty here)."""
    return name in _LANGUAGE_HEADERS or name.split("/", 1)[0] in _KERNEL_FOLDERS


def virtual_includes(text: str) -> list[str]:
    """Return the names of such headers in a text's ``#include`` lines, each as often as it stands there."""
    return [name for name in _INCLUDE.findall(text) if is_virtual_include(name)]


def scan_text(text: str) -> TextScan:
    """Scan a program text (and the ``-D`` options as ``#define`` lines, if given in front)."""
    plain = _NOISE.sub(" ", text)
    defined: set[str] = set(_TAG.findall(plain))
    defined |= set(_TYPEDEF_NAME.findall(plain)) | set(_TYPEDEF_RECORD.findall(plain))
    for body in _ENUM.findall(plain):
        defined |= {item.split("=")[0].strip() for item in body.split(",")} - {""}
    # What is undefined was the kernel's, and is used before: #undef X, #define X 32.
    macros = frozenset(_MACRO.findall(plain)) - frozenset(_UNDEFINED.findall(plain))
    tracepoints = dict.fromkeys(_TRACEPOINT.findall(plain))
    tracepoints.update(dict.fromkeys(_TRACEPOINT_STRUCT.findall(plain)))
    tracepoints.pop(("raw", ""), None)
    license_ = _LICENSE.search(plain)
    return TextScan(
        identifiers=frozenset(_IDENTIFIER.findall(plain)) | {f"bpf_iter__{name}" for name in _ITERATOR.findall(plain)},
        includes=tuple(dict.fromkeys(virtual_includes(text))),
        tracepoints=tuple(tracepoints),
        defined=frozenset(defined | macros),
        license=license_.group(1).strip() if license_ else "GPL",
        globals=frozenset(_FUNCTION.findall(plain)) | _table_names(plain),
    )


def _table_names(plain: str) -> frozenset[str]:
    names = set()
    for macro, arguments in _TABLE.findall(plain):
        position = next((p for prefix, p in _NAME_POSITIONS.items() if macro.startswith(prefix)), 0)
        words = arguments.split(",")
        if position < len(words):
            names.add(words[position].strip())
    return frozenset(names)
