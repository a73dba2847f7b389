"""Sizes, alignments and members: what the C compiler would know about a BTF type."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.btf import types as t
from trapline.btf.reader import TypeStore
from trapline.errors import DecodeError
from trapline.records import record

_MAX_DEPTH = 64
_MAX_ANONYMOUS = 16  # anonymous structs within each other
POINTER_SIZE = 8


def size_of(btf: TypeStore, type_id: int) -> int:
    """Return the size in bytes: C's ``sizeof`` (0 for void, functions and incomplete structs).

    Raises:
        DecodeError: a type that contains itself.
    """
    count = 1
    for _ in range(_MAX_DEPTH):
        type_id = btf.resolve(type_id)
        found = btf.type(type_id)
        if isinstance(found, t.Array):
            count *= found.count
            type_id = found.element
        elif isinstance(found, t.Ptr):
            return count * POINTER_SIZE
        elif isinstance(found, (t.Int, t.Float, t.Struct, t.Union, t.Enum, t.Enum64, t.DataSec)):
            return count * found.size
        elif isinstance(found, t.Var):
            type_id = found.type
        else:
            return 0
    raise DecodeError(f"BTF type {type_id} contains itself")


@record(frozen=True)
class Field:
    """A member as C sees it: members of anonymous structs and unions belong to the struct around them.

    `bit_offset` counts from the start of the outermost struct; `bitfield_size` is in bits, 0 for an ordinary member.
    """

    name: str
    type: int
    bit_offset: int
    bitfield_size: int = 0

    @property
    def offset(self) -> int:
        """Offset in bytes (of the byte that holds the first bit of a bitfield)."""
        return self.bit_offset >> 3


def fields(btf: TypeStore, type_id: int) -> Iterator[Field]:
    """Iterate over the members of a struct or union (typedefs are followed), anonymous ones flattened."""
    yield from _fields(btf, type_id, 0, 0)


def _fields(btf: TypeStore, type_id: int, start: int, depth: int) -> Iterator[Field]:
    if depth > _MAX_ANONYMOUS:
        raise DecodeError(f"BTF type {type_id} contains itself")
    for member in members_of(btf, type_id):
        if member.name:
            yield Field(member.name, member.type, start + member.bit_offset, member.bitfield_size)
        elif is_composite(btf, member.type):
            yield from _fields(btf, member.type, start + member.bit_offset, depth + 1)


def members_of(btf: TypeStore, type_id: int) -> tuple[t.Member, ...]:
    """Return the members of a struct or union as they stand in the BTF; empty for every other type."""
    found = btf.resolved(type_id)
    return found.members if isinstance(found, (t.Struct, t.Union)) else ()


def is_composite(btf: TypeStore, type_id: int) -> bool:
    """Tell whether a type is a struct or union behind typedefs and qualifiers."""
    return btf.kind(btf.resolve(type_id)) in (t.BTF_KIND_STRUCT, t.BTF_KIND_UNION)


def field(btf: TypeStore, type_id: int, name: str) -> Field | None:
    """Find a member by name, also inside anonymous structs and unions; ``None`` when there is none."""
    for found in fields(btf, type_id):
        if found.name == name:
            return found
    return None


@record(frozen=True)
class Step:
    """One name of a member path.

    `bit_offset` counts from the start of the struct that the step begins in; `dereference` says that this struct was
    reached by loading the pointer that the step before ended at.
    """

    name: str
    type: int
    bit_offset: int
    bitfield_size: int
    dereference: bool = False

    @property
    def offset(self) -> int:
        """Offset in bytes."""
        return self.bit_offset >> 3


def member_path(btf: TypeStore, type_id: int, path: str) -> tuple[Step, ...] | None:
    """Resolve ``a.b.c`` (``->`` and ``.`` mean the same) from a struct or union.

    Args:
        btf: where the ids live.
        type_id: the struct or union, or a pointer to one (then the first step dereferences).
        path: names of members, pointers are followed.

    Returns:
        A step for each name, or ``None`` when a name does not exist.
    """
    steps: list[Step] = []
    for name in path.replace("->", ".").split("."):
        current = btf.resolved(type_id)
        dereference = isinstance(current, t.Ptr)
        if isinstance(current, t.Ptr):
            type_id = current.target
        found = field(btf, type_id, name)
        if found is None:
            return None
        steps.append(Step(name, found.type, found.bit_offset, found.bitfield_size, dereference))
        type_id = found.type
    return tuple(steps)


def align_of(btf: TypeStore, type_id: int) -> int:
    """Return the alignment in bytes that C gives a type by itself; a struct that breaks it counts as packed (1).

    BTF does not record ``aligned`` attributes, so a type may be aligned more than this.
    """
    return _align(btf, type_id, 0)


def _align(btf: TypeStore, type_id: int, depth: int) -> int:
    known = btf.alignments.get(type_id)
    if known is None:
        if depth > _MAX_DEPTH:
            raise DecodeError(f"BTF type {type_id} contains itself")
        known = btf.alignments[type_id] = _compute_align(btf, type_id, depth)
    return known


def _compute_align(btf: TypeStore, type_id: int, depth: int) -> int:
    found = btf.resolved(type_id)
    if isinstance(found, t.Ptr):
        return POINTER_SIZE
    if isinstance(found, (t.Int, t.Float, t.Enum, t.Enum64)):
        return scalar_align(found.size)
    if isinstance(found, t.Array):
        return _align(btf, found.element, depth + 1)
    if isinstance(found, (t.Struct, t.Union)):
        return 1 if is_packed(btf, found, depth) else _largest_align(btf, found, depth)
    if isinstance(found, t.Var):
        return _align(btf, found.type, depth + 1)
    return 1


def scalar_align(size: int) -> int:
    """Return the alignment of a scalar of `size` bytes: the largest power of two that divides it, up to 16."""
    return min(size & -size or 1, 16)


def is_packed(btf: TypeStore, found: t.Struct | t.Union, depth: int = 0) -> bool:
    """Tell whether only ``__attribute__((packed))`` explains the offsets and the size of a struct or union."""
    for member in found.members:
        if member.bitfield_size:
            unit = 8 * size_of(btf, member.type)
            last = member.bit_offset + member.bitfield_size - 1
            if unit == 0 or member.bit_offset // unit != last // unit:
                return True
        elif member.bit_offset % (8 * _align(btf, member.type, depth + 1)):
            return True
    return found.size % _largest_align(btf, found, depth) != 0


def _largest_align(btf: TypeStore, found: t.Struct | t.Union, depth: int) -> int:
    return max(
        (_align(btf, m.type, depth + 1) for m in found.members if m.name or not m.bitfield_size),
        default=1,
    )
