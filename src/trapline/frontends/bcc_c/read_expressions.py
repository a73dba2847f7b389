"""clang's expressions → typed tree."""

from __future__ import annotations

import re
from collections.abc import Callable

from trapline.clang.c_api import Cursor
from trapline.clang.ctype import CArray, CField, CFunction, CInt, CPointer, CRecord, CType, CVoid
from trapline.clang.libclang import decode_string
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.reading import Reader
from trapline.records import replace

_SIZED_BUILTIN = re.compile(r"(__sync_\w+?)_(?:1|2|4|8|16)$")


def read_expression(reader: Reader, cursor: Cursor) -> tree.Expr:
    """Return the tree of an expression.

    Raises:
        UnsupportedError: it holds a construct that has no lowering.
    """
    rule = _RULES.get(cursor.kind)
    if rule is None:
        raise reader.unsupported(f"this kind of expression is not supported ({cursor.kind})", cursor)
    with reader.nested(cursor):
        return rule(reader, cursor)


def strip(cursor: Cursor) -> Cursor:
    """Return the expression inside parentheses and implicit conversions."""
    while cursor.kind in ("UnexposedExpr", "ParenExpr"):
        children = list(cursor.get_children())
        if len(children) != 1:
            break
        cursor = children[0]
    return cursor


def note_change(target: tree.Expr) -> None:
    """Mark the variable, if any, whose memory an lvalue is part of: it must live in memory."""
    while True:
        if isinstance(target, tree.Index) or (isinstance(target, tree.Member) and not target.arrow):
            target = target.base
        elif isinstance(target, tree.Cast) and isinstance(target.operand.type, CArray):
            target = target.operand
        else:
            break
    if isinstance(target, tree.VariableRef):
        target.variable.changed = True


def _expressions(cursor: Cursor) -> list[Cursor]:
    return [child for child in cursor.get_children() if child.is_expression]


def _constant(reader: Reader, cursor: Cursor) -> tree.Expr:
    value = cursor.evaluate()
    if value is None:
        raise reader.unsupported("this is not a constant that can be computed when compiling", cursor)
    return tree.IntLiteral(reader.type(cursor), value, span=reader.span(cursor))


def _string(reader: Reader, cursor: Cursor) -> tree.Expr:
    data = decode_string(cursor.spelling)
    type_ = reader.type(cursor)
    if data is None or not isinstance(type_, CArray):
        raise reader.unsupported("wide string literals are not supported", cursor)
    return tree.StringLiteral(CArray(type_.element, len(data)), data, span=reader.span(cursor))


def _paren(reader: Reader, cursor: Cursor) -> tree.Expr:
    return read_expression(reader, _expressions(cursor)[0])


def _reference(reader: Reader, cursor: Cursor) -> tree.Expr:
    span = reader.span(cursor)
    referenced = cursor.referenced
    kind = referenced.kind
    if kind == "EnumConstantDecl":
        return tree.IntLiteral(reader.type(cursor), referenced.enum_value, span=span)
    if kind == "FunctionDecl":
        return tree.FunctionRef(reader.type(cursor), referenced.spelling, span=span)
    variable = reader.variables.get(referenced)
    if variable is not None:
        variable.used = True
        return tree.VariableRef(variable.type, variable, span=span)
    if referenced.spelling in reader.tables:
        return tree.TableRef(reader.type(cursor), referenced.spelling, span=span)
    raise reader.unsupported(f"'{cursor.spelling}' is not a variable of this program", cursor)


def _unexposed(reader: Reader, cursor: Cursor) -> tree.Expr:
    children = list(cursor.get_children())
    if len(children) == 1 and children[0].is_expression:
        operand = read_expression(reader, children[0])
        return _converted(reader, cursor, operand)
    value = cursor.evaluate()  # offsetof, __builtin_types_compatible_p …
    if value is not None:
        return tree.IntLiteral(reader.type(cursor), value, span=reader.span(cursor))
    operands = _expressions(cursor)
    if len(operands) == 4:  # clang lists the shared condition three times
        condition, other = read_expression(reader, operands[0]), read_expression(reader, operands[3])
        return tree.Conditional(reader.type(cursor), condition, None, other, span=reader.span(cursor))
    if len(operands) == 3:  # __builtin_choose_expr
        chosen = operands[0].evaluate()
        if chosen is not None:
            return read_expression(reader, operands[1 if chosen else 2])
    raise reader.unsupported("this kind of expression is not supported", cursor)


def _converted(reader: Reader, cursor: Cursor, operand: tree.Expr) -> tree.Expr:
    type_ = reader.type(cursor)
    if same_representation(type_, operand.type):
        return operand
    return tree.Cast(type_, operand, span=reader.span(cursor))


def same_representation(left: CType, right: CType) -> bool:
    """Whether a conversion between the types changes nothing."""
    if isinstance(left, CInt) and isinstance(right, CInt):
        return left.name == right.name
    if isinstance(left, CPointer):
        return isinstance(right, CFunction) or (isinstance(right, CPointer) and left.spelling == right.spelling)
    return left == right


def _member(reader: Reader, cursor: Cursor) -> tree.Expr:
    operands = _expressions(cursor)
    if not operands:
        raise reader.unsupported("member access without an object", cursor)
    base = read_expression(reader, operands[0])
    arrow = isinstance(base.type, CPointer)
    record = base.type.pointee if isinstance(base.type, CPointer) else base.type
    declaration = cursor.referenced
    member = reader.types.field(declaration)
    # libclang leaves out the anonymous structs and unions on the way to the member.
    skipped = anonymous_offset(record, reader.types.read(declaration.semantic_parent.type))
    if skipped is None:
        raise reader.unsupported(f"the member '{cursor.spelling}' was not found in {record}", cursor)
    if skipped:
        member = replace(member, offset_bits=member.offset_bits + skipped)
    return tree.Member(reader.type(cursor), base, member, arrow, span=reader.span(cursor))


def anonymous_offset(record: CType, inner: CType) -> int | None:
    """Return the bits from the start of `record` to `inner`, reached through anonymous members; ``None``: not there."""
    if record == inner:
        return 0
    if isinstance(record, CRecord):
        for member in record.fields:
            if not member.name and isinstance(member.type, CRecord):
                offset = anonymous_offset(member.type, inner)
                if offset is not None:
                    return member.offset_bits + offset
    return None


def _index(reader: Reader, cursor: Cursor) -> tree.Expr:
    base, index = (read_expression(reader, child) for child in _expressions(cursor))
    if isinstance(base.type, CInt):
        base, index = index, base
    return tree.Index(reader.type(cursor), base, index, span=reader.span(cursor))


def _unary(reader: Reader, cursor: Cursor) -> tree.Expr:
    operator = cursor.unary_operator
    operand = read_expression(reader, _expressions(cursor)[0])
    span = reader.span(cursor)
    type_ = reader.type(cursor)
    if operator == "__extension__":
        return operand
    if operator in ("x++", "x--", "++x", "--x"):
        note_change(operand)
        return tree.Step(type_, operand, 1 if "+" in operator else -1, operator.endswith("x"), span=span)
    if operator not in ("&", "*", "+", "-", "~", "!"):
        raise reader.unsupported(f"the operator '{operator}' is not supported", cursor)
    if operator == "&":
        note_change(operand)
    return tree.Unary(type_, operator, operand, span=span)


def _binary(reader: Reader, cursor: Cursor) -> tree.Expr:
    left, right = (read_expression(reader, child) for child in _expressions(cursor))
    operator = cursor.spelling
    type_ = reader.type(cursor)
    span = reader.span(cursor)
    if operator == "=":
        note_change(left)
        return tree.Assign(type_, "", left, right, span=span)
    return tree.Binary(type_, operator, left, right, span=span)


def _compound_assignment(reader: Reader, cursor: Cursor) -> tree.Expr:
    target, value = (read_expression(reader, child) for child in _expressions(cursor))
    note_change(target)
    return tree.Assign(reader.type(cursor), cursor.spelling[:-1], target, value, span=reader.span(cursor))


def _conditional(reader: Reader, cursor: Cursor) -> tree.Expr:
    condition, then, other = (read_expression(reader, child) for child in _expressions(cursor))
    return tree.Conditional(reader.type(cursor), condition, then, other, span=reader.span(cursor))


def _cast(reader: Reader, cursor: Cursor) -> tree.Expr:
    operand = read_expression(reader, _expressions(cursor)[-1])
    type_ = reader.type(cursor)
    if isinstance(type_, CVoid) and isinstance(operand, tree.CallFunction):
        operand.unused = True
    return tree.Cast(type_, operand, span=reader.span(cursor))


def _call(reader: Reader, cursor: Cursor) -> tree.Expr:
    operands = _expressions(cursor)
    callee = strip(operands[0])
    span = reader.span(cursor)
    type_ = reader.type(cursor)
    if callee.kind == "MemberRefExpr":
        holder = [strip(child) for child in _expressions(callee)]
        if holder and holder[0].spelling in reader.tables:
            arguments = tuple(read_expression(reader, child) for child in operands[1:])
            return tree.CallMethod(type_, holder[0].spelling, callee.spelling, arguments, span=span)
    if callee.kind != "DeclRefExpr" or callee.referenced.kind != "FunctionDecl":
        raise reader.unsupported("calls through a function pointer are not supported", cursor)
    arguments = tuple(read_expression(reader, child) for child in operands[1:])
    name = callee.referenced.spelling
    sized = _SIZED_BUILTIN.match(name)
    if sized:
        return tree.CallFunction(type_, sized.group(1), arguments, span=span)
    definition = callee.referenced.get_definition()
    tree_ = reader.read_function(definition) if definition is not None else None
    return tree.CallFunction(type_, name, arguments, tree_, span=span)


def _init_list(reader: Reader, cursor: Cursor) -> tree.Expr:
    items = tuple(_init_item(reader, child) for child in cursor.get_children())
    return tree.InitList(reader.type(cursor), items, span=reader.span(cursor))


def _init_item(reader: Reader, cursor: Cursor) -> tree.Expr:
    if cursor.kind != "UnexposedExpr":
        return read_expression(reader, cursor)
    children = list(cursor.get_children())
    if len(children) < 2 or cursor.type.kind != "Void":
        return read_expression(reader, cursor)
    path: list[CField | tuple[int, int]] = []
    pending: list[int] = []
    text = reader.source.text
    span = reader.span(cursor)
    designators = text[span[0] : span[1]].split("=")[0] if span else ""
    for child in children[:-1]:
        if child.kind == "MemberRef":
            path.append(reader.types.field(child.referenced))
        elif child.is_expression:
            value = child.evaluate()
            if value is None:
                raise reader.unsupported("an array designator must be a constant", child)
            pending.append(value)
            path.append((value, value))
    if "..." in designators:
        if len(pending) != 2 or len(path) != 2:
            raise reader.unsupported("a range designator must stand alone", cursor)
        path = [(pending[0], pending[1])]
    value_ = read_expression(reader, children[-1])
    return tree.Designated(value_.type, tuple(path), value_, span=span)


def _compound_literal(reader: Reader, cursor: Cursor) -> tree.Expr:
    init = read_expression(reader, _expressions(cursor)[-1])
    return tree.CompoundLiteral(reader.type(cursor), init, span=reader.span(cursor))


def _statement_expression(reader: Reader, cursor: Cursor) -> tree.Expr:
    from trapline.frontends.bcc_c.read_statements import read_statement

    body = read_statement(reader, next(iter(cursor.get_children())))
    if not isinstance(body, tree.Block):
        raise reader.unsupported("this statement expression is not supported", cursor)
    return tree.StatementExpr(reader.type(cursor), body, span=reader.span(cursor))


_RULES: dict[str, Callable[[Reader, Cursor], tree.Expr]] = {
    "IntegerLiteral": _constant,
    "CharacterLiteral": _constant,
    "UnaryExpr": _constant,
    "StringLiteral": _string,
    "ParenExpr": _paren,
    "DeclRefExpr": _reference,
    "UnexposedExpr": _unexposed,
    "MemberRefExpr": _member,
    "ArraySubscriptExpr": _index,
    "UnaryOperator": _unary,
    "BinaryOperator": _binary,
    "CompoundAssignOperator": _compound_assignment,
    "ConditionalOperator": _conditional,
    "CStyleCastExpr": _cast,
    "CallExpr": _call,
    "InitListExpr": _init_list,
    "CompoundLiteralExpr": _compound_literal,
    "StmtExpr": _statement_expression,
}
