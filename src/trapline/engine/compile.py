"""From text to an `ObjectSpec`: front end, code generator, and the cache in front of both."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
from collections.abc import Callable, Iterator, Sequence

from trapline.digest import digest
from trapline.engine.cache import Cache
from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING
from trapline.ir.spec import ModuleSpec, ObjectSpec
from trapline.records import record
from trapline.source import Diagnostic, Severity, Source, Sources

if TYPE_CHECKING:
    from trapline.ir.target import Target


@record(frozen=True)
class Translated:
    """What a front end made of a program.

    Args:
        module: the IR.
        warnings: what the user should know.
        files: paths of the other files that the program depends on, whether they exist or not.
    """

    module: ModuleSpec
    warnings: Sequence[Diagnostic] = ()
    files: Sequence[str] = ()


# A front end: source and target in, IR out.
Frontend = Callable[[Source, "Target"], Translated]
# Receives the name of a compiler stage and its text (``-d``).
Dump = Callable[[str, str], None]

_VERSION = "4"  # of the cache's contents; a change of trapline's own version counts too


@record(frozen=True)
class Compiled:
    """An object and the warnings of its compilation."""

    object: ObjectSpec
    warnings: tuple[Diagnostic, ...] = ()


def compile_source(
    source: Source,
    frontend: Frontend,
    target: Target,
    *,
    options: str = "",
    cache: Cache | None = None,
    dump: Dump | None = None,
) -> Compiled:
    """Compile a program, or take it from the cache.

    Args:
        source: the program.
        frontend: what makes IR of it.
        target: the machine to compile for.
        options: everything else that the front end depends on, as text: part of the cache's key.
        cache: where compiled programs are kept; ``None`` compiles always.
        dump: receives the stages; it makes every stage run.

    Raises:
        SourceError: the program is wrong.
        TargetError: the machine lacks what it needs.
    """
    if cache is None or cache.directory is None or dump is not None:
        with _no_collection():
            return _compile(frontend(source, target), target, dump)
    key = _key(source, options, target)
    blob = cache.get(key)
    if blob is not None:
        found = _decode(blob, source)
        if found is not None and _is_current(found.object, target):
            return found
    answers = target.volatile_answers
    with _no_collection():
        translated = frontend(source, target)
        digests = [(path, _digest(path)) for path in translated.files]
        compiled = _compile(translated, target, None)
    if target.volatile_answers == answers:
        cache.put(key, _encode(compiled, digests))
    return compiled


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking trees that grow and are all in use: a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compile(translated: Translated, target: Target, dump: Dump | None) -> Compiled:
    from trapline.codegen import compile_module

    return Compiled(compile_module(translated.module, target, dump=dump), tuple(translated.warnings))


def _digest(path: str) -> str:
    """Return a digest of a file's contents or a folder's names; empty when there is neither."""
    try:
        if os.path.isdir(path):
            return digest("\0".join(sorted(os.listdir(path))).encode("utf-8", "surrogateescape")).hex()
        with open(path, "rb") as file:
            return digest(file.read()).hex()
    except OSError:
        return ""


def _key(source: Source, options: str, target: Target) -> str:
    return "\0".join((sources_key(), source.name, source.text, options, target.identity))


def sources_key() -> str:
    """Return the part of a cache's key that says which trapline made the entry."""
    from trapline import __version__

    return "\0".join((_VERSION, __version__, _sources()))


@functools.cache
def _sources() -> str:
    """Return what changes when trapline itself is being changed; nothing for an installed package.

    Looked up once: a process goes on with the modules that it has read.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    if "-packages" in package:
        return ""
    return str(_newest(package))


def _newest(folder: str) -> int:
    """Return when the youngest module under a folder was changed, in nanoseconds."""
    newest = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(".py"):
                newest = max(newest, entry.stat().st_mtime_ns)
            elif name != "__pycache__" and entry.is_dir():
                newest = max(newest, _newest(entry.path))
    return newest


def _is_current(found: ObjectSpec, target: Target) -> bool:
    """Return whether the files of user programs that the object was made from are the same still."""
    return all(target.user_files.fingerprint(used.name, used.pid) == used.fingerprint for used in found.files)


def _encode(compiled: Compiled, files: Sequence[tuple[str, str]]) -> bytes:
    import json

    from trapline.ir import serial

    warnings = [[w.message, None if w.span is None else w.span.chain, list(w.hints)] for w in compiled.warnings]
    head = json.dumps({"warnings": warnings, "files": files}).encode()
    return len(head).to_bytes(4, "little") + head + serial.encode(compiled.object)


def _decode(blob: bytes, source: Source) -> Compiled | None:
    """Return what the blob holds; ``None`` when it is malformed, or a file that it depends on is another by now."""
    import json

    from trapline.ir import serial

    size = int.from_bytes(blob[:4], "little")
    try:
        head = json.loads(blob[4 : 4 + size])
        if any(_digest(path) != digest for path, digest in head["files"]):
            return None
        found = serial.decode(blob[4 + size :], ObjectSpec)
        sources = Sources(source.name, source.text, found.imports)
        warnings = tuple(
            Diagnostic(message, chain and sources.span(chain[0], chain[1:]), Severity.WARNING, tuple(hints))
            for message, chain, hints in head["warnings"]
        )
        return Compiled(found, warnings)
    except (DecodeError, ValueError, TypeError, KeyError, RecursionError):
        return None


def llvm_version() -> str:
    """Return the version of the code generator, such as ``22.1.0``."""
    from trapline.codegen.llvm import version

    return version()


def options_key(options: object) -> str:
    """Return text that differs whenever a frozen options dataclass does."""
    return digest(repr(options).encode("utf-8", "surrogateescape")).hex()
