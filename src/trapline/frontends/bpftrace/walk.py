"""Walk over the nodes of a syntax tree."""

from __future__ import annotations

from collections.abc import Iterator

from trapline.frontends.bpftrace import ast
from trapline.records import annotations_of


def children(node: ast.Node) -> Iterator[ast.Node]:
    """Iterate over the nodes directly below one, in source order."""
    for name in annotations_of(type(node)):
        value = getattr(node, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, tuple):
                item = item[-1]
            if isinstance(item, ast.Node):
                yield item


def descendants(node: ast.Node) -> Iterator[ast.Node]:
    """Iterate over a node and all nodes below it, in source order."""
    pending = [node]
    while pending:
        item = pending.pop()
        yield item
        pending.extend(reversed([*children(item)]))
