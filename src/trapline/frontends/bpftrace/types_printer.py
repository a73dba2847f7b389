"""Print what type inference found: maps and variables, then the tree of each block with its types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.infer import TypedSite
from trapline.frontends.bpftrace.knowledge import Knowledge
from trapline.frontends.bpftrace.printer import format_node
from trapline.frontends.bpftrace.walk import children


def format_types(program: ast.Program, sites: Sequence[TypedSite], knowledge: Knowledge) -> str:
    """Return the types of maps, variables and expressions as text."""
    lines = []
    for name in sorted(knowledge.maps):
        info = knowledge.maps[name]
        key = f"[{info.key}]" if info.keyed else ""
        lines.append(f"map {name}{key}: {info.value}")
    for typed in sites:
        lines.append(f"probe {typed.site.label}")
        variables = sorted(typed.typer.variables.values(), key=lambda v: v.declared.start)
        lines += [f" ${variable.name}: {t.decay(variable.type)}" for variable in variables]
        probe = typed.site.probe
        if probe.predicate is not None:
            lines += _node_lines(probe.predicate, typed, 1)
        for statement in probe.body.body:
            lines += _node_lines(statement, typed, 1)
    return "\n".join(lines) + "\n"


def _node_lines(node: ast.Node, typed: TypedSite, depth: int) -> Iterator[str]:
    head = format_node(node).partition("\n")[0]
    type_ = typed.typer.types.get(node)
    shown = "" if type_ is None or isinstance(type_, t.UnknownT) else f" :: {type_}"
    yield " " * depth + head + shown
    for child in children(node):
        yield from _node_lines(child, typed, depth + 1)
