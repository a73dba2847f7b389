"""BTF bytes ⇄ types; lookup by name; index for disk.

The rest is imported from its module, since few programs need it: C text of a type (`trapline.btf.dump`), C headers
(`trapline.btf.header`), the writer (`trapline.btf.write`), function and line information (`trapline.btf.ext`).
"""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.btf.database import Btf
    from trapline.btf.layout import Field, Step
    from trapline.btf.types import (
        Array,
        BtfType,
        Const,
        DataSec,
        DeclTag,
        Enum,
        Enum64,
        Enumerator,
        Float,
        Func,
        FuncProto,
        Fwd,
        Int,
        Member,
        Param,
        Ptr,
        Restrict,
        SecVar,
        Struct,
        Typedef,
        TypeTag,
        Union,
        Var,
        Void,
        Volatile,
    )

__all__ = [
    "Array",
    "Btf",
    "BtfType",
    "Const",
    "DataSec",
    "DeclTag",
    "Enum",
    "Enum64",
    "Enumerator",
    "Field",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Int",
    "Member",
    "Param",
    "Ptr",
    "Restrict",
    "SecVar",
    "Step",
    "Struct",
    "TypeTag",
    "Typedef",
    "Union",
    "Var",
    "Void",
    "Volatile",
]


def __getattr__(name: str) -> Any:
    """Import a name's module when the name is first used: writing a few types for bpf(2) needs no reader."""
    if name not in __all__:
        raise AttributeError(f"module 'trapline.btf' has no attribute {name!r}")
    from trapline.btf import database, layout, types

    module = {"Btf": database, "Field": layout, "Step": layout}.get(name, types)
    value = globals()[name] = getattr(module, name)
    return value
