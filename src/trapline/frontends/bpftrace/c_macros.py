"""Put the values of C macros in their places: the body of a macro is an expression of the bpftrace language.

#define LIMIT (1 << 4)        begin { print(LIMIT) }   →   begin { print((1 << 4)) }
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.constants import ARG_N
from trapline.frontends.bpftrace.copy_tree import Copier, walk
from trapline.frontends.bpftrace.cursor import SyntaxAbort
from trapline.frontends.bpftrace.lexer import Kind
from trapline.frontends.bpftrace.parse_statements import StatementParser, TooManyErrors
from trapline.hints import TYPE_CHECKING, Any, TypeVar
from trapline.records import record, replace
from trapline.source import Diagnostics, Source, Span

if TYPE_CHECKING:
    from trapline.clang.definitions import CMacro
    from trapline.frontends.bpftrace.c_definitions import CDefinitions

_N = TypeVar("_N", bound=ast.Node)


def expand_c_macros(
    program: ast.Program, definitions: CDefinitions, reserved: Collection[str], diagnostics: Diagnostics
) -> ast.Program:
    """Return the program without uses of C macros.

    Args:
        program: the program.
        definitions: its C.
        reserved: words that mean something else whatever the C says (the built-ins).
        diagnostics: receives macros that are no expressions, or contain themselves.
    """
    expander = _Expander(_Shared(definitions, reserved, diagnostics), None, ())
    return replace(
        program,
        maps=tuple(expander.copy(node) for node in program.maps),
        functions=tuple(expander.copy(node) for node in program.functions),
        probes=tuple(expander.copy(node) for node in program.probes),
    )


@record(frozen=True, eq=False)
class _Shared:
    """What all expansions of a program have in common."""

    definitions: CDefinitions
    reserved: Collection[str]
    diagnostics: Diagnostics


class _Expander(Copier):
    """Copies the program, or the body of a macro that is used at `origin`, inside of those of `active`."""

    def __init__(self, shared: _Shared, origin: Span | None, active: tuple[str, ...]) -> None:
        self._shared = shared
        self._definitions = shared.definitions
        self._origin = origin
        self._active = active

    def span(self, span: Span) -> Span:
        """Return the span, with where the macro is used."""
        return span if self._origin is None else Span(span.source, span.start, span.end, self._origin)

    def copy(self, node: _N) -> Any:
        """Return the copy of a node, or what the macro that it is a use of stands for."""
        changed = None
        if isinstance(node, ast.Identifier):
            if node.name not in self._shared.reserved and not ARG_N.fullmatch(node.name):
                changed = self._expression(node)
        elif isinstance(node, ast.NamedType) and not node.tag:
            changed = self._type(node)
        elif isinstance(node, ast.Sizeof | ast.Offsetof | ast.TypeofType) and isinstance(node.operand, ast.Identifier):
            changed = self._type_operand(node, node.operand)
        return self.children(node) if changed is None else changed

    def _expression(self, node: ast.Identifier) -> Any:
        macro = self._definitions.macro(node.name)
        if macro is None:
            return None
        span = self.span(node.span)
        if node.name in self._active:
            # As in C, a macro's name means something else inside of its own body: an enumerator, as a rule.
            if self._definitions.find_enumerator(node.name) is None:
                self._shared.diagnostics.error(f"Macro recursion: {'->'.join(self._active)}", span)
            return None
        found = None if macro.parameters else _parse(macro, span, StatementParser.expression)
        if (found is None or self._calls_macro(found)) and not macro.parameters:
            value = self._evaluate(node.name, span)
            if value is not None:
                return value
        if found is None:
            hints = [f"A macro with parameters is written: macro {macro.name}(…) {{ … }}"] * macro.parameters
            self._shared.diagnostics.error(f"unable to expand macro as an expression: {macro.body}", span, *hints)
            return None
        return self._body(macro, span).copy(found)

    def _type(self, node: ast.NamedType) -> Any:
        macro = self._definitions.macro(node.name)
        if macro is None or macro.parameters or node.name in self._active:
            return None
        span = self.span(node.span)
        found = _parse(macro, span, StatementParser.type)
        return None if found is None else self._body(macro, span).copy(found)

    def _type_operand(self, node: ast.Sizeof | ast.Offsetof | ast.TypeofType, operand: ast.Identifier) -> Any:
        """Take the operand for a type where it is one in C: the parser cannot know."""
        named = ast.NamedType(operand.span, operand.name)
        macro = self._definitions.macro(operand.name)
        if macro is None:
            known = self._definitions.find("", operand.name) is not None
            return self.children(replace(node, operand=named)) if known else None
        if macro.parameters or _parse(macro, operand.span, StatementParser.expression) is not None:
            return None
        type_ = self._type(named)
        return None if type_ is None else replace(node, operand=type_, span=self.span(node.span))

    def _body(self, macro: CMacro, use: Span) -> _Expander:
        return _Expander(self._shared, use, (*self._active, macro.name))

    def _calls_macro(self, body: ast.Node) -> bool:
        """Whether an expression has a use of a macro with parameters: only C can tell what it is."""
        macros = (self._definitions.macro(node.name) for node in walk(body) if isinstance(node, ast.Call))
        return any(macro is not None and macro.parameters for macro in macros)

    def _evaluate(self, name: str, span: Span) -> Any:
        """Return the constant that C makes of a macro."""
        found = self._definitions.evaluate(name)
        if found is None:
            return None
        number = ast.Integer(span, abs(found.value), not found.type.signed and found.type.size >= 4)
        return ast.Unary(span, "-", number) if found.value < 0 else number


def _parse(macro: CMacro, use: Span, rule: Callable[[StatementParser], Any]) -> Any:
    """Parse the body of a macro by one rule of the language; ``None`` when it is something else."""
    diagnostics = Diagnostics()
    parser = StatementParser(Source(macro.name, macro.body, use.range[0]), diagnostics)
    try:
        parser.seek(0)
        found = rule(parser)
    except (SyntaxAbort, TooManyErrors):
        return None
    return found if parser.token.kind is Kind.END and not diagnostics.errors else None
