"""What can be wrong with a cache's files: how to bring it about, by the name of the state."""

from __future__ import annotations

import os
import random
import tempfile
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trapline.btf.index import MAGIC as INDEX_MAGIC
from trapline.digest import digest

SEAL = 32  # bytes of the digest that a file starts with
FUNCTIONS_MAGIC = b"trapline-functions-1 "
_NOBODY = 65534
_HOSTILE_TEXT = 'BEGIN { printf("hostile\\n"); exit(77); }'
_HOSTILE_C = "int hostile(void *ctx) { return 0; }"


@dataclass
class Damage:
    """What was done.

    Args:
        heals: whether a run writes the entries again; else it has to leave the directory as it is.
        stays: names that no run can write again.
        contents: the files afterwards, by name; of a directory that does not heal, or of `stays`.
    """

    heals: bool = True
    stays: set[str] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)


_Spoil = Callable[[Path, random.Random, Mapping[str, bytes]], Damage]


def make_hostile_blobs() -> dict[str, bytes]:
    """Return well-made contents of other programs (``bpftrace``, ``bcc``) and of other types (``index``)."""
    from trapline.api import CompileOptions, compile_program
    from trapline.bcc.compiling import compile_text
    from trapline.engine.machine import Machine
    from trapline.kernel.target import LiveTarget
    from trapline.source import Source

    found: dict[str, bytes] = {}
    before = os.environ.get("TRAPLINE_CACHE")
    with tempfile.TemporaryDirectory(prefix="trapline-hostile-") as folder:
        try:
            for kind in ("bpftrace", "bcc"):
                os.environ["TRAPLINE_CACHE"] = f"{folder}/{kind}"
                if kind == "bcc":
                    compile_text(Source("hostile.c", _HOSTILE_C), Machine())
                else:
                    compile_program(Source("stdin", _HOSTILE_TEXT), CompileOptions())
                entries = [path.read_bytes()[SEAL:] for path in Path(folder, kind).iterdir()]
                (found[kind],) = (blob for blob in entries if not blob.startswith((INDEX_MAGIC, FUNCTIONS_MAGIC)))
        finally:
            if before is None:
                del os.environ["TRAPLINE_CACHE"]
            else:
                os.environ["TRAPLINE_CACHE"] = before
    if LiveTarget().has_btf:
        index = LiveTarget().btf.index_bytes()
        words = array("I", index[24:])
        words.append(words.pop(0))  # every type is another
        found["index"] = index[:24] + words.tobytes()
    return found


def _hostile_for(content: bytes, hostile: Mapping[str, bytes]) -> bytes:
    """Return the hostile contents of the kind of an entry."""
    blob = content[SEAL:]
    if blob.startswith(INDEX_MAGIC):
        return hostile["index"]
    if blob.startswith(FUNCTIONS_MAGIC):
        return blob.partition(b"\n")[0] + b"\n\nvmlinux\nhostile_function"
    return hostile["bpftrace" if blob[4:].startswith(b'{"warnings"') else "bcc"]


def _sealed(name: str, blob: bytes) -> bytes:
    return digest(bytes.fromhex(name), blob) + blob


def _entries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.is_dir() else []


def _read(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in _entries(cache)}


def _flip(cache: Path, chooser: random.Random, hostile: Mapping[str, bytes]) -> Damage:
    for path in _entries(cache):
        content = bytearray(path.read_bytes())
        for bit in {chooser.randrange(8 * len(content)) for _ in range(chooser.choice((1, 1, 2, 8, 100)))}:
            content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
    return Damage()


def _truncate(cache: Path, chooser: random.Random, hostile: Mapping[str, bytes]) -> Damage:
    for path in _entries(cache):
        size = path.stat().st_size
        os.truncate(path, chooser.choice((0, 1, 31, 32, 36, size - 1, chooser.randrange(size))))
    return Damage()


def _make_foreign_kernel(cache: Path, chooser: random.Random, hostile: Mapping[str, bytes]) -> Damage:
    """Exchange every entry for a whole one of another kernel, as it would be under its own name."""
    for path in _entries(cache):
        name = chooser.randbytes(32).hex()
        foreign = _sealed(name, _hostile_for(path.read_bytes(), hostile))
        path.write_bytes(foreign)
        (cache / name).write_bytes(foreign)
        (cache / name).chmod(0o600)
    return Damage()


def _make_foreign_user(cache: Path, chooser: random.Random, hostile: Mapping[str, bytes]) -> Damage:
    """Let another user be able to write the entries; what is in them is made for their names."""
    way = chooser.choice(("owner", "mode", "directory", "open directory", "open parent", "link"))
    for path in _entries(cache):
        path.write_bytes(_sealed(path.name, _hostile_for(path.read_bytes(), hostile)))
        if way == "owner":
            os.chown(path, _NOBODY, _NOBODY)
        if way == "mode":
            path.chmod(0o666)
    if way in ("owner", "mode"):
        return Damage()
    damage = Damage(heals=False, contents=_read(cache))
    if way == "directory":
        os.chown(cache, _NOBODY, _NOBODY)
    elif way == "open directory":
        cache.chmod(0o777)
    elif way == "open parent":
        cache.parent.chmod(0o777)
    else:
        theirs = cache.parent / "theirs"
        cache.rename(theirs)
        os.chown(theirs, _NOBODY, _NOBODY)
        cache.symlink_to(theirs)
    return damage


def _plant(cache: Path, chooser: random.Random, hostile: Mapping[str, bytes]) -> Damage:
    """Put what is no file in the place of every entry, and what a killed writer leaves beside it."""
    damage = Damage()
    elsewhere = cache.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    for path in _entries(cache):
        content = path.read_bytes()
        path.unlink()
        way = chooser.choice(("link", "dangling", "pipe", "directory"))
        if way == "link":
            target = elsewhere / path.name
            target.write_bytes(_sealed(path.name, _hostile_for(content, hostile)))
            target.chmod(0o600)
            path.symlink_to(target)
        elif way == "dangling":
            path.symlink_to(elsewhere / "nothing")
        elif way == "pipe":
            os.mkfifo(path, 0o600)
        else:
            path.mkdir()
            damage.stays.add(path.name)
        (cache / f".new-1-{chooser.randbytes(8).hex()}").write_bytes(content[: len(content) // 2])
    return damage


DAMAGES: Mapping[str, _Spoil] = {
    "flipped": _flip,
    "truncated": _truncate,
    "foreign-kernel": _make_foreign_kernel,
    "foreign-user": _make_foreign_user,
    "planted": _plant,
}
