"""`Btf`: the types of one kernel, module or object file, with the questions that a compiler asks about them."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.btf import types as t
from trapline.btf.layout import Field, Step, align_of, field, fields, member_path, size_of
from trapline.btf.naming import declare
from trapline.btf.reader import TypeStore


class Btf(TypeStore):
    """The types of one kernel, module or object file; see `TypeStore` for construction and lookup.

    Ids are the handles: ``btf.find("task_struct", Struct)`` gives one, ``btf.type(id)`` decodes it.  Type ids of a
    module's `Btf` include the kernel's.
    """

    def size_of(self, type_id: int) -> int:
        """Return C's ``sizeof`` in bytes; see `trapline.btf.layout.size_of`."""
        return size_of(self, type_id)

    def align_of(self, type_id: int) -> int:
        """Return C's natural alignment in bytes; see `trapline.btf.layout.align_of`."""
        return align_of(self, type_id)

    def fields(self, type_id: int) -> Iterator[Field]:
        """Iterate over the members of a struct or union, anonymous ones flattened."""
        return fields(self, type_id)

    def field(self, type_id: int, name: str) -> Field | None:
        """Find a member of a struct or union by name, also inside anonymous ones."""
        return field(self, type_id, name)

    def member_path(self, type_id: int, path: str) -> tuple[Step, ...] | None:
        """Resolve ``a.b.c`` or ``a->b`` from a struct, union or pointer; ``None`` when a name does not exist."""
        return member_path(self, type_id, path)

    def type_name(self, type_id: int, declarator: str = "") -> str:
        """Return the C text of a type (``struct task_struct *``), or of a declaration with it."""
        return declare(self, type_id, declarator)

    def params(self, func_id: int) -> tuple[t.Param, ...]:
        """Return the parameters of a `Func` or `FuncProto`."""
        return self.proto(func_id).params

    def proto(self, func_id: int) -> t.FuncProto:
        """Return the prototype of a `Func`, a `FuncProto` or a pointer to one.

        Raises:
            DecodeError: the id is of another kind.
        """
        found = self.resolved(func_id)
        if isinstance(found, t.Ptr):
            found = self.resolved(found.target)
        if isinstance(found, t.Func):
            return self.expect(found.proto, t.FuncProto)
        return self.expect(func_id, t.FuncProto) if not isinstance(found, t.FuncProto) else found
