"""The layout of a table's keys and leaves as text: ``BPF.decode_table``."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.frontends.bcc_c.result import ArrayC, FieldC, IntC, PointerC, RecordC, TableInfo, TypeC


def format_layout(info: TableInfo, fd: int, number: int, *, sizes: bool) -> str:
    """Return the layout of a table, a line for each member.

    Args:
        info: the table.
        fd: its descriptor.
        number: which table of its text it is.
        sizes: put ``[offset +bytes]`` before each member, ``[offset,bit +bits bit]`` before bit-fields.
    """
    lines = [f"Layout of BPF map {info.name} (type {info.map_type}, FD {fd}, ID {number}):"]
    for name, type_ in (("key", info.key), ("value", info.leaf)):
        lines += _declare(type_, name, "  ", 0, "", sizes=sizes)
    return "\n".join(lines)


def _declare(type_: TypeC, name: str, indent: str, offset: int, size: str, *, sizes: bool) -> Iterator[str]:
    if isinstance(type_, RecordC):
        yield f"{indent}{size}{_spell(type_)} {{"
        for member in type_.fields:
            start = offset + member.offset
            yield from _declare_member(member, f"{indent}  ", start, sizes=sizes)
        yield f"{indent}}} {name};" if name else f"{indent}}};"
    else:
        yield f"{indent}{size}{_spell(type_)} {name};"


def _declare_member(member: FieldC, indent: str, start: int, *, sizes: bool) -> Iterator[str]:
    name, size = member.name, ""
    if member.bits:
        name = f"{member.name}:{member.bits}"
        size = f"[{start},{member.shift} +{member.bits} bit] " if sizes else ""
    elif sizes:
        size = f"[{start} +{member.type.size}] "
    yield from _declare(member.type, name, indent, start, size, sizes=sizes)


def _spell(type_: TypeC) -> str:
    if isinstance(type_, ArrayC):
        return f"{_spell(type_.element)}[{type_.count}]"
    if isinstance(type_, RecordC):
        return f"{type_.kind} {type_.name}".rstrip()
    if isinstance(type_, IntC):
        return f"enum {type_.enum}" if type_.enum and type_.enum[0] != "(" else type_.name
    return type_.name if isinstance(type_, PointerC) else "void"
