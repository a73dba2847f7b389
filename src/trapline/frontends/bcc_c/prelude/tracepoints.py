"""``struct tracepoint__CATEGORY__EVENT``, generated from a tracepoint's format."""

from __future__ import annotations

from trapline.abi.tracepoint import TracepointField, TracepointFormat

_INTEGERS = {1: "char", 2: "short", 4: "int", 8: "long long"}
_RECORDS = ("struct ", "union ")


def tracepoint_struct(category: str, event: str, format_: TracepointFormat) -> str:
    """Return the C struct that ``args`` points to: the record's fields at their offsets, without the common ones."""
    lines: list[str] = []
    position = 0
    for field in sorted(format_.fields, key=lambda f: f.offset):
        if field.common or field.offset < position:
            continue
        if field.offset > position:
            lines.append(f"    char __pad_{position}[{field.offset - position}];")
        lines.append(f"    {declare_field(field)};")
        position = field.offset + field.size
    body = "\n".join(lines)
    tag = f"tracepoint__{category}__{event}"
    return f"{_forwards(format_)}struct {tag} {{\n{body}\n}} __attribute__((packed, aligned(8)));\n"


def declare_field(field: TracepointField) -> str:
    """Return the declaration of one field; integers get the width that the record has."""
    if field.data_loc:
        return f"int data_loc_{field.name}"
    type_ = field.type.strip()
    if type_.endswith("*") and field.size == 8:
        return f"{type_}{field.name}"
    count = field.array
    size = field.size // count if count else field.size
    if type_.removeprefix("const ").startswith(_RECORDS):
        return f"unsigned char {field.name}[{field.size}]"
    if size not in _INTEGERS or (count and size * count != field.size):
        return f"unsigned char {field.name}[{field.size}]"
    if type_.removeprefix("const ") == "char":
        word = "char"
    elif size == 1:
        word = "signed char" if field.signed else "unsigned char"
    else:
        word = f"{'' if field.signed else 'unsigned '}{_INTEGERS[size]}"
    return f"{word} {field.name}" + (f"[{count}]" if count is not None else "")


def _forwards(format_: TracepointFormat) -> str:
    names = set()
    for field in format_.fields:
        type_ = field.type.removeprefix("const ").strip()
        if type_.endswith("*") and type_.startswith(_RECORDS):
            names.add(" ".join(type_.rstrip("* ").split()[:2]))
    return "".join(f"{name};\n" for name in sorted(names))
