"""Descriptions of a C text's tables and functions ⇄ text, for the compile cache."""

from __future__ import annotations

import json

from trapline.frontends.bcc_c import result as r
from trapline.hints import Any
from trapline.records import annotations_of

_KINDS = (
    r.IntC, r.PointerC, r.ArrayC, r.FieldC, r.RecordC, r.VoidC, r.TableInfo, r.AutoAttach, r.ProgramInfo,
)  # fmt: skip
_BY_NAME = {kind.__name__: kind for kind in _KINDS}


def encode_descriptions(tables: dict[str, r.TableInfo], programs: dict[str, r.ProgramInfo]) -> str:
    """Return text for what `decode_descriptions` gives back."""
    return json.dumps([_to_plain(tuple(found.values())) for found in (tables, programs)], separators=(",", ":"))


def decode_descriptions(text: str) -> tuple[dict[str, r.TableInfo], dict[str, r.ProgramInfo]]:
    """Return tables and functions by name, in the order of the C text."""
    tables, programs = (_from_plain(plain) for plain in json.loads(text))
    return {info.name: info for info in tables}, {info.name: info for info in programs}


# A tuple is an array with an empty first element, a record one with its name.
def _to_plain(item: Any) -> Any:
    if isinstance(item, tuple):
        return ["", *map(_to_plain, item)]
    if isinstance(item, _KINDS):
        return [type(item).__name__, *(_to_plain(getattr(item, name)) for name in annotations_of(type(item)))]
    return item


def _from_plain(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    kind, *items = plain
    parts = [_from_plain(item) for item in items]
    return _BY_NAME[kind](*parts) if kind else tuple(parts)
