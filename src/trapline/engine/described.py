"""Compiled objects with what their front end says of them, from the cache where it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trapline.engine.cache import Cache
from trapline.engine.compile import Dump, sources_key
from trapline.errors import DecodeError
from trapline.hints import TYPE_CHECKING
from trapline.ir import serial
from trapline.ir.spec import ModuleSpec, ObjectSpec
from trapline.records import record, replace

if TYPE_CHECKING:
    from trapline.engine.dynamic import DynamicMap
    from trapline.ir.target import Target

CompiledObject = ObjectSpec  # under a name of this layer, for those above it


@record(frozen=True)
class Described:
    """A front end's result.

    Args:
        module: the IR.
        description: what the embedding program wants to know of it.
        keep: whether the same key will give the same result: no file was read, no warning shown.
    """

    module: ModuleSpec
    description: str
    keep: bool = True


def compile_described(
    frontend: Callable[[], Described],
    target: Target,
    *,
    key: str = "",
    externs: Callable[[Described], Mapping[str, DynamicMap]] = lambda described: {},
    dump: Dump | None = None,
    cache: Cache | None = None,
) -> tuple[CompiledObject, str]:
    """Compile a module, or take object and description from the cache.

    Args:
        frontend: what makes IR; not called when the cache has the result.
        target: the machine to compile for.
        key: all that the front end depends on, but for the machine; with an empty one nothing is kept.
        externs: returns maps of other objects, by the name under which the module uses them; such a module is not kept.
        dump: receives the compiler's stages; it makes every stage run.
        cache: where results are kept; the user's if not given.

    Raises:
        SourceError: the program is wrong.
        TargetError: the machine lacks what it needs.
    """
    cache = cache or Cache.default()
    key = "\0".join((sources_key(), "described", key, target.identity)) if key and dump is None else ""
    if key and (found := _decode(cache.get(key))) is not None:
        return found
    answers = target.volatile_answers
    described = frontend()
    maps = externs(described)
    known = {spec.name for spec in described.module.maps}
    # The code refers to another object's map by name; only its descriptor comes from there.
    borrowed = tuple(entry.map.spec for name, entry in maps.items() if name not in known)
    from trapline.codegen import compile_module

    module = replace(described.module, maps=described.module.maps + borrowed)
    compiled = compile_module(module, target, dump=dump)
    if key and described.keep and not maps and target.volatile_answers == answers:
        text = described.description.encode()
        cache.put(key, len(text).to_bytes(4, "little") + text + serial.encode(compiled))
    return compiled, described.description


def _decode(blob: bytes | None) -> tuple[ObjectSpec, str] | None:
    if blob is None:
        return None
    end = 4 + int.from_bytes(blob[:4], "little")
    try:
        return serial.decode(blob[end:], ObjectSpec), blob[4:end].decode()
    except (DecodeError, ValueError):
        return None
