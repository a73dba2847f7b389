"""C declarations of BTF types: ``struct task_struct *``, ``int (*fn)(void *)``, ``char comm[16]``."""

from __future__ import annotations

from collections.abc import Callable

from trapline.btf import types as t
from trapline.btf.reader import TypeStore
from trapline.errors import DecodeError

_MAX_DEPTH = 64

# What to call a named type instead: (kind, name, id) → C spelling.
Spell = Callable[[t.BtfType, int], str]

_KEYWORDS = {"Struct": "struct", "Union": "union", "Enum": "enum", "Enum64": "enum"}


def spell_plain(found: t.BtfType, type_id: int) -> str:
    """Spell a base type by its own name (the default of `declare`)."""
    if isinstance(found, t.Void):
        return "void"
    if isinstance(found, (t.Struct, t.Union, t.Enum, t.Enum64)):
        keyword = _KEYWORDS[type(found).__name__]
        return f"{keyword} {found.name}" if found.name else f"{keyword} {{...}}"
    if isinstance(found, t.Fwd):
        return f"{'union' if found.union else 'struct'} {found.name}"
    if isinstance(found, (t.Int, t.Float, t.Typedef)):
        return found.name
    raise DecodeError(f"BTF type {type_id} is a {type(found).__name__} where a C type is expected")


def declare(btf: TypeStore, type_id: int, declarator: str = "", *, spell: Spell = spell_plain) -> str:
    """Declare `declarator` (empty: just the type's name) with a type, as C text.

    Args:
        btf: where the id lives.
        type_id: the type.
        declarator: a name, or a larger declarator such as ``*name``.
        spell: text of the type at the core; it may be a whole struct body.

    Returns:
        For instance ``struct task_struct *task`` or ``const char * const *argv``; type tags are left out.

    Raises:
        DecodeError: a malformed chain of types.
    """
    return _declare(btf, type_id, declarator, spell, 0)


def _declare(btf: TypeStore, type_id: int, declarator: str, spell: Spell, depth: int) -> str:
    qualifiers = ""
    for _ in range(_MAX_DEPTH):
        found = btf.type(type_id)
        if isinstance(found, t.Const):
            qualifiers = _add_qualifier("const", qualifiers)
        elif isinstance(found, t.Volatile):
            qualifiers = _add_qualifier("volatile", qualifiers)
        elif isinstance(found, t.Restrict):
            qualifiers = _add_qualifier("restrict", qualifiers)
        elif isinstance(found, t.Ptr):
            if qualifiers:  # libbpf's spacing: `* const x`, `* (*f)(int)`
                declarator = f"* {qualifiers}{declarator}".rstrip()
            else:
                declarator = f"* {declarator}" if declarator.startswith("(") else f"*{declarator}"
            qualifiers = ""
        elif isinstance(found, t.Array):  # qualifiers of an array are its elements'
            declarator = f"{_grouped(declarator)}[{found.count}]"
            type_id = found.element
            continue
        elif isinstance(found, t.FuncProto):
            declarator = f"{_grouped(declarator)}({_parameters(btf, found, spell, depth)})"
            type_id = found.ret
            qualifiers = ""
            continue
        elif isinstance(found, (t.Func, t.Var)):
            declarator = declarator or found.name
            type_id = found.proto if isinstance(found, t.Func) else found.type
            continue
        elif not isinstance(found, t.TypeTag):
            text = qualifiers + spell(found, type_id)
            separator = "" if not declarator or declarator.startswith("[") else " "
            return f"{text}{separator}{declarator}"
        type_id = found.target
    raise DecodeError(f"BTF type {type_id} has no end")


def _add_qualifier(word: str, qualifiers: str) -> str:
    return qualifiers if word in qualifiers else f"{qualifiers}{word} "


def _grouped(declarator: str) -> str:
    return f"({declarator})" if declarator.startswith("*") else declarator


def _parameters(btf: TypeStore, proto: t.FuncProto, spell: Spell, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise DecodeError("a BTF function prototype contains itself")
    if not proto.params:
        return "void"
    last = len(proto.params) - 1
    return ", ".join(
        "..." if i == last and proto.variadic else _declare(btf, parameter.type, "", spell, depth + 1)
        for i, parameter in enumerate(proto.params)
    )
