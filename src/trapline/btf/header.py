"""Generate a C header with only the types that a program can reach, laid out exactly as in the kernel.

identifiers {"task_struct", "mm", "pgd"}  →  struct task_struct {…}, all that it contains by value, struct mm_struct
(because a member called ``mm`` points to one) and what that contains; every other pointee is only declared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from trapline.btf import types as t
from trapline.btf.body import BytePadder, print_composite, print_enum
from trapline.btf.naming import declare
from trapline.btf.reader import TypeStore
from trapline.errors import DecodeError

_MAX_DEPTH = 100

_C_INTEGERS = frozenset(
    spelling
    for sign in ("", "signed ", "unsigned ")
    for spelling in (f"{sign}char", f"{sign}short", f"{sign}int", f"{sign}long", f"{sign}long long")
) | {
    "_Bool",
    "__int128",
    "unsigned __int128",
    "__int128 unsigned",
    "short int",
    "short unsigned int",
    "long int",
    "long unsigned int",
    "long long int",
    "long long unsigned int",
}
_BY_SIZE = {1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}
_RESERVED = frozenset({"__builtin_va_list"})  # names that C does not let a program declare
_NAMED_TAGS = (t.Struct, t.Union, t.Enum, t.Enum64)


def generate_header(
    btf: TypeStore,
    roots: Iterable[str | int],
    *,
    follow: Callable[[str], bool] | None = None,
    rename: Mapping[str, str] | None = None,
) -> str:
    """Generate a C header with some types and what they need.

    Args:
        btf: the kernel's or module's types.
        roots: tags, typedef names or type ids; unknown names are skipped.
        follow: asked with a member's name whether the struct that the member points to is needed in full; by default
            pointees are only declared.
        rename: what to call a tag, typedef or enumerator instead, because the program's text defines that name.

    Returns:
        C text (GNU C11) in order of dependency.

    Raises:
        DecodeError: malformed BTF.
    """
    header = _Header(btf, follow or (lambda name: False), rename or {})
    for root in roots:
        if isinstance(root, int):
            header.want(root)
        else:
            header.want_named(root)
    return header.text()


def header_for_identifiers(
    btf: TypeStore, identifiers: Collection[str], rename: Mapping[str, str] | None = None
) -> str:
    """Generate the C header that a program's text needs, from nothing but the identifiers in it.

    Structs, unions, enums and typedefs whose name is an identifier come in full, so does the owner of an enumerator
    that is one, and so does what a member points to when the member's name is an identifier: ``t->mm->pgd`` needs the
    identifier ``mm`` to reach ``struct mm_struct``.

    Args:
        btf: the kernel's or module's types.
        identifiers: every identifier of the text (too many do no harm).
        rename: what to call a tag, typedef or enumerator instead, because the text defines that name; the identifier
            then means the text's own.

    Returns:
        C text (GNU C11) in order of dependency.
    """
    renamed = rename or {}
    header = _Header(btf, identifiers.__contains__, renamed)
    for name in sorted(identifiers):
        if name not in renamed:
            header.want_named(name)
            constant = btf.enum_constant(name)
            if constant is not None:
                header.want(constant[1])
    return header.text()


class _Header:
    """A header under construction."""

    def __init__(self, btf: TypeStore, follow: Callable[[str], bool], rename: Mapping[str, str]) -> None:
        self._btf = btf
        self._follow = follow
        self._rename = rename
        self._chunks: list[str] = []
        self._names: dict[int, str] = {}
        self._taken: dict[tuple[str, str], int] = {}
        self._declared: set[str] = set()
        self._complete: dict[int, bool] = {}  # False while in progress
        self._typedefs: set[tuple[int, bool]] = set()  # printed, and whether what they stand for is complete
        self._wanted: list[int] = []
        self._depth = 1  # of braces, where an anonymous struct is spelled
        self._pad = BytePadder()

    def want(self, type_id: int) -> None:
        """Add a root; its name gets precedence over those of other types."""
        self._wanted.append(type_id)
        found = self._btf.type(type_id)
        if isinstance(found, _NAMED_TAGS) and found.name:
            self._tag(found, type_id)

    def want_named(self, name: str) -> None:
        """Add what a name means: one struct, union or enum, and one typedef."""
        for kinds in ((t.Struct, t.Union, t.Enum, t.Enum64), (t.Typedef,)):
            type_id = self._btf.find(name, *kinds)
            if type_id is not None:
                self.want(type_id)

    def text(self) -> str:
        """Print everything wanted, and what that turns out to need."""
        while self._wanted:
            self._need(self._wanted.pop(0), True, 0)
        return "".join(self._chunks)

    # ---- what must come before what

    def _need(self, type_id: int, full: bool, depth: int) -> None:
        """Print what must precede a use of a type; `full`: its size matters."""
        if depth > _MAX_DEPTH:
            raise DecodeError(f"BTF type {type_id} contains itself")
        for _ in range(_MAX_DEPTH):
            found = self._btf.type(type_id)
            if isinstance(found, t.Ptr):
                full, type_id = False, found.target
            elif isinstance(found, (t.Const, t.Volatile, t.Restrict, t.TypeTag)):
                type_id = found.target
            elif isinstance(found, t.Array):
                full, type_id = True, found.element
            elif isinstance(found, t.FuncProto):
                for parameter in found.params:
                    self._need(parameter.type, False, depth + 1)
                full, type_id = False, found.ret
            elif isinstance(found, t.Typedef):
                if (type_id, full) not in self._typedefs:
                    self._need(found.target, full, depth + 1)
                    self._print_typedef(found, type_id, full)
                return
            else:
                self._need_core(found, type_id, full, depth)
                return
        raise DecodeError(f"BTF type {type_id} has no end")

    def _need_core(self, found: t.BtfType, type_id: int, full: bool, depth: int) -> None:
        if isinstance(found, (t.Struct, t.Union)):
            if not found.name:
                self._need_members(found, depth)
            elif full:
                self._print_composite(found, type_id, depth)
            else:
                self._forward(self._spell(found, type_id))
        elif isinstance(found, (t.Enum, t.Enum64)):
            self._print_enum(found, type_id)
        elif isinstance(found, t.Fwd):
            self._forward(self._spell(found, type_id))

    def _need_members(self, found: t.Struct | t.Union, depth: int) -> None:
        for member in found.members:
            self._need(member.type, True, depth + 1)
            if member.name and self._follow(member.name):
                self._want_pointee(member.type)

    def _want_pointee(self, type_id: int) -> None:
        pointer = False
        for _ in range(_MAX_DEPTH):
            type_id = self._btf.resolve(type_id)
            found = self._btf.type(type_id)
            if isinstance(found, t.Ptr):
                pointer, type_id = True, found.target
            elif isinstance(found, t.Array):
                type_id = found.element
            else:
                break
        if not pointer:
            return
        if isinstance(found, t.Fwd):
            full = self._btf.find(found.name, t.Union if found.union else t.Struct)
            if full is not None:
                self._wanted.append(full)
        elif isinstance(found, (t.Struct, t.Union)) and type_id not in self._complete:
            self._wanted.append(type_id)

    # ---- text

    def _print_composite(self, found: t.Struct | t.Union, type_id: int, depth: int) -> None:
        state = self._complete.get(type_id)
        if state:
            return
        if state is False:
            raise DecodeError(f"BTF type {type_id} ({found.name}) contains itself")
        self._complete[type_id] = False
        self._need_members(found, depth)
        tag = self._tag(found, type_id)
        self._chunks.append(print_composite(self._btf, found, tag, self._spell, "", self._pad) + ";\n\n")
        self._declared.add(self._spell(found, type_id))
        self._complete[type_id] = True

    def _print_enum(self, found: t.Enum | t.Enum64, type_id: int) -> None:
        if type_id in self._complete:
            return
        self._complete[type_id] = True
        tag = self._tag(found, type_id)
        if not found.values:  # only the tag is known, but a member of it has a size
            self._chunks.append(f"enum {tag} {{ __btf_none_{tag} }};\n\n")
            return
        names = [self._claim("ordinary", self._rename.get(c.name, c.name), type_id) for c in found.values]
        self._chunks.append(print_enum(found, tag, names) + ";\n\n")

    def _print_typedef(self, found: t.Typedef, type_id: int, full: bool) -> None:
        if (type_id, not full) not in self._typedefs:
            name = self._spell(found, type_id)
            self._depth = 0
            self._chunks.append(f"typedef {declare(self._btf, found.target, name, spell=self._spell)};\n")
            self._depth = 1
        self._typedefs.add((type_id, full))

    def _forward(self, spelled: str) -> None:
        if spelled not in self._declared:
            self._declared.add(spelled)
            self._chunks.append(f"{spelled};\n")

    # ---- names

    def _claim(self, space: str, name: str, type_id: int) -> str:
        """Reserve a name in one of C's name spaces; a second owner gets another name."""
        candidate, serial = name, 1
        while self._taken.setdefault((space, candidate), type_id) != type_id:
            serial += 1
            candidate = f"{name}___{serial}"
        return candidate

    def _tag(self, found: t.Struct | t.Union | t.Enum | t.Enum64, type_id: int) -> str:
        tag = self._names.get(type_id)
        if tag is None:
            wanted = self._rename.get(found.name, found.name)
            if not wanted and isinstance(found, _NAMED_TAGS[2:]):
                wanted = f"__btf_enum_{type_id}"
            tag = self._names[type_id] = self._claim("tag", wanted, type_id) if wanted else ""
        return tag

    def _spell(self, found: t.BtfType, type_id: int) -> str:
        if isinstance(found, (t.Struct, t.Union)):
            if found.name:
                return f"{'struct' if isinstance(found, t.Struct) else 'union'} {self._tag(found, type_id)}"
            indent = "\t" * self._depth
            self._depth += 1
            try:
                return print_composite(self._btf, found, "", self._spell, indent, self._pad)
            finally:
                self._depth -= 1
        if isinstance(found, (t.Enum, t.Enum64)):
            return f"enum {self._tag(found, type_id)}"
        if isinstance(found, t.Fwd):
            return f"{'union' if found.union else 'struct'} {self._rename.get(found.name, found.name)}"
        if isinstance(found, t.Typedef):
            name = self._names.get(type_id)
            if name is None:
                wanted = self._rename.get(found.name, found.name)
                if wanted in _RESERVED:
                    wanted = f"{wanted}___btf"
                name = self._names[type_id] = self._claim("ordinary", wanted, type_id)
            return name
        if isinstance(found, t.Int):
            return found.name if found.name in _C_INTEGERS else _integer(found.size, found.signed)
        if isinstance(found, t.Float):
            return found.name if found.name in ("float", "double") else _integer(found.size, False)
        return "void"


def _integer(size: int, signed: bool) -> str:
    name = _BY_SIZE.get(size)
    if name is None:
        raise DecodeError(f"no C integer has {size} bytes")
    return f"{'signed' if signed else 'unsigned'} {name}"
