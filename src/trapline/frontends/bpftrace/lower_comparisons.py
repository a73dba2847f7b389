"""Lower comparisons: of numbers, and of strings, arrays, tuples and records, element by element."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.lower_base import LowererBase, is_signed
from trapline.ir.function import Block, Op
from trapline.ir.types import BOOL, I8, I64, integer

ORDER = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class ComparisonLowerer(LowererBase):
    """Lowers comparisons."""

    def compare(self, node: ast.Binary) -> Op:
        """Return the truth of a comparison as an i1."""
        left, right = self.type(node.left), self.type(node.right)
        if isinstance(left, t.StringT):
            equal = self.strings_equal(node.left, node.right)
            return equal if node.op == "==" else self.b.invert(equal)
        if not t.is_scalar(left) and not isinstance(left, t.AggregateT):
            equal = self._values_equal(node)
            return equal if node.op == "==" else self.b.invert(equal)
        a, c = self.number(node.left), self.number(node.right)
        if node.op in ("==", "!="):
            return self.b.compare("eq" if node.op == "==" else "ne", a, c)
        sign = "s" if compared_signed(left, right) else "u"
        return self.b.compare(sign + ORDER[node.op], a, c)

    # -- aggregates of values

    def _values_equal(self, node: ast.Binary) -> Op:
        b = self.b
        left, right = self.type(node.left), self.type(node.right)
        one, two = self._own_copy(node.left), self._own_copy(node.right)
        result = b.variable(b.const(I8, 0), "same")
        after = b.new_block("compared")
        self._leave_if_different(one, left, two, right, after)
        b.store(b.const(I8, 1), result)
        b.jump(after)
        b.start(after)
        return b.truth(b.load(I8, result))

    def _own_copy(self, node: ast.Expr) -> Op:
        """Return the address of a value in our own memory."""
        if isinstance(node, ast.Variable):
            return self.address(node)
        copy = self.temporary(self.type(node), "compared")
        self.into(node, copy, self.type(node))
        return copy

    def _leave_if_different(self, one: Op, left: t.Type, two: Op, right: t.Type, leave: Block) -> None:
        b = self.b
        if isinstance(left, t.TupleT) and isinstance(right, t.TupleT):
            for a, x, c, y in zip(left.offsets, left.elements, right.offsets, right.elements, strict=True):
                self._leave_if_different(b.offset(one, a), x, b.offset(two, c), y, leave)
            return
        if isinstance(left, t.NamedTupleT) and isinstance(right, t.NamedTupleT):
            for field in left.fields():
                other = right.field(field.name)
                assert other is not None
                place = b.offset(two, other.offset)
                self._leave_if_different(b.offset(one, field.offset), field.type, place, other.type, leave)
            return
        if isinstance(left, t.ArrayT) and isinstance(right, t.ArrayT):
            same = self._bytes_equal(one, two, left.size)
        elif isinstance(left, t.StringT):
            same = self._compare_dynamic(one, two, min(left.size, right.size))
        elif t.is_scalar(left):
            same = b.compare("eq", self._word(one, left), self._word(two, right))
        elif isinstance(left, t.StackT | t.BufferT):
            same = self._compare_dynamic(one, two, min(left.size, right.size), text=False)
        else:
            same = self._bytes_equal(one, two, min(left.size, right.size))
        more = b.new_block("more")
        b.branch(same, more, leave)
        b.start(more)

    def _word(self, place: Op, type_: t.Type) -> Op:
        return self.b.resize(self.b.load(integer(type_.size), place), I64, signed=is_signed(type_))

    def _bytes_equal(self, one: Op, two: Op, size: int) -> Op:
        b = self.b
        difference = b.i64(0)
        at = 0
        while at < size:
            step = next(s for s in (8, 4, 2, 1) if at + s <= size)
            a, c = (b.resize(b.load(integer(step), b.offset(p, at)), I64, signed=False) for p in (one, two))
            difference = b.binary("or", difference, b.binary("xor", a, c))
            at += step
        return b.compare("eq", difference, b.i64(0))

    # -- strings

    def readable(self, node: ast.Expr) -> Op:
        """Return the address of a string in our own memory, aligned to 8."""
        type_ = self.type(node)
        if isinstance(node, ast.Variable):
            return self.address(node)
        copy = self.temporary(type_, "string")
        self.into(node, copy, type_)
        return copy

    def strings_equal(self, left: ast.Expr, right: ast.Expr, limit: int = 1 << 20) -> Op:
        """Return the i1 of the equality of two strings, in their first `limit` bytes."""
        literal = self.typer.literal_string(right)
        if literal is None:
            literal = self.typer.literal_string(left)
            left, right = right, left
        left_size = self.type(left).size
        if literal is None:
            count = min(left_size, self.type(right).size, limit)
            return self._compare_dynamic(self.readable(left), self.readable(right), count)
        wanted = (literal + b"\0")[:limit]
        if len(wanted) > left_size:
            if len(wanted) - 1 > left_size or wanted[-1]:
                return self.b.const(BOOL, 0)
            wanted = wanted[:-1]  # it fills the field to its end
        return self._compare_constant(self.readable(left), wanted)

    def _compare_constant(self, pointer: Op, data: bytes) -> Op:
        b = self.b
        difference = b.i64(0)
        at = 0
        while at < len(data):
            size = next(s for s in (8, 4, 2, 1) if at + s <= len(data))
            word = b.resize(b.load(integer(size), b.offset(pointer, at)), I64, signed=False)
            wanted = int.from_bytes(data[at : at + size], "little")
            difference = b.binary("or", difference, b.binary("xor", word, b.i64(wanted)))
            at += size
        return b.compare("eq", difference, b.i64(0))

    def _compare_dynamic(self, left: Op, right: Op, count: int, *, text: bool = True) -> Op:
        """Compare byte by byte: all of them, or up to the NUL of a text."""
        b = self.b
        result = b.variable(b.const(I8, 1), "equal")
        counter = b.variable(b.i64(0), "at")
        head, body, same, more, differ, after = (
            b.new_block(n) for n in ("compare", "bytes", "same", "more", "differ", "compared")
        )
        b.jump(head)
        b.start(head)
        index = b.load(I64, counter)
        b.branch(b.compare("ult", index, b.i64(count)), body, after)
        b.start(body)
        one, two = b.load(I8, b.element(left, index, 1)), b.load(I8, b.element(right, index, 1))
        b.branch(b.compare("eq", one, two), same, differ)
        b.start(same)
        if text:
            b.branch(b.compare("eq", one, b.const(I8, 0)), after, more)
        else:
            b.jump(more)
        b.start(more)
        b.store(b.binary("add", index, b.i64(1)), counter)
        b.jump(head)
        b.start(differ)
        b.store(b.const(I8, 0), result)
        b.jump(after)
        b.start(after)
        return b.truth(b.load(I8, result))


def compared_signed(left: t.Type, right: t.Type) -> bool:
    """Tell whether two numbers are compared, or divided, with signs."""

    def unsigned(type_: t.Type) -> bool | None:
        if isinstance(type_, t.IntT | t.EnumT):
            return None if isinstance(type_, t.IntT) and type_.flexible else not type_.signed
        return None if isinstance(type_, t.BoolT) else not isinstance(type_, t.AggregateT)

    sides = (unsigned(left), unsigned(right))
    if False in sides:
        # A narrower unsigned value is not negative in 64 bits: signed order is right for the mixture.
        return True
    return True not in sides
