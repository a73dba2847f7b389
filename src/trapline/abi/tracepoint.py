"""The text of a tracepoint's ``format`` file, parsed into fields."""

from __future__ import annotations

import re

from trapline.errors import DecodeError
from trapline.records import record

_FIELD = re.compile(
    r"^\s*field:(?P<decl>.*);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(?:\s*signed:(?P<signed>[01]);)?"
)
_ARRAY = re.compile(r"\[([^\]]*)\]$")
_LOCATIONS = ("__data_loc", "__rel_loc")


@record(frozen=True)
class TracepointField:
    """One field of a tracepoint's record.

    Args:
        name: the field's name.
        type: its C type as the kernel prints it, without ``__data_loc`` and without array brackets.
        offset, size: in bytes, from the start of the record.
        signed: whether an integer in it is signed.
        data_loc: the field is a ``u32`` (offset | length << 16) that points to data later in the record.
        relative: like `data_loc`, the offset counted from the field's end (``__rel_loc``).
        array: how many elements; ``None`` when it is no array.
        common: one of the ``common_`` fields that every tracepoint has.
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool
    data_loc: bool = False
    relative: bool = False
    array: int | None = None

    @property
    def common(self) -> bool:
        """Whether every tracepoint has this field."""
        return self.name.startswith("common_")

    @property
    def declaration(self) -> str:
        """The field as C text, as a listing shows it."""
        location = "__rel_loc " if self.relative else "__data_loc " if self.data_loc else ""
        if self.array is None:
            return f"{location}{self.type} {self.name}"
        if location:
            return f"{location}{self.type}[] {self.name}"
        return f"{self.type} {self.name}[{self.array}]"


@record(frozen=True)
class TracepointFormat:
    """A tracepoint: its name, its number for perf, and its fields in the order of the record."""

    name: str
    id: int
    fields: tuple[TracepointField, ...]
    print_format: str = ""

    @property
    def size(self) -> int:
        """Bytes of the fixed part of the record."""
        return max((f.offset + f.size for f in self.fields), default=0)

    def field(self, name: str) -> TracepointField | None:
        """Return the field called `name`."""
        return next((f for f in self.fields if f.name == name), None)


def parse_tracepoint_format(text: str) -> TracepointFormat:
    """Parse the contents of ``events/CATEGORY/NAME/format``.

    Raises:
        DecodeError: a line is not what the kernel writes.
    """
    name, number, print_format = "", -1, ""
    fields: list[TracepointField] = []
    position = 0
    for line in text.splitlines(keepends=True):
        if line.startswith("name:"):
            name = line[5:].strip()
        elif line.startswith("ID:"):
            try:
                number = int(line[3:])
            except ValueError:
                raise DecodeError(f"tracepoint ID is not a number: {line[3:].strip()!r}", offset=position) from None
        elif line.startswith("print fmt:"):
            print_format = line[10:].strip()
        elif line.lstrip().startswith("field:"):
            fields.append(_parse_field(line, position))
        position += len(line)
    if not name or number < 0:
        raise DecodeError("tracepoint format lacks its name or ID", offset=0)
    return TracepointFormat(name, number, tuple(fields), print_format)


def _parse_field(line: str, position: int) -> TracepointField:
    match = _FIELD.match(line)
    if match is None:
        raise DecodeError(f"malformed tracepoint field {line.strip()!r}", offset=position)
    text = match["decl"].strip()
    location = next((word for word in _LOCATIONS if text.startswith(word + " ")), "")
    text = text[len(location) :].strip()
    size = int(match["size"])
    type_text, name, array = _split_declaration(text, size, bool(location))
    if not name or not type_text:
        raise DecodeError(f"tracepoint field without name or type {line.strip()!r}", offset=position)
    return TracepointField(
        name=name,
        type=type_text,
        offset=int(match["offset"]),
        size=size,
        signed=match["signed"] == "1",
        data_loc=bool(location),
        relative=location == "__rel_loc",
        array=array,
    )


def _split_declaration(text: str, size: int, located: bool) -> tuple[str, str, int | None]:
    """Return type, name and array length of a declaration such as ``char comm[16]`` or ``char[] name``."""
    array: int | None = None
    bracket = _ARRAY.search(text)
    if bracket:
        text = text[: bracket.start()].rstrip()
        # A length may be a constant's name (TASK_COMM_LEN): the caller sees 0 then and goes by the size.
        array = int(bracket[1]) if bracket[1].isdigit() else 0
    type_text, _, name = text.rpartition(" ")
    while name.startswith("*"):
        type_text, name = type_text + " *", name[1:]
    type_text = type_text.strip()
    inner = _ARRAY.search(type_text)
    if inner:
        type_text = type_text[: inner.start()].rstrip()
        if array is None:
            array = int(inner[1]) if inner[1].isdigit() else 0
    if array == 0 and not located and type_text in ("char", "unsigned char", "u8", "__u8", "signed char"):
        array = size
    return type_text, name, array
