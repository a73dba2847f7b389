"""Walk and copy syntax trees: a node's copy is made of the copies of its children."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.frontends.bpftrace import ast
from trapline.hints import Any, TypeVar
from trapline.records import annotations_of
from trapline.source import Span

_N = TypeVar("_N", bound=ast.Node)


def walk(root: ast.Node) -> Iterator[ast.Node]:
    """Yield all nodes of a tree, a node before its children."""
    rest: list[object] = [root]
    while rest:
        value = rest.pop()
        if isinstance(value, ast.Node):
            yield value
            rest += [getattr(value, name) for name in reversed(annotations_of(type(value)))]
        elif isinstance(value, tuple):
            rest += reversed(value)


class Copier:
    """Copies trees; a subclass changes what it wants on the way.  Every node of a copy is new."""

    def span(self, span: Span) -> Span:
        """Return the span of the copy of a node."""
        return span

    def copy(self, node: _N) -> Any:
        """Return the copy of a node."""
        return self.children(node)

    def children(self, node: _N) -> _N:
        """Return a node like this one with copies of its children."""
        values: list[Any] = []
        for name in annotations_of(type(node)):
            value = getattr(node, name)
            if isinstance(value, ast.Node):
                value = self.copy(value)
            elif isinstance(value, tuple):
                value = self._items(value)
            elif isinstance(value, Span):
                value = self.span(value)
            values.append(value)
        return type(node)(*values)

    def _items(self, items: tuple[object, ...]) -> tuple[object, ...]:
        copied: list[object] = []
        for item in items:
            if isinstance(item, ast.Node):
                copied.append(self.copy(item))
            else:
                copied.append(self._items(item) if isinstance(item, tuple) else item)
        return tuple(copied)
