"""C types as the lowering sees them, with the integer conversions of C11 6.3.

Sizes and layouts come from clang (the LP64 model of every supported kernel); nothing here computes a layout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from trapline.records import field, record


@record(frozen=True)
class CVoid:
    """``void``."""

    size: int = 0

    def __str__(self) -> str:
        return "void"


@record(frozen=True)
class CInt:
    """An integer type; `rank` orders conversions, `enum` is the tag of an enumeration."""

    name: str
    size: int
    signed: bool
    rank: int
    enum: str = field(default="", compare=False)

    @property
    def bits(self) -> int:
        """Width in bits (of the object, for ``_Bool`` too)."""
        return self.size * 8

    def wrap(self, value: int) -> int:
        """Return `value` converted to this type (C11 6.3.1.3, modulo the width)."""
        if self is BOOL or self.name == "_Bool":
            return int(value != 0)
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value

    def __str__(self) -> str:
        return f"enum {self.enum}" if self.enum else self.name


@record(frozen=True)
class CPointer:
    """A pointer; `pointee` is computed when asked, so types may be recursive; `user` tells one to user space."""

    spelling: str
    resolve: Callable[[], CType] = field(compare=False, repr=False)
    size: int = 8
    user: bool = field(default=False, compare=False)

    @cached_property
    def pointee(self) -> CType:
        """The type that it points to."""
        return self.resolve()

    def __str__(self) -> str:
        return self.spelling


@record(frozen=True)
class CArray:
    """`count` elements; 0 for an incomplete (flexible) array."""

    element: CType
    count: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.element.size * self.count

    def __str__(self) -> str:
        return f"{self.element}[{self.count or ''}]"


@record(frozen=True)
class CField:
    """A member of a record; `offset_bits` counts from the start of that record, `width` is 0 for all but bit-fields."""

    name: str
    type: CType
    offset_bits: int
    width: int = 0


@record(frozen=True)
class CRecord:
    """A struct or union; identity is its declaration's `key`."""

    key: str
    name: str
    union: bool
    size: int = field(compare=False)
    align: int = field(compare=False)
    resolve: Callable[[], tuple[CField, ...]] = field(compare=False, repr=False)
    complete: bool = field(default=True, compare=False)
    find_annotations: Callable[[], frozenset[str]] = field(default=frozenset, compare=False, repr=False)

    @cached_property
    def annotations(self) -> frozenset[str]:
        """What ``__attribute__((annotate(…)))`` says of it."""
        return self.find_annotations()

    @cached_property
    def fields(self) -> tuple[CField, ...]:
        """The members in order; anonymous ones have an empty name."""
        return self.resolve()

    def __str__(self) -> str:
        return f"{'union' if self.union else 'struct'} {self.name or '(anonymous)'}"


@record(frozen=True)
class CFunction:
    """A function type."""

    spelling: str
    size: int = 1

    def __str__(self) -> str:
        return self.spelling


CType = CVoid | CInt | CPointer | CArray | CRecord | CFunction

VOID = CVoid()
BOOL = CInt("_Bool", 1, False, 0)
CHAR = CInt("char", 1, True, 1)
INT = CInt("int", 4, True, 3)
UINT = CInt("unsigned int", 4, False, 3)
LONG = CInt("long", 8, True, 4)
ULONG = CInt("unsigned long", 8, False, 4)

INTEGERS: dict[str, CInt] = {
    t.name: t
    for t in (
        BOOL,
        CHAR,
        CInt("signed char", 1, True, 1),
        CInt("unsigned char", 1, False, 1),
        CInt("short", 2, True, 2),
        CInt("unsigned short", 2, False, 2),
        INT,
        UINT,
        LONG,
        ULONG,
        CInt("long long", 8, True, 5),
        CInt("unsigned long long", 8, False, 5),
        CInt("__int128", 16, True, 6),
        CInt("unsigned __int128", 16, False, 6),
    )
}


def pointer_to(pointee: CType) -> CPointer:
    """Return the type of a pointer to `pointee`."""
    return CPointer(f"{pointee} *", lambda: pointee)


def promote(type_: CInt) -> CInt:
    """Return the type after the integer promotions (C11 6.3.1.1)."""
    if type_.rank < INT.rank:
        return INT  # int holds all values of every narrower type
    return INTEGERS[type_.name]


def common_type(left: CInt, right: CInt) -> CInt:
    """Return the common type of the usual arithmetic conversions (C11 6.3.1.8)."""
    left, right = promote(left), promote(right)
    if left.signed == right.signed:
        return left if left.rank >= right.rank else right
    unsigned, signed = (right, left) if left.signed else (left, right)
    if unsigned.rank >= signed.rank:
        return unsigned
    if signed.size > unsigned.size:
        return signed
    return INTEGERS[f"unsigned {signed.name}"]


def has_padding(type_: CType) -> bool:
    """Whether an object of the type has bits that no scalar member owns in every variant."""
    if isinstance(type_, CArray):
        return has_padding(type_.element)
    if not isinstance(type_, CRecord):
        return False
    if type_.union:
        return any(f.type.size != type_.size or has_padding(f.type) for f in type_.fields)
    position = 0
    for member in type_.fields:
        if member.offset_bits != position or has_padding(member.type):
            return True
        position += member.width or member.type.size * 8
    return position != type_.size * 8


def contains_pointer(type_: CType) -> bool:
    """Whether an object of the type has a pointer in it."""
    if isinstance(type_, CArray):
        return contains_pointer(type_.element)
    if isinstance(type_, CRecord):
        return any(contains_pointer(f.type) for f in type_.fields)
    return isinstance(type_, CPointer)
