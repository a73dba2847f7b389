"""Rules for expressions: lvalues, arithmetic with C's conversions, assignment."""

from __future__ import annotations

from collections.abc import Callable

from trapline.clang.ctype import INT, CArray, CInt, CPointer, CRecord, CType, CVoid, common_type, promote
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_initialisers import initialise, static_place
from trapline.frontends.bcc_c.lowerer import INFER, Lowerer, Place, ir_type, is_scalar
from trapline.ir import function as f
from trapline.ir.types import I32, I64, I128, Int, Ptr

_ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
_BY_SIGN = {"/": ("udiv", "sdiv"), "%": ("urem", "srem")}
_COMPARE = {
    "==": ("eq", "eq"),
    "!=": ("ne", "ne"),
    "<": ("ult", "slt"),
    "<=": ("ule", "sle"),
    ">": ("ugt", "sgt"),
    ">=": ("uge", "sge"),
}

# ---------------------------------------------------------------- places


def place_variable(lo: Lowerer, expr: tree.VariableRef) -> Place:
    """Find a variable's memory."""
    variable = expr.variable
    if variable.static:
        return static_place(lo, variable)
    binding = lo.frame.bindings.get(variable)
    if binding is None:
        raise lo.unsupported(f"the variable '{variable.name}' is used before its declaration", expr)
    if variable in lo.frame.values:
        raise lo.unsupported(f"the address of '{variable.name}' cannot be taken here", expr)
    return Place(binding, variable.type)


def place_member(lo: Lowerer, expr: tree.Member) -> Place:
    """``a.b`` and ``a->b``."""
    if expr.arrow:
        record = expr.base.type.pointee if isinstance(expr.base.type, CPointer) else expr.base.type
        address = lo.value(expr.base)
    else:
        record = expr.base.type
        address = lo.place(expr.base).address
    return lo.member(address, expr.member, record, expr)


def place_index(lo: Lowerer, expr: tree.Index) -> Place:
    """``a[i]``."""
    base = lo.value(expr.base)
    return Place(_advance(lo, base, lo.value(expr.index), expr.index.type, expr.type), expr.type)


def place_dereference(lo: Lowerer, expr: tree.Unary) -> Place:
    """``*p``."""
    if expr.operator != "*":
        raise lo.unsupported("this expression has no address", expr)
    return Place(lo.value(expr.operand), expr.type)


def place_string(lo: Lowerer, expr: tree.StringLiteral) -> Place:
    """A string literal that is used as an object."""
    return Place(lo.b.map_value(*lo.unit.statics.string(expr.data)), expr.type)


def place_compound_literal(lo: Lowerer, expr: tree.CompoundLiteral) -> Place:
    """``(type){ … }`` is a new object."""
    address = lo.temporary(expr.type)
    initialise(lo, address, expr.type, expr.init)
    return Place(address, expr.type)


def _advance(lo: Lowerer, pointer: f.Op, number: f.Op, index: CType, element: CType, sign: int = 1) -> f.Op:
    """Return ``pointer + sign * number``, counted in elements; `index` is the type of `number`."""
    size = max(element.size, 1)  # GNU C: void and functions count as one byte
    assert isinstance(index, CInt)
    if isinstance(number, f.Const):
        return lo.b.offset(pointer, sign * index.wrap(number.value) * size)
    number = lo.b.resize(number, I64, signed=index.signed)
    if sign < 0:
        number = lo.b.binary("sub", lo.b.i64(0), number)
    return lo.b.element(pointer, number, size)


# ---------------------------------------------------------------- values


def value_literal(lo: Lowerer, expr: tree.IntLiteral) -> f.Op:
    """A constant."""
    if isinstance(expr.type, CPointer):
        return lo.b.const(INFER, expr.value)
    assert isinstance(expr.type, CInt)
    return lo.b.const(Int(expr.type.bits), expr.type.wrap(expr.value))


def value_of_place(lo: Lowerer, expr: tree.Expr) -> f.Op:
    """Read an lvalue."""
    return lo.load(lo.place(expr))


def value_variable(lo: Lowerer, expr: tree.VariableRef) -> f.Op:
    """A variable: its value where that is known, else its memory's contents."""
    variable = expr.variable
    if variable in lo.frame.values:
        return lo.frame.bindings[variable]
    if variable.constant and is_scalar(variable.type) and variable.init is not None:
        return lo.converted(variable.init, variable.type)  # a map cannot hold the address of a string
    return lo.load(place_variable(lo, expr))


def value_table(lo: Lowerer, expr: tree.TableRef) -> f.Op:
    """A map given to a helper."""
    return lo.b.map(expr.name)


def value_function(lo: Lowerer, expr: tree.FunctionRef) -> f.Op:
    """A function given to a helper."""
    raise lo.unsupported(f"the address of the function '{expr.name}' cannot be used", expr)


def value_unary(lo: Lowerer, expr: tree.Unary) -> f.Op:
    """``& * + - ~ !``."""
    operand = expr.operand
    if expr.operator == "&":
        if isinstance(operand, tree.TableRef):
            return lo.b.map(operand.name)
        place = lo.place(operand)
        if place.unit is not None:
            raise lo.unsupported("a bit-field has no address", expr)
        return place.address
    if expr.operator == "*":
        return value_of_place(lo, expr)
    if expr.operator == "!":
        return lo.b.resize(lo.b.invert(lo.condition(operand)), I32, signed=False)
    value = lo.converted(operand, expr.type)
    if expr.operator == "-":
        return lo.b.binary("sub", lo.b.const(value.type, 0), value)
    if expr.operator == "~":
        return lo.b.binary("xor", value, lo.b.const(value.type, -1))
    return value


def value_step(lo: Lowerer, expr: tree.Step) -> f.Op:
    """``++`` and ``--``."""
    place = lo.place(expr.target)
    old = lo.load(place)
    if isinstance(expr.type, CPointer):
        new = lo.b.offset(old, expr.delta * max(expr.type.pointee.size, 1))
    else:
        new = lo.b.binary("add", old, lo.b.const(old.type, expr.delta))
        if isinstance(expr.type, CInt) and expr.type.name == "_Bool":
            new = lo.b.const(old.type, 1) if expr.delta > 0 else lo.b.binary("xor", old, lo.b.const(old.type, 1))
    lo.store(new, place)
    return _narrowed(lo, new, place) if expr.prefix else old


def _narrowed(lo: Lowerer, value: f.Op, place: Place) -> f.Op:
    """Return what a bit-field holds after `value` was stored to it."""
    if place.unit is None or not isinstance(value.type, Int):
        return value
    rest = lo.b.const(value.type, value.type.bits - place.width)
    shift = "ashr" if isinstance(place.type, CInt) and place.type.signed else "lshr"
    return lo.b.binary(shift, lo.b.binary("shl", value, rest), rest)


def value_binary(lo: Lowerer, expr: tree.Binary) -> f.Op:
    """Arithmetic, comparison, logic and the comma."""
    if expr.operator == ",":
        lo.statement(expr.left)
        return lo.value(expr.right)
    if expr.operator in ("&&", "||"):
        return _logic(lo, expr)
    if expr.operator in _COMPARE:
        return lo.b.resize(compare(lo, expr), I32, signed=False)
    left, right = expr.left, expr.right
    if isinstance(left.type, CPointer) and isinstance(right.type, CPointer):
        return _difference(lo, left, right, left.type.pointee.size)
    if isinstance(left.type, CPointer):
        base, number, sign = lo.value(left), lo.value(right), -1 if expr.operator == "-" else 1
        return _advance(lo, base, number, right.type, left.type.pointee, sign)
    if isinstance(right.type, CPointer):
        number, base = lo.value(left), lo.value(right)
        return _advance(lo, base, number, left.type, right.type.pointee)
    assert isinstance(expr.type, CInt)
    first = lo.converted(left, expr.type)
    if expr.operator in ("<<", ">>"):
        assert isinstance(right.type, CInt)
        return _shift(lo, expr.operator, expr.type, first, lo.value(right), right)
    return arithmetic(lo, expr.operator, expr.type, first, lo.converted(right, expr.type), expr)


def _difference(lo: Lowerer, left: tree.Expr, right: tree.Expr, size: int) -> f.Op:
    first, second = lo.to_integer(lo.value(left)), lo.to_integer(lo.value(right))
    distance = lo.b.binary("sub", first, second)
    if size <= 1:
        return distance
    if size & (size - 1) == 0:  # exact by definition: BPF has no signed division before v4
        return lo.b.binary("ashr", distance, lo.b.i64(size.bit_length() - 1))
    return lo.b.binary("sdiv", distance, lo.b.i64(size))


def arithmetic(lo: Lowerer, operator: str, type_: CInt, left: f.Op, right: f.Op, node: tree.Node | None) -> f.Op:
    """Apply ``+ - * / % & | ^`` to two values of `type_`."""
    operation = _ARITHMETIC.get(operator) or _BY_SIGN[operator][type_.signed]
    if left.type == I128 and operator in "*/%":
        raise lo.unsupported(f"'{operator}' on 128-bit integers is not possible in BPF", node)
    return lo.b.binary(operation, left, right)


def _shift(lo: Lowerer, operator: str, type_: CInt, value: f.Op, count: f.Op, node: tree.Expr) -> f.Op:
    assert isinstance(value.type, Int)
    operation = "shl" if operator == "<<" else "ashr" if type_.signed else "lshr"
    if value.type == I128 and not isinstance(count, f.Const):
        raise lo.unsupported("128-bit integers can only be shifted by constants", node)
    if isinstance(count, f.Const):
        return lo.b.binary(operation, value, lo.b.const(value.type, count.value & (value.type.bits - 1)))
    return lo.b.binary(operation, value, lo.b.resize(count, value.type, signed=False))


def compare(lo: Lowerer, expr: tree.Binary) -> f.Op:
    """Return the i1 of a comparison."""
    left, right = expr.left, expr.right
    unsigned, signed = _COMPARE[expr.operator]
    if isinstance(left.type, CInt) and isinstance(right.type, CInt):
        type_ = common_type(left.type, right.type)
        return lo.b.compare(signed if type_.signed else unsigned, lo.converted(left, type_), lo.converted(right, type_))
    first, second = lo.value(left), lo.value(right)
    if not (isinstance(first.type, Ptr) and isinstance(second.type, Ptr)):
        first = lo.b.resize(lo.to_integer(first), I64, signed=isinstance(left.type, CInt) and left.type.signed)
        second = lo.b.resize(lo.to_integer(second), I64, signed=isinstance(right.type, CInt) and right.type.signed)
    return lo.b.compare(unsigned, first, second)


def branch(lo: Lowerer, expr: tree.Expr, then: f.Block, other: f.Block) -> None:
    """Go on at `then` if the expression is true, else at `other`, evaluating ``&& || !`` as control flow."""
    while isinstance(expr, tree.Cast) and isinstance(expr.type, CInt) and isinstance(expr.operand.type, CInt):
        if expr.type.name != "_Bool" and expr.type.size < expr.operand.type.size:
            break  # bits that could be set are cut off
        expr = expr.operand
    with lo.b.at(expr.span):
        if isinstance(expr, tree.IntLiteral):
            lo.b.jump(then if expr.value else other)
        elif isinstance(expr, tree.Unary) and expr.operator == "!":
            branch(lo, expr.operand, other, then)
        elif isinstance(expr, tree.Binary) and expr.operator in ("&&", "||"):
            middle = lo.b.new_block("and" if expr.operator == "&&" else "or")
            if expr.operator == "&&":
                branch(lo, expr.left, middle, other)
            else:
                branch(lo, expr.left, then, middle)
            lo.b.start(middle)
            branch(lo, expr.right, then, other)
        elif isinstance(expr, tree.Binary) and expr.operator in _COMPARE:
            lo.b.branch(compare(lo, expr), then, other)
        elif isinstance(expr, tree.CallFunction) and expr.name == "__builtin_expect":
            branch(lo, expr.arguments[0], then, other)
        else:
            lo.b.branch(lo.condition(expr), then, other)


def _logic(lo: Lowerer, expr: tree.Binary) -> f.Op:
    slot = lo.local(4)
    yes, no, after = lo.b.new_block("true"), lo.b.new_block("false"), lo.b.new_block("after")
    branch(lo, expr, yes, no)
    for block, value in ((yes, 1), (no, 0)):
        lo.b.start(block)
        lo.b.store(lo.b.i32(value), slot)
        lo.b.jump(after)
    lo.b.start(after)
    return lo.b.load(I32, slot)


def value_assign(lo: Lowerer, expr: tree.Assign) -> f.Op:
    """``=`` and the compound assignments."""
    if isinstance(expr.type, CRecord):
        source = lo.value(expr.value)
        place = lo.place(expr.target)
        lo.b.copy(place.address, source, expr.type.size)
        return place.address
    if not expr.operator:
        value = lo.converted(expr.value, expr.type)
        place = lo.place(expr.target)
        lo.store(value, place)
        return _narrowed(lo, value, place)
    amount = lo.value(expr.value)  # before the target is read, as clang does
    place = lo.place(expr.target)
    old = lo.load(place)
    if isinstance(expr.type, CPointer):
        sign = -1 if expr.operator == "-" else 1
        new = _advance(lo, old, amount, expr.value.type, expr.type.pointee, sign)
        lo.store(new, place)
        return new
    assert isinstance(expr.type, CInt)
    assert isinstance(expr.value.type, CInt)
    narrow = place.unit is not None and place.width < 32
    left = INT if narrow else promote(expr.type)
    if expr.operator in ("<<", ">>"):
        first = lo.convert(old, expr.type, left)
        result = _shift(lo, expr.operator, left, first, amount, expr.value)
        new = lo.convert(result, left, expr.type)
    else:
        common = common_type(left, expr.value.type)
        first = lo.convert(old, expr.type, common)
        second = lo.convert(amount, expr.value.type, common)
        new = lo.convert(arithmetic(lo, expr.operator, common, first, second, expr), common, expr.type)
    lo.store(new, place)
    return _narrowed(lo, new, place)


def value_conditional(lo: Lowerer, expr: tree.Conditional) -> f.Op:
    """``a ? b : c`` and ``a ?: c``."""
    slot = None if isinstance(expr.type, CVoid) else lo.temporary(expr.type)
    if isinstance(expr.type, (CRecord, CArray)):
        slot = lo.local(8)
    then, other, after = lo.b.new_block("then"), lo.b.new_block("else"), lo.b.new_block("after")
    if expr.then is None:
        first = lo.value(expr.condition)
        lo.b.branch(lo.b.truth(first), then, other)
        lo.b.start(then)
        if slot is not None:
            lo.b.store(lo.convert(first, expr.condition.type, expr.type), slot)
    else:
        branch(lo, expr.condition, then, other)
        lo.b.start(then)
        _arm(lo, expr.then, expr.type, slot)
    lo.b.jump(after)
    lo.b.start(other)
    _arm(lo, expr.other, expr.type, slot)
    lo.b.jump(after)
    lo.b.start(after)
    if slot is None:
        return lo.b.i32(0)
    return lo.b.load(ir_type(expr.type) if is_scalar(expr.type) else INFER, slot)


def _arm(lo: Lowerer, expr: tree.Expr, type_: CType, slot: f.Op | None) -> None:
    if slot is None:
        lo.statement(expr)
    else:
        lo.b.store(lo.converted(expr, type_) if is_scalar(type_) else lo.value(expr), slot)


def value_cast(lo: Lowerer, expr: tree.Cast) -> f.Op:
    """Conversions."""
    if isinstance(expr.type, CVoid):
        lo.statement(expr.operand)
        return lo.b.i32(0)
    if isinstance(expr.operand.type, CArray):
        return lo.place(expr.operand).address
    value = lo.value(expr.operand)
    if isinstance(expr.type, CInt) and expr.type.name == "_Bool":
        return lo.b.resize(lo.b.truth(value), Int(8), signed=False)
    return lo.convert(value, expr.operand.type, expr.type)


def value_statements(lo: Lowerer, expr: tree.StatementExpr) -> f.Op:
    """``({ … value; })``."""
    *most, last = expr.body.statements or (tree.Block(()),)
    for statement in most:
        lo.statement(statement)
    if not isinstance(last, tree.Expr) or isinstance(expr.type, CVoid):
        lo.statement(last)
        return lo.b.i32(0)
    return lo.value(last)


PLACES: dict[type[tree.Expr], Callable[..., Place]] = {
    tree.VariableRef: place_variable,
    tree.Member: place_member,
    tree.Index: place_index,
    tree.Unary: place_dereference,
    tree.StringLiteral: place_string,
    tree.CompoundLiteral: place_compound_literal,
}

VALUES: dict[type[tree.Expr], Callable[..., f.Op]] = {
    tree.IntLiteral: value_literal,
    tree.StringLiteral: value_of_place,
    tree.VariableRef: value_variable,
    tree.TableRef: value_table,
    tree.FunctionRef: value_function,
    tree.Member: value_of_place,
    tree.Index: value_of_place,
    tree.Unary: value_unary,
    tree.Step: value_step,
    tree.Binary: value_binary,
    tree.Assign: value_assign,
    tree.Conditional: value_conditional,
    tree.Cast: value_cast,
    tree.CompoundLiteral: value_of_place,
    tree.StatementExpr: value_statements,
}
