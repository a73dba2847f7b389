"""Find the kernel's types by name: in the kernel proper, then in the modules that probes name, then in all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trapline import btf as b
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import find_type
from trapline.ir.target import Target
from trapline.ir.types import Space


class KernelTypes:
    """The types of the kernel and its modules.

    Args:
        target: the machine.
        modules: names of modules that the program's probes name; they come before the others.
    """

    def __init__(self, target: Target, modules: Iterable[str] = ()) -> None:
        self.target = target
        self.named = tuple(dict.fromkeys(m for m in modules if m not in ("", "vmlinux")))
        self._found: dict[tuple[str, str, Space], t.Type | None] = {}

    def find(self, tag: str, name: str, space: Space = Space.KERNEL) -> t.Type | None:
        """Find a type; `tag` is ``struct``, ``union``, ``enum``, or empty for a name that needs none."""
        key = tag, name, space
        if key not in self._found:
            self._found[key] = self._find(tag, name, space)
        return self._found[key]

    def _find(self, tag: str, name: str, space: Space) -> t.Type | None:
        for btf in self._stores(self._modules()):
            found = find_type(btf, tag, name, space)
            if found is not None:
                return found
        return None

    def _modules(self) -> Iterator[str]:
        yield from self.named
        yield from self.target.btf_modules()

    def _stores(self, modules: Iterable[str]) -> Iterator[b.Btf]:
        if self.target.has_btf:
            yield self.target.btf
            for module in dict.fromkeys(modules):
                btf = self.target.module_btf(module)
                if btf is not None:
                    yield btf

    def enumerator(self, name: str) -> tuple[b.Btf, int, int] | None:
        """Find an enumerator of the kernel or of a named module: (types, value, id of the enum)."""
        for btf in self._stores(self.named):
            found = btf.enum_constant(name)
            if found is not None:
                return btf, *found
        return None
