"""Type loops: ``for $i : a..b``, ``for $kv : @m``, ``while``, ``unroll``.

for $kv : @m { … }   →   $kv: (key, value) of @m; an aggregate that can be read as a number is one
"""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.knowledge import MapInfo, Variable
from trapline.frontends.bpftrace.promotion import promote, promote_integers
from trapline.frontends.bpftrace.suggestions import near_map
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.frontends.bpftrace.infer import SiteTyper

_MAX_UNROLL = 100


def check_for(typer: SiteTyper, node: ast.For) -> None:
    """Type a for loop: what it goes over, its variable, its body."""
    typer.for_loops[node] = None
    known = typer.find_variable(node.target.name)
    if known is not None:
        typer.error(
            f"Loop declaration shadows existing variable: ${node.target.name}",
            node.target.span,
            "Choose another name: the loop has a variable of its own.",
        )
    if isinstance(node.iterable, ast.Range):
        kind = _check_range(typer, node, node.iterable)
    else:
        assert isinstance(node.iterable, ast.MapName)  # the parser lets nothing else pass
        kind = _check_map(typer, node, node.iterable)
    typer.scopes.append({})
    variable = typer.declare(node.target)
    _let_hold(typer, variable, kind)
    typer.loop_body(node.body)
    typer.scopes.pop()


def _let_hold(typer: SiteTyper, variable: Variable, kind: t.Type) -> None:
    """Let a loop's variable hold what the loop gives it, besides what the body assigns."""
    variable.assigned = True
    merged = promote(variable.type, kind)
    if merged is not None and merged != variable.type:
        variable.type = merged
        typer.changed = True


def _check_range(typer: SiteTyper, node: ast.For, bounds: ast.Range) -> t.Type:
    if not typer.knowledge.target.has("bpf_loop"):
        typer.error(
            "Missing required kernel feature: loop", node.span, "Linux 5.17 has it; while and unroll need less."
        )
    kinds: list[t.IntT] = []
    for bound, name in ((bounds.start, "start"), (bounds.end, "end")):
        kind = typer.read(typer.type_of(bound))
        if not isinstance(kind, t.IntT | t.UnknownT):
            typer.error(f"Loop range requires an integer for the {name} value", node.span)
        elif isinstance(kind, t.IntT):
            kinds.append(kind)
    if len(kinds) < 2:
        return t.UNKNOWN
    typer.types[bounds] = t.decay(promote_integers(*kinds))
    return typer.types[bounds]


def _check_map(typer: SiteTyper, node: ast.For, name: ast.MapName) -> t.Type:
    if not typer.knowledge.target.has("for_each_map_elem"):
        typer.error("Missing required kernel feature: for_each_map_elem", node.span, "Linux 5.13 has it.")
    info = typer.map_info(name)
    if info.keyed is False:
        return typer.error(
            f"{info.name} has no explicit keys (scalar map), and cannot be used for iteration", name.span
        )
    if isinstance(info.value, t.UnknownT):
        return typer.error(f"Undefined map: {info.name}", name.span, *near_map(typer.knowledge, info.name))
    if isinstance(info.value, t.AggregateT) and not typer.castable(info.value):
        return typer.error(f"Loop expression does not support type: {info.value}", name.span)
    return t.UNKNOWN if isinstance(info.key, t.UnknownT) else element_type(info)


def element_type(info: MapInfo) -> t.TupleT:
    """Return the type of ``(key, value)`` of a map's elements."""
    value = t.aggregate_number(info.value) if isinstance(info.value, t.AggregateT) else t.decay(info.value)
    return t.TupleT((t.decay(info.key), value))


def check_unroll(typer: SiteTyper, node: ast.Unroll) -> None:
    """Type an unrolled block: no loop to ``break`` and ``continue``, which mean the loop around it."""
    typer.type_of(node.count)
    count = typer.constant(node.count)
    span = node.span.to(node.body.span)
    if count is None:
        typer.error("invalid unroll value", span, f"Write a number from 1 to {_MAX_UNROLL}.")
    elif count > _MAX_UNROLL:
        typer.error(f"unroll maximum value is {_MAX_UNROLL}", span)
    elif count < 1:
        typer.error("unroll minimum value is 1", span)
    typer.block(node.body)


def check_while(typer: SiteTyper, node: ast.While) -> None:
    """Type a while loop."""
    typer.warning(
        "While loops are deprecated and may be removed in the future.",
        node.span.to(node.body.span),
        "For loops support ranges (e.g. `for ($x : $start..$end) { ... }`), and can be used in place of while."
        " These are more easily proven to be bounded by the verifier.",
    )
    typer.condition_of(node.condition, node.span)
    typer.loop_body(node.body)
