"""clang's diagnostics → ours: the script's own lines, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trapline.clang.c_api import Finding
from trapline.clang.libclang import MAIN
from trapline.frontends.bcc_c.reading import Reader
from trapline.source import Diagnostic, Severity, Source, Span

_ERROR = 3

_HINTS = (
    (
        re.compile(r"use of undeclared identifier '(\w+)'"),
        "'{0}' is no type, enumerator or known macro of this kernel; if it is a #define of a kernel header, "
        "write the #define into the program",
    ),
    (
        re.compile(r"call to undeclared (?:library )?function '(\w+)'"),
        "'{0}' is no BPF helper and no function of this program; functions of the kernel cannot be called",
    ),
    (
        re.compile(
            r"(?:incomplete definition of type|has incomplete type|to an incomplete type) '((?:struct|union) \w+)'"
        ),
        "the running kernel's BTF has no '{0}'; it may be in a module, or have another name in this kernel version",
    ),
    (
        re.compile(r"no member named '(\w+)' in '((?:struct|union) \w+)'"),
        "'{1}' of the running kernel has no '{0}'; BPF.kernel_struct_has_field() tells the versions apart",
    ),
    (
        re.compile(r"'([^']+)' file not found"),
        "kernel headers are not needed; give the folder of your own headers with cflags=['-I…']",
    ),
)


def diagnose(reader: Reader, diagnostic: Finding) -> Diagnostic:
    """Return our diagnostic for one of clang's."""
    severity = Severity.ERROR if diagnostic.severity >= _ERROR else Severity.WARNING
    message = diagnostic.spelling
    location = diagnostic.location
    span = None
    if location.file == MAIN:
        span = _span(reader, diagnostic)
    elif location.file is not None:
        message = f"{location.file.rsplit('/', 1)[-1]}:{location.line}: {message}"
    hints = tuple(
        hint.format(*match.groups()) for pattern, hint in _HINTS if (match := pattern.search(diagnostic.spelling))
    )
    return Diagnostic(message, span, severity, hints)


# What the macros of tables take, as BCC's reference guide has it; in brackets, what may be left out.
_TABLE_ARGUMENTS = {
    "BPF_TABLE": '"kind", key type, leaf type, name, entries',
    "BPF_HASH": "name, [key type, [leaf type, [entries]]]",
    "BPF_LRU_HASH": "name, [key type, [leaf type, [entries]]]",
    "BPF_PERCPU_HASH": "name, [key type, [leaf type, [entries]]]",
    "BPF_LRU_PERCPU_HASH": "name, [key type, [leaf type, [entries]]]",
    "BPF_ARRAY": "name, [leaf type, [entries]]",
    "BPF_PERCPU_ARRAY": "name, [leaf type, [entries]]",
    "BPF_HISTOGRAM": "name, [key type, [entries]]",
    "BPF_LPM_TRIE": "name, [key type, [leaf type, [entries]]]",
    "BPF_QUEUE": "name, type, entries",
    "BPF_STACK": "name, type, entries",
    "BPF_STACK_TRACE": "name, entries",
    "BPF_PROG_ARRAY": "name, entries",
    "BPF_PERF_OUTPUT": "name",
    "BPF_RINGBUF_OUTPUT": "name, pages",
}


def one_for_each_table(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics without all but the first of a table's declaration, of which clang finds a dozen faults.

    Each has a hint about what the table's macro takes.
    """
    result: list[Diagnostic] = []
    seen: set[Span] = set()
    for diagnostic in diagnostics:
        span = diagnostic.span
        macro = span.source.text[span.start : span.end] if span is not None else ""
        arguments = _TABLE_ARGUMENTS.get(macro)
        if span is None or arguments is None:
            result.append(diagnostic)
        elif span not in seen:
            seen.add(span)
            hints = diagnostic.hints or (f"write {macro}({arguments})",)
            result.append(Diagnostic(diagnostic.message, span, diagnostic.severity, hints))
    return result


_CLASH = re.compile(r"redefinition of (?:enumerator )?'(\w+)'|redefinition .*\('(\w+)' vs|use of '(\w+)' with tag type")


def find_clashes(messages: Iterable[str]) -> frozenset[str]:
    """Return the names that clang says are defined twice."""
    found = (match for message in messages if (match := _CLASH.search(message)))
    return frozenset(name for match in found for name in match.groups() if name)


_MISSING = re.compile(
    r"(?:incomplete definition of type|incomplete type) '(?:const )?(?:struct|union|enum) (\w+)[ '*]"
    r"|unknown type name '(\w+)'"
)


def find_missing_types(messages: Iterable[str]) -> frozenset[str]:
    """Return the tags and typedefs that clang says are not defined."""
    found = (match for message in messages if (match := _MISSING.search(message)))
    return frozenset(name for match in found for name in match.groups() if name)


def _span(reader: Reader, diagnostic: Finding) -> Span:
    start = end = diagnostic.location.offset
    for extent in diagnostic.ranges:
        if extent.start.offset <= start <= extent.end.offset:
            start, end = extent.start.offset, extent.end.offset
            break
    if reader.offsets is not None:
        last = len(reader.offsets) - 1
        start, end = reader.offsets[min(start, last)], reader.offsets[min(end, last)]
    text = reader.source.text
    if end <= start:
        word = re.compile(r"\w+").match(text, start)
        end = word.end() if word else start + 1
    return reader.source.span(start, min(end, max(len(text), start)))


def warn_unknown_configs(source: Source, names: tuple[str, ...]) -> list[Diagnostic]:
    """Return warnings about CONFIG options that the script tests and nobody knows: they count as not set."""
    result = []
    for name in names:
        start = source.text.find(name)
        span = source.span(start, start + len(name)) if start >= 0 else None
        result.append(
            Diagnostic(
                f"it is not known whether this kernel has {name}: taken as not set",
                span,
                Severity.WARNING,
                (f"define it yourself: cflags=['-D{name}']",),
            )
        )
    return result
