"""Initialisers: braces with designators and brace elision (C11 6.7.9), and constant contents of static objects.

An object with a braced initialiser is zeroed as a whole first, padding included: it may become the key of a map.
"""

from __future__ import annotations

from trapline.clang.ctype import CArray, CField, CInt, CRecord, CType
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lowerer import Lowerer, Place, is_scalar
from trapline.ir import function as f


def initialise(lo: Lowerer, address: f.Op, type_: CType, init: tree.Expr) -> None:
    """Write the initial contents of the object of `type_` at `address`."""
    if isinstance(init, tree.InitList):
        if is_scalar(type_):
            inner = init.items[0] if init.items else None
            if inner is not None:
                initialise(lo, address, type_, inner)
            return
        if type_.size:
            lo.b.fill(address, type_.size)
        for place, value in flatten(lo, type_, init):
            _write(lo, _at(lo, address, place), value)
        return
    _write(lo, Place(address, type_), init)


def _at(lo: Lowerer, address: f.Op, place: tuple[int, CType, CField | None]) -> Place:
    offset, type_, member = place
    if member is not None and member.width:
        return lo.member(lo.b.offset(address, offset), member, type_, None)
    return Place(lo.b.offset(address, offset), type_)


def _write(lo: Lowerer, place: Place, value: tree.Expr) -> None:
    with lo.b.at(value.span):
        if isinstance(value, tree.StringLiteral) and isinstance(place.type, CArray):
            size = place.type.size or len(value.data)
            lo.store_bytes(place.address, value.data[:size].ljust(size, b"\0"))
        elif isinstance(value, tree.InitList):
            initialise(lo, place.address, place.type, value)
        elif is_scalar(place.type):
            lo.store(lo.converted(value, place.type), place)
        else:
            lo.b.copy(place.address, lo.value(value), place.type.size)


Target = tuple[int, CType, "CField | None"]


def flatten(lo: Lowerer, type_: CType, init: tree.InitList) -> list[tuple[Target, tree.Expr]]:
    """Return (offset, type, bit-field) and value of all that a braced list initialises, in order."""
    result: list[tuple[Target, tree.Expr]] = []
    items = _Items(list(init.items))
    _consume(lo, type_, 0, items, result, braced=True)
    return result


class _Items:
    def __init__(self, items: list[tree.Expr]) -> None:
        self.items = items
        self.position = 0

    def peek(self) -> tree.Expr | None:
        return self.items[self.position] if self.position < len(self.items) else None


def _consume(
    lo: Lowerer,
    type_: CType,
    offset: int,
    items: _Items,
    result: list[tuple[Target, tree.Expr]],
    *,
    braced: bool,
    designated: bool = False,
) -> None:
    """Initialise the parts of an aggregate in order, as long as items last."""
    index = 0
    while (item := items.peek()) is not None:
        if isinstance(item, tree.Designated):
            if not braced and not designated:
                return  # it names a part of an enclosing object
            designated = False
            _designate(lo, type_, offset, items, result, item)
            index = _part_index(lo, type_, item.path[0], item) + 1
            if isinstance(type_, CRecord) and type_.union:
                index = len(type_.fields)
            continue
        part = _part(type_, index)
        if part is None:
            if braced:
                return  # excess items; clang has warned
            return
        index = len(type_.fields) if isinstance(type_, CRecord) and type_.union else index + 1
        if part[1] is None:
            continue
        _initialise_part(lo, offset + part[0], part[1], part[2], items, result)


def _designate(
    lo: Lowerer,
    type_: CType,
    offset: int,
    items: _Items,
    result: list[tuple[Target, tree.Expr]],
    item: tree.Designated,
) -> None:
    first, rest = item.path[0], item.path[1:]
    indices = range(first[0], first[1] + 1) if isinstance(first, tuple) else [_part_index(lo, type_, first, item)]
    position = items.position
    for index in indices:
        part = _part(type_, index)
        if part is None or part[1] is None:
            raise lo.unsupported("this designator names no part of the object", item)
        items.position = position
        items.items[position] = tree.Designated(item.type, rest, item.value, span=item.span) if rest else item.value
        if rest:
            _consume(lo, part[1], offset + part[0], items, result, braced=False, designated=True)
        else:
            _initialise_part(lo, offset + part[0], part[1], part[2], items, result)


def _initialise_part(
    lo: Lowerer,
    offset: int,
    type_: CType,
    member: CField | None,
    items: _Items,
    result: list[tuple[Target, tree.Expr]],
) -> None:
    item = items.peek()
    assert item is not None
    string = isinstance(item, tree.StringLiteral) and isinstance(type_, CArray)
    whole = isinstance(item, tree.InitList) or is_scalar(type_) or string or item.type == type_
    if whole:
        items.position += 1
        if isinstance(item, tree.InitList) and isinstance(type_, (CRecord, CArray)):
            for (inner, inner_type, inner_member), value in flatten(lo, type_, item):
                result.append(((offset + inner, inner_type, inner_member), value))
        elif isinstance(item, tree.InitList):
            if item.items:
                result.append(((offset, type_, member), item.items[0]))
        else:
            result.append(((offset, type_, member), item))
        return
    before = items.position
    _consume(lo, type_, offset, items, result, braced=False)
    if items.position == before:
        items.position += 1


def _part(type_: CType, index: int) -> tuple[int, CType | None, CField | None] | None:
    """Return (offset, type, bit-field) of part `index`; the offset of a bit-field is its record's."""
    if isinstance(type_, CArray):
        if type_.count and index >= type_.count:
            return None
        return index * type_.element.size, type_.element, None
    if isinstance(type_, CRecord):
        if index >= len(type_.fields):
            return None
        member = type_.fields[index]
        if member.width:
            return 0, member.type if member.name else None, member
        return member.offset_bits // 8, member.type, None
    return None


def _part_index(lo: Lowerer, type_: CType, step: CField | tuple[int, int], node: tree.Node) -> int:
    if isinstance(step, tuple):
        return step[1]
    if isinstance(type_, CRecord):
        for index, member in enumerate(type_.fields):
            if member.name == step.name and member.offset_bits == step.offset_bits and member.type == step.type:
                return index
    raise lo.unsupported("this designator names no part of the object", node)


# ---------------------------------------------------------------- static objects


def static_place(lo: Lowerer, variable: tree.Variable) -> Place:
    """Return where a static variable is, placing it on its first use."""
    place = lo.unit.statics.find(variable)
    if place is None:
        data = bytearray(variable.type.size)
        if variable.init is not None:
            _constant_bytes(lo, variable.type, variable.init, data, 0)
        place = lo.unit.statics.add(variable, bytes(data))
    return Place(lo.b.map_value(*place), variable.type)


def _constant_bytes(lo: Lowerer, type_: CType, init: tree.Expr, data: bytearray, offset: int) -> None:
    if isinstance(init, tree.InitList) and isinstance(type_, (CRecord, CArray)):
        for (inner, inner_type, member), value in flatten(lo, type_, init):
            if member is not None and member.width:
                _constant_bits(lo, member, value, data, offset + inner)
            else:
                _constant_bytes(lo, inner_type, value, data, offset + inner)
    elif isinstance(init, tree.StringLiteral) and isinstance(type_, CArray):
        size = type_.size or len(init.data)
        data[offset : offset + size] = init.data[:size].ljust(size, b"\0")
    else:
        if isinstance(init, tree.InitList) and init.items:
            init = init.items[0]
        number = constant_value(lo, init)
        size = type_.size
        data[offset : offset + size] = (number & ((1 << (size * 8)) - 1)).to_bytes(size, "little")


def _constant_bits(lo: Lowerer, member: CField, value: tree.Expr, data: bytearray, offset: int) -> None:
    number = constant_value(lo, value) & ((1 << member.width) - 1)
    first, last = member.offset_bits // 8, (member.offset_bits + member.width - 1) // 8
    window = slice(offset + first, offset + last + 1)
    word = int.from_bytes(data[window], "little") | number << (member.offset_bits - first * 8)
    data[window] = word.to_bytes(last - first + 1, "little")


def constant_value(lo: Lowerer, expr: tree.Expr) -> int:
    """Return the value of a constant expression in a static initialiser.

    Raises:
        UnsupportedError: it is not an integer constant.
    """
    if isinstance(expr, tree.IntLiteral):
        return expr.value
    if isinstance(expr, tree.Cast):
        value = constant_value(lo, expr.operand)
        return expr.type.wrap(value) if isinstance(expr.type, CInt) else value
    if isinstance(expr, tree.Unary) and expr.operator in "+-~!" and isinstance(expr.type, CInt):
        value = constant_value(lo, expr.operand)
        return expr.type.wrap({"+": value, "-": -value, "~": ~value, "!": int(not value)}[expr.operator])
    if isinstance(expr, tree.Binary) and isinstance(expr.type, CInt):
        left, right = constant_value(lo, expr.left), constant_value(lo, expr.right)
        results = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "|": lambda: left | right,
            "&": lambda: left & right,
            "^": lambda: left ^ right,
            "<<": lambda: left << (right & 63),
            ">>": lambda: left >> (right & 63),
            "/": lambda: abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1),
        }
        if expr.operator in results and not (expr.operator == "/" and right == 0):
            return expr.type.wrap(results[expr.operator]())
    raise lo.unsupported("a static variable needs a constant integer initialiser", expr)
