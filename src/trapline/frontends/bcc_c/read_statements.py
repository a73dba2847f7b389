"""clang's statements → typed tree."""

from __future__ import annotations

import re
from collections.abc import Callable

from trapline.clang.c_api import Cursor, Type
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.read_expressions import note_change, read_expression
from trapline.frontends.bcc_c.reading import Reader


def read_statement(reader: Reader, cursor: Cursor) -> tree.Node:
    """Return the tree of a statement (an expression statement is its expression).

    Raises:
        UnsupportedError: it holds a construct that has no lowering.
    """
    rule = _RULES.get(cursor.kind)
    if rule is not None:
        with reader.nested(cursor):
            return rule(reader, cursor)
    if cursor.is_expression:
        return read_expression(reader, cursor)
    raise reader.unsupported(f"this kind of statement is not supported ({cursor.kind})", cursor)


def _block(reader: Reader, cursor: Cursor) -> tree.Node:
    statements = tuple(read_statement(reader, child) for child in cursor.get_children())
    return tree.Block(statements, span=reader.span(cursor))


def _nothing(reader: Reader, cursor: Cursor) -> tree.Node:
    return tree.Block((), span=reader.span(cursor))


def _declare(reader: Reader, cursor: Cursor) -> tree.Node:
    variables = [read_variable(reader, child) for child in cursor.get_children() if child.kind == "VarDecl"]
    return tree.Declare(tuple(variables), span=reader.span(cursor))


def read_variable(reader: Reader, cursor: Cursor, *, at_file_scope: bool = False) -> tree.Variable:
    """Return the variable that a ``VAR_DECL`` declares, with its initialiser."""
    static = at_file_scope or cursor.storage_class == "static"
    type_ = reader.type(cursor)
    constant = static and _is_constant(cursor.type)
    variable = tree.Variable(cursor.spelling, type_, None, static, constant, span=reader.span(cursor))
    reader.variables[cursor] = variable
    init = cursor.get_initialiser()
    if init is not None:
        variable.init = read_expression(reader, init)
    return variable


def _is_constant(type_: Type) -> bool:
    type_ = type_.get_canonical()
    while type_.kind in ("ConstantArray", "IncompleteArray") and not type_.is_const_qualified():
        type_ = type_.element_type
    return bool(type_.is_const_qualified())


def _if(reader: Reader, cursor: Cursor) -> tree.Node:
    children = list(cursor.get_children())
    condition = read_expression(reader, children[0])
    then = read_statement(reader, children[1])
    other = read_statement(reader, children[2]) if len(children) > 2 else None
    return tree.If(condition, then, other, span=reader.span(cursor))


def _while(reader: Reader, cursor: Cursor) -> tree.Node:
    condition, body = cursor.get_children()
    return tree.Loop(
        None, read_expression(reader, condition), None, read_statement(reader, body), span=reader.span(cursor)
    )


def _do(reader: Reader, cursor: Cursor) -> tree.Node:
    body, condition = cursor.get_children()
    loop_body = read_statement(reader, body)
    return tree.Loop(
        None, read_expression(reader, condition), None, loop_body, test_last=True, span=reader.span(cursor)
    )


def _for(reader: Reader, cursor: Cursor) -> tree.Node:
    children = list(cursor.get_children())
    span = reader.span(cursor)
    bounds = find_clauses(reader.source.text, span[0]) if span is not None else None
    clauses: list[Cursor | None] = [None, None, None]
    if len(children) == 4:
        clauses = list(children[:3])
    elif bounds is not None:
        for child in children[:-1]:
            where = reader.span(child)
            start = where[0] if where else 0
            clauses[sum(start > bound for bound in bounds)] = child
    elif len(children) > 1:
        raise reader.unsupported("a 'for' inside a macro must have all three clauses", cursor)
    first, condition, step = clauses
    return tree.Loop(
        read_statement(reader, first) if first is not None else None,
        read_expression(reader, condition) if condition is not None else None,
        read_expression(reader, step) if step is not None else None,
        read_statement(reader, children[-1]),
        span=span,
    )


_SKIP = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)


def find_clauses(text: str, start: int) -> tuple[int, int] | None:
    """Return the offsets of the two semicolons of the ``for`` at `start`, or ``None`` when it is not spelled there."""
    head = re.compile(r"for\s*\(").match(text, start)
    if head is None:
        return None
    depth, found, i = 1, [], head.end()
    while i < len(text) and depth:
        skipped = _SKIP.match(text, i)
        if skipped:
            i = skipped.end()
            continue
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
        elif text[i] == ";" and depth == 1:
            found.append(i)
        i += 1
    return (found[0], found[1]) if len(found) == 2 else None


def _switch(reader: Reader, cursor: Cursor) -> tree.Node:
    value, body = cursor.get_children()
    reader.jumps = True
    return tree.SwitchOn(read_expression(reader, value), read_statement(reader, body), span=reader.span(cursor))


def _case(reader: Reader, cursor: Cursor) -> tree.Node:
    children = list(cursor.get_children())
    bounds = [child.evaluate() for child in children[:-1]]
    if not bounds or None in bounds:
        raise reader.unsupported("a case label must be a constant", cursor)
    low, high = bounds[0], bounds[-1]
    assert low is not None and high is not None
    return tree.Case(low, high, read_statement(reader, children[-1]), span=reader.span(cursor))


def _default(reader: Reader, cursor: Cursor) -> tree.Node:
    body = next(iter(cursor.get_children()), None)
    return tree.Case(None, 0, read_statement(reader, body) if body is not None else None, span=reader.span(cursor))


def _return(reader: Reader, cursor: Cursor) -> tree.Node:
    value = next(iter(cursor.get_children()), None)
    return tree.ReturnFrom(read_expression(reader, value) if value is not None else None, span=reader.span(cursor))


def _goto(reader: Reader, cursor: Cursor) -> tree.Node:
    reader.jumps = True
    label = next(iter(cursor.get_children()))
    return tree.Goto(label.spelling, span=reader.span(cursor))


def _label(reader: Reader, cursor: Cursor) -> tree.Node:
    body = next(iter(cursor.get_children()), None)
    return tree.Label(
        cursor.spelling, read_statement(reader, body) if body is not None else None, span=reader.span(cursor)
    )


def _asm(reader: Reader, cursor: Cursor) -> tree.Node:
    tokens = [text for _, text in cursor.get_tokens()]
    strings = [token for token in tokens if token.startswith('"')]
    if not strings or strings[0] not in ('""', '"nop"'):
        raise reader.unsupported(
            "inline assembler is not supported", cursor, 'only the compiler barrier asm volatile("" ::: "memory") is'
        )
    outputs = tuple(read_expression(reader, child) for child in cursor.get_children() if child.is_expression)
    for output in outputs:
        note_change(output)
    return tree.CompilerBarrier(outputs, span=reader.span(cursor))


def _unexposed(reader: Reader, cursor: Cursor) -> tree.Node:
    # An attributed statement: ``#pragma unroll``, ``__attribute__((fallthrough));``.
    children = [child for child in cursor.get_children() if not child.is_attribute]
    if len(children) == 1:
        return read_statement(reader, children[0])
    return tree.Block((), span=reader.span(cursor))


_RULES: dict[str, Callable[[Reader, Cursor], tree.Node]] = {
    "CompoundStmt": _block,
    "NullStmt": _nothing,
    "DeclStmt": _declare,
    "IfStmt": _if,
    "WhileStmt": _while,
    "DoStmt": _do,
    "ForStmt": _for,
    "SwitchStmt": _switch,
    "CaseStmt": _case,
    "DefaultStmt": _default,
    "BreakStmt": lambda reader, cursor: tree.Break(span=reader.span(cursor)),
    "ContinueStmt": lambda reader, cursor: tree.Continue(span=reader.span(cursor)),
    "ReturnStmt": _return,
    "GotoStmt": _goto,
    "LabelStmt": _label,
    "GCCAsmStmt": _asm,
    "UnexposedStmt": _unexposed,
}
