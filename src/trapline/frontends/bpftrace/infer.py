"""Find the types of everything: rounds over all sites until nothing changes, then one round that reports.

$x = 1; $x = nsecs; @a[comm] = $x   →   $x: uint64, @a: string[16] → uint64
"""

from __future__ import annotations

from collections.abc import Sequence

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.aggregates import AGGREGATES
from trapline.frontends.bpftrace.imports import BLOCK_IMPORTS
from trapline.frontends.bpftrace.infer_expressions import ExpressionTyper
from trapline.frontends.bpftrace.infer_loops import check_for, check_unroll, check_while
from trapline.frontends.bpftrace.knowledge import Knowledge, MapInfo, Variable
from trapline.frontends.bpftrace.promotion import promote
from trapline.frontends.bpftrace.sites import ProbeSite
from trapline.frontends.bpftrace.suggestions import near_map
from trapline.records import record
from trapline.source import Diagnostics, Span

_MAX_ROUNDS = 12


@record(frozen=True, eq=False)
class TypedSite:
    """A site whose block is typed: `typer` holds the types of its nodes."""

    site: ProbeSite
    typer: SiteTyper


class SiteTyper(ExpressionTyper):
    """Types the block of a site."""

    def __init__(self, knowledge: Knowledge, site: ProbeSite) -> None:
        super().__init__(knowledge, site)
        self.variables: dict[ast.Variable, Variable] = {}
        self._unset: dict[Variable, ast.Let] = {}
        self.chosen: dict[ast.If, ast.Block | ast.If | None] = {}
        self.loops = 0
        self.for_loops: dict[ast.For, None] = {}  # in source order

    def run(self) -> None:
        """Type the whole block once."""
        self.scopes = [{}]
        self.resolved.clear()
        self.folded.clear()
        self._unset.clear()
        self.assigned.clear()
        probe = self.site.probe
        if probe.predicate is not None:
            kind = self.type_of(probe.predicate)
            if not isinstance(kind, (*t.NUMBERS, t.PtrT, t.WordT, t.UnknownT)) and not self.castable(kind):
                self.error(f"Invalid type for predicate: {kind}", probe.predicate.span)
        self._body(probe.body.body)
        for variable, let in self._unset.items():
            if not variable.assigned:
                place = let.span.source.span(let.span.start, let.target.span.end)
                self.warning(f"Variable ${variable.name} was never assigned to.", place)

    def _body(self, statements: Sequence[ast.Statement]) -> None:
        self.scopes.append({})
        self._statements(statements)
        self.scopes.pop()

    def _statements(self, statements: Sequence[ast.Statement]) -> None:
        left = 0
        for statement in statements:
            if left == 1:
                self.warning("Unreachable statement.", _with_semicolon(statement.span))
            left += bool(left) or _leaves(statement)
            self._statement(statement)

    def _block(self, node: ast.BlockExpression) -> t.Type:
        self.scopes.append({})
        for statement in node.body:
            self._statement(statement)
        result = t.VOID if node.value is None else self.type_of(node.value)
        self.scopes.pop()
        return result

    def _statement(self, node: ast.Statement) -> None:
        if isinstance(node, ast.Block):
            self._body(node.body)
        elif isinstance(node, ast.ExpressionStatement):
            self._expression_statement(node)
        elif isinstance(node, ast.Discard):
            self.type_of(node.value)
        elif isinstance(node, ast.Assign):
            self._assign(node)
        elif isinstance(node, ast.Let):
            self._let(node)
        elif isinstance(node, ast.If):
            if node.comptime:
                self._choose(node)
                return
            self.condition_of(node.condition, node.span.to((node.otherwise or node.then).span))
            self._body(node.then.body)
            if node.otherwise is not None:
                self._statement(node.otherwise)
        elif isinstance(node, ast.Unroll):
            check_unroll(self, node)
        elif isinstance(node, ast.While):
            check_while(self, node)
        elif isinstance(node, ast.For):
            check_for(self, node)
        elif isinstance(node, ast.Break | ast.Continue):
            if not self.loops:
                word = "break" if isinstance(node, ast.Break) else "continue"
                self.error(f"'{word}' statement is not allowed in a probe", node.span)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                kind = self.read(self.type_of(node.value))
                if not isinstance(kind, t.IntT | t.EnumT | t.UnknownT):
                    message = f"Probe return values can only be integers. Found {kind}"
                    self.error(message, _with_semicolon(node.span))
        else:
            self._import(node)

    def _import(self, node: ast.Import) -> None:
        if self.knowledge.config.text("unstable_import_statement") == "error":
            self.error(
                "Import statements that are not at the top level are primarily for the standard library. If this is"
                " functionality you need, please file an issue to explain why.",
                node.span,
                "unstable_import_statement=enable in the config block allows them.",
            )
        elif node.path not in BLOCK_IMPORTS:
            self.unsupported(f'import "{node.path}" inside a block is', node.span)

    def _choose(self, node: ast.If) -> None:
        """Type the branch of an ``if comptime`` that is taken; the other one means nothing."""
        taken = self.decide(node.condition, node.condition.span)
        if taken is None:
            return
        self.chosen[node] = node.then if taken else node.otherwise
        branch = self.chosen[node]
        if branch is not None:
            self._statement(branch)

    def _expression_statement(self, node: ast.ExpressionStatement) -> None:
        value = node.value
        kind = self.type_of(value)
        stepping = isinstance(value, ast.Unary) and value.op in ("++", "--")
        if stepping or isinstance(kind, t.VoidT | t.UnknownT):
            return
        if isinstance(value, ast.Call) and value.name == "signal":
            return
        span = value.span if isinstance(value, ast.Binary) else _with_semicolon(value.span)
        self.warning("Return value discarded.", span, "Write _ = … to say that it is meant.")

    def block(self, block: ast.Block) -> None:
        """Type a block."""
        self._body(block.body)

    def loop_body(self, body: ast.Block) -> None:
        """Type what may hold ``break`` and ``continue``."""
        self.loops += 1
        self.block(body)
        self.loops -= 1

    # -- places

    def _declare(self, node: ast.Variable, scope: dict[str, Variable]) -> Variable:
        variable = self.variables.get(node)
        if variable is None:
            variable = self.variables[node] = Variable(node.name, node.span)
        scope[node.name] = variable
        self.resolved[node] = variable
        return variable

    def declare(self, node: ast.Variable) -> Variable:
        """Declare a variable in the innermost block."""
        return self._declare(node, self.scopes[-1])

    def find_variable(self, name: str) -> Variable | None:
        """Return the variable that a name stands for here, or ``None``."""
        return next((s[name] for s in reversed(self.scopes) if name in s), None)

    def _let(self, node: ast.Let) -> None:
        known = self.find_variable(node.target.name)
        if known is not None:
            name = node.target.name
            again = node.span.part(node.span.start, node.target.span.end)
            self.error(f"Variable ${name} was already declared. Variable shadowing is not allowed.", again)
        kind = self.written_type(node.type) if node.type is not None else None
        value = self.type_of(node.value) if node.value is not None else None
        variable = self._declare(node.target, self.scopes[-1])
        if node.value is None:
            self._unset[variable] = node
            variable.declared_only = True
        if isinstance(kind, t.AggregateT | t.VoidT) and node.type is not None:
            self.error(f"Invalid variable declaration type: {kind}", node.type.span)
        elif kind is not None and not isinstance(kind, t.UnknownT):
            variable.fixed = kind.size > 0
            variable.type = promote(kind, variable.type) or kind
        if value is not None:
            value = self.read(value)
            if isinstance(value, t.AggregateT | t.VoidT | t.ArgsT | t.ContextT):
                self.error(f"Value '{value}' cannot be assigned to a scratch variable.", node.span)
            else:
                self.assign_variable(variable, value, node.span, node.value)

    def _assign(self, node: ast.Assign) -> None:
        if isinstance(node.target, ast.Variable):
            self._assign_variable(node, node.target)
        else:
            self._assign_map(node, node.target)

    def _assign_variable(self, node: ast.Assign, target: ast.Variable) -> None:
        value = node.value
        if isinstance(value, ast.Call) and value.name in AGGREGATES:
            for arg in value.args:
                self.type_of(arg)
            self.error(f"{value.name}() must be assigned directly to a map", value.span)
            return
        kind = self.read(self.type_of(value))
        if isinstance(kind, t.AggregateT | t.VoidT | t.ArgsT | t.ContextT):
            self.error(f"Value '{kind}' cannot be assigned to a scratch variable.", node.span)
            return
        known = self.find_variable(target.name)
        if known is None and node.op:
            self.error(f"Undefined or undeclared variable: ${target.name}", target.span, *self.near_variable(target))
            return
        variable = known or self._declare(target, self.scopes[-1])
        self.resolved[target] = variable
        if node.op:
            self.variable_type(target)
            kind = self.binary_type(node, node.op, target, variable.type, value, kind)
            self.assign_variable(variable, kind, _behind(node, target))
        else:
            self.assign_variable(variable, kind, node.span, value)
        self.types[target] = variable.type

    def _assign_map(self, node: ast.Assign, target: ast.MapName | ast.MapElement) -> None:
        value = node.value
        if isinstance(value, ast.Call) and value.name in AGGREGATES:
            self._assign_aggregate(node, target, value)
            return
        given = self.type_of(value)
        info = self.use_map(target)
        if isinstance(given, t.AggregateT) and not (self.castable(given) and isinstance(info.value, t.IntT)):
            self._refuse_aggregate(node, given)
            return
        kind = self.read(given)
        if isinstance(kind, t.VoidT | t.ArgsT | t.ContextT):
            self.error(f"Value '{kind}' cannot be assigned to a map.", node.span)
            return
        if isinstance(info.value, t.AggregateT):
            wide = t.aggregate_number(info.value) if node.op else kind
            self.assign_map(info, wide, node.span)
        elif node.op:
            info.read = True
            old = t.IntT(1) if isinstance(info.value, t.UnknownT) else info.value
            kind = self.binary_type(node, node.op, target, old, value, kind)
            self.assign_map(info, kind, _behind(node, target))
        else:
            self.assign_map(info, kind, node.span, value)
        self.types[target] = info.value

    def _refuse_aggregate(self, node: ast.Assign, kind: t.AggregateT) -> None:
        name = node.target.name if isinstance(node.target, ast.MapName | ast.Variable) else node.target.map.name
        hints = []
        if self.castable(kind):
            hints = [f"Add a cast to integer if you want the value of the aggregate: (int64){node.value.span.text}"]
        self.error(
            f"Map value '{kind}' cannot be assigned from one map to another. The function that returns this type must"
            f" be called directly: {name} = {kind.kind}(…);",
            node.span,
            *hints,
        )

    def _assign_aggregate(self, node: ast.Assign, target: ast.MapName | ast.MapElement, call: ast.Call) -> None:
        if node.op:
            self.error(f"{call.name}() cannot be combined with '{node.op}='", node.span)
        kind = AGGREGATES[call.name].check(self, call)
        info = self.use_map(target)
        info.interrupted |= self.site.interrupted
        self.types[call] = kind
        self.assign_map(info, kind, call.span)


def infer_types(knowledge: Knowledge, sites: Sequence[ProbeSite]) -> list[TypedSite]:
    """Type all sites.

    Args:
        knowledge: shared facts; its maps are filled, its diagnostics receive what is wrong.
        sites: where the blocks run.

    Returns:
        The sites with the types of their nodes.
    """
    typers = [SiteTyper(knowledge, site) for site in sites]
    real, knowledge.diagnostics = knowledge.diagnostics, Diagnostics()
    for _ in range(_MAX_ROUNDS):
        knowledge.diagnostics = Diagnostics()
        changed = False
        for typer in typers:
            typer.changed = False
            typer.run()
            changed = changed or typer.changed
        if not changed and not _default_maps(knowledge):
            break
    knowledge.diagnostics = real
    knowledge.unsupported.clear()
    for typer in typers:
        typer.final = True
        typer.run()
        typer.settled = True
    for info in list(knowledge.maps.values()):
        if info.used is None and info.declaration is not None:
            knowledge.diagnostics.warning(f"Unused map: {info.name}", info.declaration.span)
            del knowledge.maps[info.name]
        _finish_map(info, knowledge)
    return [TypedSite(site, typer) for site, typer in zip(sites, typers, strict=True)]


def _default_maps(knowledge: Knowledge) -> bool:
    """Let maps that are read and never written hold zeros of type int8; tell whether there was one."""
    unset = [m for m in knowledge.maps.values() if m.read and isinstance(m.value, t.UnknownT)]
    if knowledge.diagnostics.errors:
        return False
    for info in unset:
        info.value = t.IntT(1)
    return bool(unset)


def _leaves(node: ast.Statement) -> bool:
    """Tell whether what stands behind a statement in its block is never reached."""
    call = node.value if isinstance(node, ast.ExpressionStatement) else None
    return isinstance(node, ast.Return | ast.Break | ast.Continue) or (
        isinstance(call, ast.Call) and call.name == "exit"
    )


def _with_semicolon(span: Span) -> Span:
    """Return a statement's span with the semicolon behind it."""
    end = span.end
    text = span.source.text
    while text[end : end + 1].isspace():
        end += 1
    return span.source.span(span.start, end + 1) if text[end : end + 1] == ";" else span


def _behind(node: ast.Assign, target: ast.Variable | ast.MapName | ast.MapElement) -> Span:
    """Return the span of ``op= value``."""
    text = node.span.source.text
    start = target.span.end
    while text[start : start + 1].isspace():
        start += 1
    return node.span.part(start, node.span.end)


def _finish_map(info: MapInfo, knowledge: Knowledge) -> None:
    info.key = t.decay(info.key)
    info.value = t.decay(info.value)
    declaration = info.declaration
    if declaration is not None and info.used is not None and not isinstance(info.value, t.UnknownT):
        aggregate = isinstance(info.value, t.AggregateT)
        if aggregate != declaration.kind.startswith("percpu"):
            knowledge.diagnostics.error(
                f"Incompatible map types. Type from declaration: {declaration.kind}. Type from value/key type:"
                f" {'percpuhash' if aggregate else 'hash'}",
                info.used,
                "Aggregates are kept per CPU: use percpuhash or percpulruhash."
                if aggregate
                else f"A value of type {info.value} is not kept per CPU: use hash or lruhash.",
            )
    if isinstance(info.value, t.UnknownT) and info.used is not None and not knowledge.diagnostics.errors:
        knowledge.diagnostics.error(f"Undefined map: {info.name}", info.used, *near_map(knowledge, info.name))
