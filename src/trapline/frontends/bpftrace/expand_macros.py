"""Put the bodies of macros where they are called; a macro's own variables get names that nothing else has.

macro inc($v, n) { $old = $v; $v += n; $old }   begin { $a = 1; print(inc($a, 2)) }
→ begin { $a = 1; print({ $$inc_old = $a; $a += 2; $$inc_old }) }
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.copy_tree import Copier
from trapline.hints import Any
from trapline.records import annotations_of, field, record, replace
from trapline.source import Diagnostics, Span

# How deep macros may call macros; later passes recurse over the result.
_MAX_DEPTH = 40
_MAX_NODES = 50_000
_MAX_TREE = 150
_KINDS: dict[type, str] = {ast.Variable: "variable", ast.MapName: "map"}


def expand_macros(program: ast.Program, known: Callable[[str], bool], diagnostics: Diagnostics) -> ast.Program:
    """Expand all macro calls of a program.

    Args:
        program: the program, with its imports.
        known: tells whether a name is a built-in or a function: a call that fits no macro of that name means it.
        diagnostics: receives what is wrong.

    Returns:
        The program without macros.
    """
    if not program.macros:
        return program
    macros = _collect(program.macros, diagnostics)
    if diagnostics.errors:
        return program
    shared = _Shared(macros, known, diagnostics)
    probes = []
    for probe in program.probes:
        copier = _Expander(shared)
        try:
            predicate = copier.copy(probe.predicate) if probe.predicate is not None else None
            probes.append(replace(probe, predicate=predicate, body=copier.copy(probe.body)))
        except _TooLargeError:
            diagnostics.error("macros expand to too much code", probe.span)
            break
    return replace(program, macros=(), probes=tuple(probes))


class _TooLargeError(Exception):
    """Macros multiply their arguments beyond all use.  Never leaves this module."""


def _collect(macros: tuple[ast.Macro, ...], diagnostics: Diagnostics) -> dict[str, list[ast.Macro]]:
    """Group macros by name; refuse what can never be called."""
    found: dict[str, list[ast.Macro]] = {}
    for macro in macros:
        if not _check_parameters(macro, diagnostics):
            continue
        others = found.setdefault(macro.name, [])
        twin = next((other for other in others if _covers(other, macro)), None)
        if twin is None:
            others.append(macro)
        else:
            diagnostics.error(f"Redefinition of macro: {macro.name}", macro.span)
            diagnostics.error("This is the original definition.", twin.span)
    return found


def _covers(first: ast.Macro, second: ast.Macro) -> bool:
    """Tell whether every call that fits `second` fits `first`, so that `second` would never be taken."""
    return len(first.parameters) == len(second.parameters) and all(
        isinstance(a, (ast.Identifier, type(b))) for a, b in zip(first.parameters, second.parameters, strict=True)
    )


def _check_parameters(macro: ast.Macro, diagnostics: Diagnostics) -> bool:
    words = {ast.Variable: "Variable", ast.MapName: "Map", ast.Identifier: "Ident"}
    seen: set[tuple[type, str]] = set()
    fine = True
    for parameter in macro.parameters:
        key = (type(parameter), parameter.name)
        if key in seen:
            what = words[type(parameter)]
            shown = _shown(parameter)
            diagnostics.error(f"{what} for macro argument has already been used: {shown}", parameter.span)
            fine = False
        seen.add(key)
    for node, in_loop in _walk(macro.body):
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
            word = type(node).__name__.lower()
            diagnostics.error(f"'{word}' statement is not allowed in a macro", node.span)
            fine = False
    return fine


def _walk(root: ast.Node) -> Iterator[tuple[ast.Node, bool]]:
    """Yield all nodes of a tree, and whether they are inside of a loop."""
    rest: list[tuple[object, bool]] = [(root, False)]
    while rest:
        value, in_loop = rest.pop()
        if isinstance(value, ast.Node):
            yield value, in_loop
            inside = in_loop or isinstance(value, ast.While | ast.For | ast.Unroll)
            rest += [(getattr(value, name), inside) for name in reversed(annotations_of(type(value)))]
        elif isinstance(value, tuple):
            rest += [(item, in_loop) for item in reversed(value)]


def _shown(parameter: ast.Variable | ast.MapName | ast.Identifier) -> str:
    return f"${parameter.name}" if isinstance(parameter, ast.Variable) else parameter.name


@record(eq=False)
class _Shared:
    """What all expansions of a program share."""

    macros: Mapping[str, list[ast.Macro]]
    known: Callable[[str], bool]
    diagnostics: Diagnostics
    nodes: int = 0
    depth: int = 0
    used_names: dict[str, int] = field(default_factory=dict)

    def own_name(self, macro: str, variable: str) -> str:
        """Return a name for a macro's variable that no program can write."""
        name = f"${macro}_{variable}"
        count = self.used_names[name] = self.used_names.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"


class _Expander(Copier):
    """Copies the program's own text, with macro calls replaced."""

    chain: tuple[ast.Macro, ...] = ()

    def __init__(self, shared: _Shared) -> None:
        self.shared = shared

    def copy(self, node: Any) -> Any:
        """Return the copy of a node; of a macro call, what it stands for."""
        shared = self.shared
        shared.nodes += 1
        if shared.nodes > _MAX_NODES or shared.depth > _MAX_TREE:
            raise _TooLargeError
        shared.depth += 1
        rule = _RULES.get(type(node))
        copied = getattr(self, rule)(node) if rule is not None else self.children(node)
        shared.depth -= 1
        return copied

    def identifier(self, node: ast.Identifier) -> ast.Node:
        """Copy a bare word, which may call a macro without parameters."""
        return self._call(node, node.name, ()) or self.children(node)

    def call(self, node: ast.Call) -> ast.Node:
        """Copy a call."""
        copied = self.children(node)
        return self._call(copied, node.name, copied.args) or copied

    def variable(self, node: ast.Variable) -> ast.Node:
        """Copy a variable."""
        return self.children(node)

    def map_name(self, node: ast.MapName) -> ast.Node:
        """Copy a map."""
        return self.children(node)

    def let(self, node: ast.Let) -> ast.Node:
        """Copy a declaration."""
        return self.children(node)

    def named_type(self, node: ast.NamedType) -> ast.Node:
        """Copy a type by name."""
        return self.children(node)

    def offsetof(self, node: ast.Offsetof) -> ast.Node:
        """Copy ``offsetof``."""
        return ast.Offsetof(self.span(node.span), _type_or_value(self.copy(node.operand)), node.path)

    def type_operand(self, node: ast.Sizeof | ast.Typeinfo | ast.TypeofType) -> ast.Node:
        """Copy what takes a type or an expression."""
        return type(node)(self.span(node.span), _type_or_value(self.copy(node.operand)))

    def _call(self, node: ast.Call | ast.Identifier, name: str, args: tuple[ast.Expr, ...]) -> ast.Node | None:
        """Return the expansion of a call, or ``None`` when no macro is meant."""
        candidates = self.shared.macros.get(name)
        if candidates is None:
            return None
        fitting = next((m for m in candidates if _fits(m, args)), None)
        if fitting is None:
            if self.shared.known(name):
                return None
            self._explain(node.span, name, args, candidates)
        elif fitting in self.chain:
            links = " > ".join(m.name for m in (*self.chain[self.chain.index(fitting) :], fitting))
            self.shared.diagnostics.error(f"Recursive macro call detected. Call chain: {links}", node.span)
        elif len(self.chain) >= _MAX_DEPTH:
            raise _TooLargeError
        else:
            body = _BodyCopier(self.shared, fitting, args, node.span, (*self.chain, fitting))
            return replace(body.children(fitting.body), span=node.span)
        return ast.BlockExpression(node.span, (), None)

    def _explain(self, span: Span, name: str, args: tuple[ast.Expr, ...], candidates: list[ast.Macro]) -> None:
        errors = self.shared.diagnostics
        errors.error(f"Call to {name}() has arguments that do not match any definition.", span)
        closest = next((m for m in candidates if len(m.parameters) == len(args)), candidates[0])
        if len(closest.parameters) != len(args):
            errors.error(
                f"The closest definition of {name}() has a different number of arguments. Expected:"
                f" {len(closest.parameters)} but got {len(args)}",
                closest.span,
            )
            return
        for parameter, argument in zip(closest.parameters, args, strict=True):
            if not _accepts(parameter, argument):
                wanted, given = _KINDS[type(parameter)], _KINDS.get(type(argument), "expression")
                article = "an" if given == "expression" else "a"
                errors.error(
                    f"Mismatched arg. {name}() expects a {wanted} for arg {_shown(parameter)} but got {article}"
                    f" {given}.",
                    argument.span,
                )
                errors.error("This is the argument in the closest definition.", parameter.span)


def _fits(macro: ast.Macro, args: tuple[ast.Expr, ...]) -> bool:
    return len(macro.parameters) == len(args) and all(map(_accepts, macro.parameters, args))


def _accepts(parameter: ast.Variable | ast.MapName | ast.Identifier, argument: ast.Expr) -> bool:
    return isinstance(parameter, ast.Identifier) or isinstance(argument, type(parameter))


def _type_or_value(node: ast.Node) -> Any:
    """Return the type that a parameter stood for, or the expression."""
    return node.type if isinstance(node, ast.TypeArgument) else node


class _BodyCopier(_Expander):
    """Copies a macro's body for one call."""

    def __init__(
        self, shared: _Shared, macro: ast.Macro, args: tuple[ast.Expr, ...], call: Span, chain: tuple[ast.Macro, ...]
    ) -> None:
        super().__init__(shared)
        self.macro = macro
        self.origin = call
        self.chain = chain
        self.variables: dict[str, str] = {}
        self.maps: dict[str, str] = {}
        self.expressions: dict[str, ast.Expr] = {}
        for parameter, argument in zip(macro.parameters, args, strict=True):
            if isinstance(parameter, ast.Identifier):
                self.expressions[parameter.name] = argument
            elif isinstance(parameter, ast.Variable) and isinstance(argument, ast.Variable):
                self.variables[parameter.name] = argument.name
            elif isinstance(argument, ast.MapName):
                self.maps[parameter.name] = argument.name
        self.parameters = frozenset(self.variables)
        for name in _assigned(macro.body):
            if name not in self.variables:
                self.variables[name] = shared.own_name(macro.name, name)

    def span(self, span: Span) -> Span:
        """Return the place in the macro, with the call that it came from."""
        return Span(span.source, span.start, span.end, self.origin)

    def identifier(self, node: ast.Identifier) -> ast.Node:
        """Copy a bare word; a parameter stands for its argument."""
        argument = self.expressions.get(node.name)
        return super().identifier(node) if argument is None else _ArgumentCopier(self.shared).copy(argument)

    def variable(self, node: ast.Variable) -> ast.Node:
        """Copy a variable under its new name; one that the macro never sets is the caller's."""
        return ast.Variable(self.span(node.span), self.variables.get(node.name, node.name))

    def map_name(self, node: ast.MapName) -> ast.Node:
        """Copy a map, which must be a parameter."""
        span = self.span(node.span)
        if node.name not in self.maps:
            self.shared.diagnostics.error(
                f"Unhygienic access to map: {node.name}. Maps must be passed into the macro as arguments.", span
            )
        return ast.MapName(span, self.maps.get(node.name, node.name))

    def let(self, node: ast.Let) -> ast.Node:
        """Copy a declaration, which must not be one of a parameter."""
        if node.target.name in self.parameters:
            head = self.span(node.span.part(node.span.start, node.target.span.end))
            message = f"Variable declaration shadows macro arg ${node.target.name}"
            self.shared.diagnostics.error(message, head)
        return self.children(node)

    def named_type(self, node: ast.NamedType) -> ast.Node:
        """Copy a type; a parameter stands for the type that was passed."""
        argument = None if node.tag else self.expressions.get(node.name)
        if argument is None:
            return self.children(node)
        argument = Copier().copy(argument)
        if isinstance(argument, ast.TypeArgument):
            return argument.type
        if isinstance(argument, ast.Identifier):
            return ast.NamedType(argument.span, argument.name)
        return ast.TypeofType(argument.span, argument)

    def offsetof(self, node: ast.Offsetof) -> ast.Node:
        """Copy ``offsetof``; a parameter in its path stands for the field that was passed."""
        path: list[str] = []
        for name in node.path:
            path += _field_path(self.expressions.get(name)) or [name]
        operand = _type_or_value(self.copy(node.operand))
        return ast.Offsetof(self.span(node.span), operand, tuple(path))


class _ArgumentCopier(_Expander):
    """Copies an argument, in which all macros are expanded."""

    def copy(self, node: Any) -> Any:
        """Return the copy of a node."""
        self.shared.nodes += 1
        if self.shared.nodes > _MAX_NODES:
            raise _TooLargeError
        return self.children(node)


def _field_path(argument: ast.Expr | None) -> list[str]:
    """Return the names in ``a.b.c``; nothing for another expression."""
    if isinstance(argument, ast.Identifier):
        return [argument.name]
    if isinstance(argument, ast.FieldAccess):
        head = _field_path(argument.base)
        return [*head, argument.name] if head else []
    return []


def _assigned(body: ast.Node) -> Iterator[str]:
    """Yield the names of the variables that a macro's body sets or declares."""
    for node, _ in _walk(body):
        if isinstance(node, ast.For | ast.Assign | ast.Let) and isinstance(node.target, ast.Variable):
            yield node.target.name


# Which method copies a node of this kind.
_RULES: dict[type[ast.Node], str] = {
    ast.Identifier: "identifier",
    ast.Call: "call",
    ast.Variable: "variable",
    ast.MapName: "map_name",
    ast.Let: "let",
    ast.NamedType: "named_type",
    ast.Offsetof: "offsetof",
    ast.Sizeof: "type_operand",
    ast.Typeinfo: "type_operand",
    ast.TypeofType: "type_operand",
}
