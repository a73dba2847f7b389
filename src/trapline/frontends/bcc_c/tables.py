"""The maps that a text declares: read back from the variables that the map macros make."""

from __future__ import annotations

from collections.abc import Mapping

from trapline.clang import ctype as c
from trapline.clang.c_api import Cursor
from trapline.errors import SemanticError
from trapline.frontends.bcc_c import result as r
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.prelude.maps import MARKER
from trapline.frontends.bcc_c.read_expressions import read_expression
from trapline.frontends.bcc_c.reading import Reader
from trapline.ir.spec import MapSpec
from trapline.source import Diagnostic

MAP_TYPES = {
    "hash": "HASH",
    "array": "ARRAY",
    "percpu_hash": "PERCPU_HASH",
    "percpu_array": "PERCPU_ARRAY",
    "lru_hash": "LRU_HASH",
    "lru_percpu_hash": "LRU_PERCPU_HASH",
    "lpm_trie": "LPM_TRIE",
    "prog": "PROG_ARRAY",
    "perf_output": "PERF_EVENT_ARRAY",
    "perf_array": "PERF_EVENT_ARRAY",
    "cgroup_array": "CGROUP_ARRAY",
    "stacktrace": "STACK_TRACE",
    "devmap": "DEVMAP",
    "cpumap": "CPUMAP",
    "xskmap": "XSKMAP",
    "hash_of_maps": "HASH_OF_MAPS",
    "array_of_maps": "ARRAY_OF_MAPS",
    "sockmap": "SOCKMAP",
    "sockhash": "SOCKHASH",
    "sk_storage": "SK_STORAGE",
    "inode_storage": "INODE_STORAGE",
    "task_storage": "TASK_STORAGE",
    "cgroup_storage": "CGROUP_STORAGE",
    "percpu_cgroup_storage": "PERCPU_CGROUP_STORAGE",
    "queue": "QUEUE",
    "stack": "STACK",
    "ringbuf": "RINGBUF",
}


def is_table(cursor: Cursor) -> bool:
    """Whether a file-scope variable is a map."""
    declaration = cursor.type.get_declaration()
    return any(field.spelling == MARKER for field in declaration.type.get_fields())


def read_table(reader: Reader, cursor: Cursor, externs: Mapping[str, r.TableInfo]) -> r.TableInfo:
    """Return the description of the map that a variable declares.

    Raises:
        SemanticError: its kind or size makes no sense.
    """
    settings = _settings(reader, cursor)
    kind = str(settings.get(MARKER, ""))
    name = cursor.spelling
    fields = {f.spelling: f for f in cursor.type.get_declaration().type.get_fields()}
    key = describe(reader.type(fields["key"]))
    leaf = describe(reader.type(fields["leaf"]))
    entries, flags = int(settings.get("max_entries", 0)), int(settings.get("flags", 0))
    scope = str(settings.get("__trapline_scope", "private"))
    if kind == "extern":
        known = externs.get(name)
        outer_type = known.map_type if known else "HASH"
        kind = known.kind if known else "hash"
        entries = entries or (known.max_entries if known else 0)
        return r.TableInfo(name, kind, outer_type, key, leaf, entries, flags, "extern")
    if kind == "histogram":
        kind = "array" if isinstance(key, r.IntC) and key.name == "int" and not key.enum else "hash"
    if kind == "stacktrace" and entries > 0:
        entries = 1 << (entries - 1).bit_length()
    map_type = MAP_TYPES.get(kind)
    if map_type is None:
        raise _wrong(reader, cursor, f"'{kind}' is not a kind of map", "known kinds: " + ", ".join(sorted(MAP_TYPES)))
    if kind == "ringbuf" and (entries <= 0 or entries & (entries - 1)):
        raise _wrong(reader, cursor, f"the ring buffer '{name}' needs a power of two as its number of pages", "")
    return r.TableInfo(
        name,
        kind,
        map_type,
        key,
        leaf,
        entries,
        flags,
        scope,
        str(settings.get("__trapline_pin", "")),
        str(settings.get("__trapline_inner", "")),
    )


def _wrong(reader: Reader, cursor: Cursor, message: str, hint: str) -> SemanticError:
    span = reader.span(cursor)
    place = reader.source.span(*span) if span else None
    return SemanticError([Diagnostic(message, place, hints=(hint,) if hint else ())])


def _settings(reader: Reader, cursor: Cursor) -> dict[str, int | str]:
    init = cursor.get_initialiser()
    if init is None:
        return {}
    settings: dict[str, int | str] = {}
    for item in init.get_children():
        children = list(item.get_children())
        name, value = children[0].spelling, children[-1]
        number = value.evaluate()
        if number is not None:
            settings[name] = number
            continue
        expression = read_expression(reader, value)
        while isinstance(expression, tree.Cast):
            expression = expression.operand
        if isinstance(expression, tree.StringLiteral):
            settings[name] = expression.data.rstrip(b"\0").decode(errors="replace")
    return settings


def describe(type_: c.CType) -> r.TypeC:
    """Return the description of a C type for the Python side."""
    if isinstance(type_, c.CInt):
        return r.IntC(type_.name, type_.size, type_.signed, type_.enum)
    if isinstance(type_, c.CPointer):
        return r.PointerC(type_.spelling)
    if isinstance(type_, c.CArray):
        return r.ArrayC(describe(type_.element), type_.count)
    if isinstance(type_, c.CRecord):
        return _describe_record(type_)
    return r.VoidC()


def _describe_record(type_: c.CRecord) -> r.RecordC:
    fields = []
    packed = False
    for member in type_.fields:
        described = describe(member.type)
        if member.width:
            unit = described.size * 8
            start = member.offset_bits // unit * unit
            fields.append(r.FieldC(member.name, described, start // 8, member.width, member.offset_bits - start))
        else:
            offset = member.offset_bits // 8
            packed = packed or offset % natural_alignment(member.type) != 0
            fields.append(r.FieldC(member.name, described, offset))
    packed = packed or any(type_.align < natural_alignment(m.type) for m in type_.fields if not m.width)
    return r.RecordC(type_.name, "union" if type_.union else "struct", type_.size, type_.align, tuple(fields), packed)


def natural_alignment(type_: c.CType) -> int:
    """Return the alignment that the type has outside of packed records."""
    if isinstance(type_, c.CArray):
        return natural_alignment(type_.element)
    if isinstance(type_, c.CRecord):
        return type_.align
    return max(type_.size, 1)


def map_spec(table: r.TableInfo, inner: MapSpec | None = None) -> MapSpec:
    """Return the map to create for a table."""
    key_size, value_size = table.key.size, table.leaf.size
    if table.map_type == "RINGBUF":
        key_size = value_size = 0
    elif table.map_type in ("QUEUE", "STACK"):
        key_size = 0
    elif table.map_type in ("ARRAY_OF_MAPS", "HASH_OF_MAPS"):
        value_size = 4
    return MapSpec(table.name, table.map_type, key_size, value_size, table.max_entries, table.flags, inner=inner)
