"""A C compiler as judge of generated headers: libclang, in this process, for the BPF target."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from clang.cindex import Index, TranslationUnit

from trapline import btf as b


@cache
def _index() -> Index:
    return Index.create()


def complaints(text: str) -> list[str]:
    """Compile C text; return errors and warnings."""
    unit = TranslationUnit.from_source(
        "./header.c",
        ["-target", "bpf", "-std=gnu11", "-fms-extensions", "-Wall", "-Wno-microsoft-anon-tag", "-ferror-limit=0"],
        unsaved_files=[("./header.c", text)],
        index=_index(),
    )
    return [f"{d.location.line}: {d.spelling}" for d in unit.diagnostics]


def layout_assertions(btf: b.Btf, ids: Iterable[int]) -> list[str]:
    """Return a static assertion for the size and every addressable member of some structs."""
    lines = []
    for type_id in ids:
        found = btf.type(type_id)
        assert isinstance(found, b.Struct | b.Union)
        name = btf.type_name(type_id)
        lines.append(f'_Static_assert(sizeof({name}) == {found.size}, "size of {name}");')
        for field in btf.fields(type_id):
            if field.name and not field.bitfield_size:
                check = f"__builtin_offsetof({name}, {field.name}) == {field.offset}"
                lines.append(f'_Static_assert({check}, "offset of {field.name} in {name}");')
    return lines
