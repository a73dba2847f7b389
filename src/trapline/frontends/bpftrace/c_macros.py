"""Put the values of C macros in their places: the body of a macro is an expression of the bpftrace language.

#define LIMIT (1 << 4)        begin { print(LIMIT) }   →   begin { print((1 << 4)) }
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace.c_definitions import CDefinitions
from trapline.frontends.bpftrace.constants import ARG_N
from trapline.frontends.bpftrace.cursor import SyntaxAbort
from trapline.frontends.bpftrace.lexer import Kind
from trapline.frontends.bpftrace.parse_statements import StatementParser, TooManyErrors
from trapline.records import annotations_of, replace
from trapline.source import Diagnostics, Source, Span

N = TypeVar("N")
_TYPES = (ast.NamedType, ast.PointerType, ast.ArrayType, ast.TupleType, ast.TypeofType)


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
    expander = _Expander(definitions, reserved, diagnostics)
    return replace(
        program,
        maps=expander.visit(program.maps),
        functions=expander.visit(program.functions),
        probes=expander.visit(program.probes),
    )


class _Expander:
    def __init__(self, definitions: CDefinitions, reserved: Collection[str], diagnostics: Diagnostics) -> None:
        self._definitions = definitions
        self._reserved = reserved
        self._diagnostics = diagnostics
        self._active: list[str] = []

    def visit(self, node: N) -> N:
        """Return a tree with all macros in it expanded; the same object when there is none."""
        result: N = _rewrite(node, self._replace)
        return result

    def _replace(self, node: object) -> Any:
        """Return what stands for a node, or ``None``: its parts decide."""
        if isinstance(node, ast.Identifier) and node.name not in self._reserved and not ARG_N.fullmatch(node.name):
            return self._expression(node)
        if isinstance(node, ast.NamedType) and not node.tag:
            return self._type(node)
        if isinstance(node, ast.Sizeof | ast.Offsetof | ast.TypeofType) and isinstance(node.operand, ast.Identifier):
            return self._type_operand(node, node.operand)
        return None

    def _expression(self, node: ast.Identifier) -> Any:
        macro = self._definitions.macro(node.name)
        if macro is None:
            return None
        if node.name in self._active:
            # As in C, a macro's name means something else inside of its own body: an enumerator, as a rule.
            if self._definitions.find_enumerator(node.name) is None:
                self._diagnostics.error(f"Macro recursion: {'->'.join(self._active)}", node.span)
            return node
        found = None if macro.parameters else _parse(macro.name, macro.body, StatementParser.expression)
        if found is None or self._calls_macro(found):
            found = self._evaluate(node) if not macro.parameters else None
        if found is None:
            hints = [f"A macro with parameters is written: macro {macro.name}(…) {{ … }}"] if macro.parameters else []
            self._diagnostics.error(f"unable to expand macro as an expression: {macro.body}", node.span, *hints)
            return node
        return self._expand(node.name, found, node.span)

    def _type(self, node: ast.NamedType) -> Any:
        macro = self._definitions.macro(node.name)
        if macro is None or macro.parameters or node.name in self._active:
            return None
        found = _parse(macro.name, macro.body, StatementParser.type)
        return None if found is None else self._expand(node.name, found, node.span)

    def _type_operand(self, node: ast.Sizeof | ast.Offsetof | ast.TypeofType, operand: ast.Identifier) -> Any:
        """Take the operand for a type where the C has a typedef of that name: the parser cannot know."""
        if self._definitions.macro(operand.name) is not None or self._definitions.find("", operand.name) is None:
            return None
        return replace(node, operand=ast.NamedType(operand.span, operand.name))

    def _expand(self, name: str, body: Any, span: Span) -> Any:
        self._active.append(name)
        result = self.visit(_rewrite(body, lambda node: None, span))
        self._active.pop()
        return result

    def _calls_macro(self, body: object) -> bool:
        """Whether an expression has a use of a macro with parameters: only C can tell what it is."""
        found = False

        def look(node: object) -> None:
            nonlocal found
            if isinstance(node, ast.Call):
                macro = self._definitions.macro(node.name)
                found = found or (macro is not None and macro.parameters)

        _rewrite(body, look)
        return found

    def _evaluate(self, node: ast.Identifier) -> Any:
        """Return the constant that C makes of a macro."""
        found = self._definitions.evaluate(node.name)
        if found is None:
            return None
        number = ast.Integer(node.span, abs(found.value), not found.type.signed and found.type.size >= 4)
        return ast.Unary(node.span, "-", number) if found.value < 0 else number


def _parse(name: str, text: str, rule: Callable[[StatementParser], Any]) -> Any:
    """Parse a whole text by one rule of the language; ``None`` when it is something else."""
    diagnostics = Diagnostics()
    parser = StatementParser(Source(name, text), diagnostics)
    try:
        parser.seek(0)
        found = rule(parser)
    except (SyntaxAbort, TooManyErrors):
        return None
    return found if parser.token.kind is Kind.END and not diagnostics.errors else None


def _rewrite(node: Any, change: Callable[[object], Any], span: Span | None = None) -> Any:
    """Rebuild a tree.

    Args:
        node: the tree, or a tuple of trees.
        change: gives what stands for a node; ``None`` leaves it to its parts.
        span: the place of all nodes of the new tree.
    """
    if isinstance(node, tuple):
        parts = tuple(_rewrite(part, change, span) for part in node)
        return parts if any(new is not old for new, old in zip(parts, node, strict=True)) else node
    if not isinstance(node, ast.Node):
        return node
    changed = change(node)
    if changed is not None:
        return changed
    changes: dict[str, Any] = {}
    for name in annotations_of(type(node)):
        old = getattr(node, name)
        if isinstance(old, tuple | ast.Node):
            new = _rewrite(old, change, span)
            if new is not old:
                changes[name] = new
    if span is not None:
        changes["span"] = span
    return replace(node, **changes) if changes else node
