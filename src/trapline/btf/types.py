"""BTF types as plain data: one frozen class for each kind, referring to other types by id.

Field names follow ``include/uapi/linux/btf.h`` where a C name exists.  Ids are 1-based as in the
kernel; id 0 is `Void`.
"""

from __future__ import annotations

from trapline.hints import ClassVar
from trapline.records import record

BTF_KIND_UNKN = 0
BTF_KIND_INT = 1
BTF_KIND_PTR = 2
BTF_KIND_ARRAY = 3
BTF_KIND_STRUCT = 4
BTF_KIND_UNION = 5
BTF_KIND_ENUM = 6
BTF_KIND_FWD = 7
BTF_KIND_TYPEDEF = 8
BTF_KIND_VOLATILE = 9
BTF_KIND_CONST = 10
BTF_KIND_RESTRICT = 11
BTF_KIND_FUNC = 12
BTF_KIND_FUNC_PROTO = 13
BTF_KIND_VAR = 14
BTF_KIND_DATASEC = 15
BTF_KIND_FLOAT = 16
BTF_KIND_DECL_TAG = 17
BTF_KIND_TYPE_TAG = 18
BTF_KIND_ENUM64 = 19

BTF_INT_SIGNED = 1
BTF_INT_CHAR = 2
BTF_INT_BOOL = 4


@record(frozen=True)
class Void:
    """No type: ``void``, or the absent return type."""

    KIND: ClassVar[int] = BTF_KIND_UNKN


@record(frozen=True)
class Int:
    """An integer: `size` in bytes, `bits` of them used from bit `offset` up."""

    KIND: ClassVar[int] = BTF_KIND_INT
    name: str
    size: int
    bits: int
    signed: bool = False
    is_char: bool = False
    is_bool: bool = False
    offset: int = 0


@record(frozen=True)
class Ptr:
    """A pointer to type id `target` (0: ``void *``)."""

    KIND: ClassVar[int] = BTF_KIND_PTR
    target: int


@record(frozen=True)
class Array:
    """An array of `count` elements of type id `element`."""

    KIND: ClassVar[int] = BTF_KIND_ARRAY
    element: int
    index: int
    count: int


@record(frozen=True)
class Member:
    """A member of a struct or union; `name` is empty for an anonymous struct or union.

    `bit_offset` counts from the start of the struct; `bitfield_size` is in bits, 0 for an ordinary member.
    """

    name: str
    type: int
    bit_offset: int
    bitfield_size: int = 0

    @property
    def offset(self) -> int:
        """Offset in bytes (of the byte that holds the first bit of a bitfield)."""
        return self.bit_offset >> 3


@record(frozen=True)
class Struct:
    """A struct of `size` bytes; `name` is the tag, empty for an anonymous one."""

    KIND: ClassVar[int] = BTF_KIND_STRUCT
    name: str
    size: int
    members: tuple[Member, ...]


@record(frozen=True)
class Union:
    """A union of `size` bytes; `name` is the tag, empty for an anonymous one."""

    KIND: ClassVar[int] = BTF_KIND_UNION
    name: str
    size: int
    members: tuple[Member, ...]


@record(frozen=True)
class Enumerator:
    """A named constant of an enum."""

    name: str
    value: int


@record(frozen=True)
class Enum:
    """An enum of at most 32-bit constants; `size` in bytes."""

    KIND: ClassVar[int] = BTF_KIND_ENUM
    name: str
    size: int
    signed: bool
    values: tuple[Enumerator, ...]


@record(frozen=True)
class Enum64:
    """An enum with 64-bit constants; `size` in bytes."""

    KIND: ClassVar[int] = BTF_KIND_ENUM64
    name: str
    size: int
    signed: bool
    values: tuple[Enumerator, ...]


@record(frozen=True)
class Fwd:
    """A struct or union of which only the tag is known."""

    KIND: ClassVar[int] = BTF_KIND_FWD
    name: str
    union: bool = False


@record(frozen=True)
class Typedef:
    """Another name for type id `target`."""

    KIND: ClassVar[int] = BTF_KIND_TYPEDEF
    name: str
    target: int


@record(frozen=True)
class Volatile:
    """``volatile`` on type id `target`."""

    KIND: ClassVar[int] = BTF_KIND_VOLATILE
    target: int


@record(frozen=True)
class Const:
    """``const`` on type id `target`."""

    KIND: ClassVar[int] = BTF_KIND_CONST
    target: int


@record(frozen=True)
class Restrict:
    """``restrict`` on type id `target`."""

    KIND: ClassVar[int] = BTF_KIND_RESTRICT
    target: int


@record(frozen=True)
class Func:
    """A function; `proto` is the id of its `FuncProto`; linkage 0 static, 1 global, 2 extern."""

    KIND: ClassVar[int] = BTF_KIND_FUNC
    name: str
    proto: int
    linkage: int = 0


@record(frozen=True)
class Param:
    """A parameter of a `FuncProto`; a last one with type 0 and no name means ``...``."""

    name: str
    type: int


@record(frozen=True)
class FuncProto:
    """The signature of a function; `ret` is 0 for ``void``."""

    KIND: ClassVar[int] = BTF_KIND_FUNC_PROTO
    params: tuple[Param, ...]
    ret: int

    @property
    def variadic(self) -> bool:
        """Whether the parameters end in ``...``."""
        return bool(self.params) and self.params[-1].type == 0 and not self.params[-1].name


@record(frozen=True)
class Var:
    """A variable; linkage 0 static, 1 global, 2 extern."""

    KIND: ClassVar[int] = BTF_KIND_VAR
    name: str
    type: int
    linkage: int = 0


@record(frozen=True)
class SecVar:
    """A variable's place in a `DataSec`: bytes from its start."""

    type: int
    offset: int
    size: int


@record(frozen=True)
class DataSec:
    """A section of variables, such as ``.data..percpu``."""

    KIND: ClassVar[int] = BTF_KIND_DATASEC
    name: str
    size: int
    variables: tuple[SecVar, ...]


@record(frozen=True)
class Float:
    """A floating-point type of `size` bytes."""

    KIND: ClassVar[int] = BTF_KIND_FLOAT
    name: str
    size: int


@record(frozen=True)
class DeclTag:
    """A tag on type id `target`, or on its member or parameter `component_idx` (-1: on the type itself)."""

    KIND: ClassVar[int] = BTF_KIND_DECL_TAG
    name: str
    target: int
    component_idx: int = -1
    attribute: bool = False


@record(frozen=True)
class TypeTag:
    """A tag on type id `target`, such as ``user``, ``rcu`` or ``percpu``.

    With `attribute` set (kind_flag, since Linux 6.15) the name is a whole C attribute such as ``address_space(1)``.
    """

    KIND: ClassVar[int] = BTF_KIND_TYPE_TAG
    name: str
    target: int
    attribute: bool = False


BtfType = (
    Void
    | Int
    | Ptr
    | Array
    | Struct
    | Union
    | Enum
    | Enum64
    | Fwd
    | Typedef
    | Volatile
    | Const
    | Restrict
    | Func
    | FuncProto
    | Var
    | DataSec
    | Float
    | DeclTag
    | TypeTag
)
"""Any BTF type."""

COMPOSITE = (Struct, Union)
ENUMS = (Enum, Enum64)
QUALIFIERS = (Volatile, Const, Restrict, TypeTag)
