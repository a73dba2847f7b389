"""What is known of a program while it is typed: its variables and maps, and what all of its sites share."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.c_definitions import CDefinitions
from trapline.frontends.bpftrace.config import CompileOptions, Config
from trapline.frontends.bpftrace.kernel_types import KernelTypes
from trapline.frontends.bpftrace.tables import Builtin, Function
from trapline.ir.target import Target
from trapline.ir.types import Space
from trapline.records import field, record
from trapline.source import Diagnostic, Diagnostics, Span


@record(eq=False)
class Variable:
    """A scratch variable: its name, what it holds so far, and where it was declared.

    It is `fixed` when its declaration says its type, and `declared_only` when the declaration gives no value.
    """

    name: str
    declared: Span
    type: t.Type = t.UNKNOWN
    fixed: bool = False
    assigned: bool = False
    declared_only: bool = False


@record(eq=False)
class MapInfo:
    """What is known of a map: `keyed` is ``None`` until its first use; `read` when an element is read or stepped.

    It is `interrupted` when an aggregate of it changes in a program that another one may interrupt on the same CPU, and
    `can_lack` when it matters whether an element is there: a program deletes of it, or failing look-ups are reported.
    """

    name: str
    keyed: bool | None = None
    key: t.Type = t.UNKNOWN
    value: t.Type = t.UNKNOWN
    declaration: ast.MapDeclaration | None = None
    used: Span | None = None
    read: bool = False
    interrupted: bool = False
    can_lack: bool = False


@record(eq=False)
class Knowledge:
    """What all sites of a program share."""

    target: Target
    config: Config
    options: CompileOptions
    builtins: dict[str, Builtin]
    functions: dict[str, Function]
    kernel: KernelTypes
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    unsupported: list[Diagnostic] = field(default_factory=list)
    maps: dict[str, MapInfo] = field(default_factory=dict)
    c: CDefinitions | None = None
    enumerators: dict[str, tuple[int, t.Type] | None] = field(default_factory=dict)

    def find_type(self, tag: str, name: str, space: Space = Space.KERNEL) -> t.Type | None:
        """Find a type that the program's C defines, or else the kernel's; an empty `tag` finds all kinds."""
        found = self.c.find(tag, name, space) if self.c is not None else None
        return found if found is not None else self.kernel.find(tag, name, space)
