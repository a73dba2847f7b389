"""Lower expressions: scalars to values, everything else straight into the memory where it is wanted."""

from __future__ import annotations

from collections.abc import Callable

from trapline.errors import InternalError
from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.constants import ARG_N
from trapline.frontends.bpftrace.knowledge import Variable
from trapline.frontends.bpftrace.lower_base import is_signed
from trapline.frontends.bpftrace.lower_comparisons import ORDER, ComparisonLowerer, compared_signed
from trapline.frontends.bpftrace.sites import Argument, Place
from trapline.frontends.bpftrace.user_arguments import read_usdt_argument
from trapline.ir.function import Block, Op
from trapline.ir.types import BOOL, I8, I32, I64, Ptr, Space, integer

_ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "<<": "shl"}


class ExpressionLowerer(ComparisonLowerer):
    """Lowers expressions."""

    places: dict[Variable, Op]

    # -- provided by the subclasses

    def map_value(self, node: ast.MapName | ast.MapElement) -> Op:
        """Return the scalar value of a map's element; 0 when there is none."""
        raise NotImplementedError

    def map_into(self, node: ast.MapName | ast.MapElement, target: Op, type_: t.Type) -> None:
        """Write the value of a map's element to memory; zeros when there is none."""
        raise NotImplementedError

    def step(self, node: ast.Unary) -> Op:
        """Lower ``++`` and ``--``."""
        raise NotImplementedError

    def block_value(self, node: ast.BlockExpression) -> None:
        """Lower the statements of a block expression."""
        raise NotImplementedError

    # -- scalars

    def value(self, node: ast.Expr) -> Op:
        """Return the value of an expression of scalar type, as an integer of the type's width."""
        node = self.typer.rewritten.get(node, node)
        with self.b.at(node.span.range):
            constant = self.typer.constant(node)
            type_ = self.type(node)
            if constant is not None and isinstance(type_, t.BoolT):
                return self.b.const(I8, int(bool(constant)))
            if constant is not None and t.is_scalar(type_):
                return self.b.const(integer(type_.size), constant & ((1 << 8 * type_.size) - 1))
            return _VALUES[type(node)](self, node)

    def number(self, node: ast.Expr) -> Op:
        """Return the value of an expression as an i64."""
        value = self.value(node)
        return self.b.resize(value, I64, signed=is_signed(self.type(node)))

    def condition(self, node: ast.Expr) -> Op:
        """Return the truth of an expression as an i1."""
        node = self.typer.rewritten.get(node, node)
        known = self.typer.truth(node)
        if known is not None:
            return self.b.const(BOOL, int(known))
        if isinstance(node, ast.Binary) and node.op in ("==", "!=", *ORDER):
            with self.b.at(node.span.range):
                return self.compare(node)
        if isinstance(node, ast.Unary) and node.op == "!":
            return self.b.invert(self.condition(node.operand))
        return self.b.truth(self.value(node))

    def branch_on(self, node: ast.Expr, then: Block, other: Block) -> None:
        """Go on at one of two blocks; the right sides of ``&&`` and ``||`` are evaluated only when they matter."""
        if isinstance(node, ast.Binary) and node.op in ("&&", "||"):
            middle = self.b.new_block("and" if node.op == "&&" else "or")
            if node.op == "&&":
                self.branch_on(node.left, middle, other)
            else:
                self.branch_on(node.left, then, middle)
            self.b.start(middle)
            self.branch_on(node.right, then, other)
        elif isinstance(node, ast.Unary) and node.op == "!":
            self.branch_on(node.operand, other, then)
        elif (known := self.typer.truth(node)) is not None:
            self.b.jump(then if known else other)
        else:
            self.b.branch(self.condition(node), then, other)

    def _flag(self, node: ast.Expr) -> Op:
        """Return a boolean expression as an i8."""
        if isinstance(node, ast.Binary) and node.op in ("&&", "||"):
            result = self.b.local(1, "flag")
            yes, no, after = self.b.new_block("true"), self.b.new_block("false"), self.b.new_block("joined")
            self.branch_on(node, yes, no)
            for block, bit in ((yes, 1), (no, 0)):
                self.b.start(block)
                self.b.store(self.b.const(I8, bit), result)
                self.b.jump(after)
            self.b.start(after)
            return self.b.load(I8, result)
        return self.b.resize(self.condition(node), I8, signed=False)

    def _binary(self, node: ast.Binary) -> Op:
        if node.op in ("==", "!=", "&&", "||", *ORDER):
            return self._flag(node)
        left, right = self.type(node.left), self.type(node.right)
        a, c = self.number(node.left), self.number(node.right)
        if isinstance(left, t.PtrT) and isinstance(right, t.IntT | t.EnumT):
            c = self.b.binary("mul", c, self.b.i64(max(1, left.target.size)))
        elif isinstance(right, t.PtrT) and isinstance(left, t.IntT | t.EnumT):
            a = self.b.binary("mul", a, self.b.i64(max(1, right.target.size)))
        signed = is_signed(left) if node.op == ">>" else compared_signed(left, right)
        result = self.arithmetic(node.op, a, c, signed, node)
        if isinstance(self.type(node), t.BoolT):
            return self.b.resize(self.b.truth(result), I8, signed=False)
        return self.b.resize(result, integer(self.type(node).size), signed=True)

    def arithmetic(self, op: str, a: Op, c: Op, signed: bool, node: ast.Node) -> Op:
        """Return ``a op c`` of two i64; a division by 0 is counted and gives 1."""
        b = self.b
        if op in ("<<", ">>"):
            c = b.binary("and", c, b.i64(63))
        if op == ">>":
            return b.binary("ashr" if signed else "lshr", a, c)
        if op not in ("/", "%"):
            return b.binary(_ARITHMETIC[op], a, c)
        name = ("s" if signed else "u") + ("div" if op == "/" else "rem")
        result = b.local(8, "quotient")
        zero, divide, after = b.new_block("div_zero"), b.new_block("divide"), b.new_block("divided")
        b.branch(b.compare("eq", c, b.i64(0)), zero, divide)
        b.start(zero)
        self.fault("div_zero", "", node, b.i64(0))
        b.store(b.i64(1), result)
        b.jump(after)
        b.start(divide)
        b.store(b.binary(name, a, c), result)
        b.jump(after)
        b.start(after)
        return b.load(I64, result)

    def _unary(self, node: ast.Unary) -> Op:
        b = self.b
        if node.op in ("++", "--"):
            return self.step(node)
        if node.op == "!":
            return b.resize(b.invert(self.condition(node.operand)), I8, signed=False)
        if node.op == "&":
            return self._address_of(node.operand)
        if node.op == "*":
            return b.load(integer(self.type(node).size), self.address(node))
        own = self.type(node.operand)
        operand = self.number(node.operand)
        result = b.binary("sub", b.i64(0), operand) if node.op == "-" else b.binary("xor", operand, b.i64(-1))
        if isinstance(own, t.IntT | t.EnumT) and not own.signed:  # an unsigned value keeps its width
            return b.resize(b.resize(result, integer(own.size), signed=False), I64, signed=False)
        return b.resize(result, integer(self.type(node).size), signed=True)

    def _address_of(self, node: ast.Expr) -> Op:
        place = self.b.map(node.name) if isinstance(node, ast.MapName) else self.address(node)
        return self.b.to_integer(place)

    def _array_cast(self, node: ast.Cast, target: Op, type_: t.ArrayT) -> None:
        """Write a number, a bool or a string as the array of its bytes."""
        own = self.type(node.operand)
        if isinstance(own, t.StringT):
            self.b.copy(target, self.address(node.operand), type_.size)
        else:
            value = self.value(node.operand)
            self.b.store(self.b.resize(value, integer(type_.size), signed=is_signed(own)), target)

    def _cast(self, node: ast.Cast) -> Op:
        given = self.type(node.operand)
        if isinstance(given, t.ArrayT):
            return self.b.load(integer(given.size), self.address(node.operand))
        if isinstance(given, t.StringT):
            return self.b.const(I8, int(bool(self.typer.truth(node.operand))))
        value = self.value(node.operand)
        return self.convert(value, self.typer.read(given), self.type(node))

    def _either(self, node: ast.Ternary | ast.IfExpression, write: Callable[[ast.Expr], None]) -> None:
        b = self.b
        known = self.typer.truth(node.condition)
        if known is not None:
            write((node.then or node.condition) if known else node.otherwise)
            return
        then, other, after = b.new_block("then"), b.new_block("else"), b.new_block("chosen")
        self.branch_on(node.condition, then, other)
        for block, branch in ((then, node.then or node.condition), (other, node.otherwise)):
            b.start(block)
            write(branch)
            b.jump(after)
        b.start(after)

    def _choice(self, node: ast.Ternary | ast.IfExpression) -> Op:
        type_ = self.type(node)
        if isinstance(type_, t.VoidT):
            self._either(node, lambda branch: self.effect(branch))
            return self.b.i64(0)
        result = self.temporary(type_, "choice")

        def write(branch: ast.Expr) -> None:
            self.b.store(self.convert(self.value(branch), self.typer.read(self.type(branch)), type_), result)

        self._either(node, write)
        return self.b.load(integer(type_.size), result)

    def effect(self, node: ast.Expr) -> None:
        """Lower an expression whose value is not wanted."""
        node = self.typer.rewritten.get(node, node)
        type_ = self.type(node)
        if isinstance(node, ast.Call) and isinstance(type_, t.VoidT):
            with self.b.at(node.span.range):
                self.run_function(node, None)
        elif t.is_scalar(type_) or isinstance(type_, t.VoidT | t.AggregateT):
            self.value(node)
        else:
            self.into(node, self.temporary(type_), type_)

    def _block(self, node: ast.BlockExpression) -> Op:
        self.block_value(node)
        if node.value is not None and not isinstance(self.type(node), t.VoidT):
            return self.value(node.value)
        if node.value is not None:
            self.effect(node.value)
        return self.b.i64(0)

    def _identifier(self, node: ast.Identifier) -> Op:
        match = ARG_N.fullmatch(node.name)
        if match:
            return self.argument_word(int(match[1]))
        result = self.run_builtin(node, None)
        assert result is not None
        return result

    def argument_word(self, number: int) -> Op:
        """Return the raw argument `number` as an i64."""
        if self.site.provider == "usdt":
            return read_usdt_argument(self.b, self.knowledge.target.arch, self.site.operands, number)
        arch = self.knowledge.target.arch
        offset = arch.registers[arch.arguments[number]] if self.site.has_registers else 8 * number
        return self.b.load(I64, self.b.offset(self.b.context, offset))

    def _call(self, node: ast.Call) -> Op:
        if node.name not in self.knowledge.functions:
            return self._identifier(ast.Identifier(node.span, node.name))
        result = self.run_function(node, None)
        return self.b.i64(0) if result is None else result

    def _load(self, node: ast.Expr) -> Op:
        """Load a scalar field, array element or dereferenced value."""
        if isinstance(node, ast.FieldAccess):
            base = self.type(node.base)
            if isinstance(base, t.ArgsT):
                return self.argument(self.typer.used_arguments[node.name])
            record = _pointee(base)
            assert isinstance(record, t.RecordT | t.NamedTupleT)
            field = record.members.field(node.name)
            assert field is not None
            if field.bits:
                return self._bit_field(self.base_address(node.base), field)
        return self.b.load(integer(self.type(node).size), self.address(node))

    def _bit_field(self, base: Op, field: t.FieldInfo) -> Op:
        b = self.b
        unit = next(s for s in (1, 2, 4, 8, 16) if field.bit_offset + field.bits <= 8 * s)
        if unit == 16:
            raise InternalError("a bit-field that spans nine bytes")
        word = b.resize(b.load(integer(unit), b.offset(base, field.offset, field.name)), I64, signed=False)
        word = b.binary("shl", word, b.i64(64 - field.bit_offset - field.bits))
        signed = is_signed(field.type)
        word = b.binary("ashr" if signed else "lshr", word, b.i64(64 - field.bits))
        return b.resize(word, integer(field.type.size), signed=signed)

    def argument(self, argument: Argument) -> Op:
        """Return the value of a named argument of scalar type."""
        b = self.b
        width = integer(argument.type.size)
        if argument.name in self.checked_pointers:
            return b.load(I64, self.checked_pointers[argument.name])
        if argument.place is Place.CONTEXT:
            return b.load(width, b.offset(b.context, argument.offset, argument.name))
        if self.stash is not None:
            word = b.load(I64, b.offset(self.stash, 8 * self.stash_slots[argument.name], argument.name))
        else:
            word = self.argument_slot(argument)
        return b.resize(word, width, signed=False)

    def argument_slot(self, argument: Argument) -> Op:
        """Return the whole word that carries an argument, as an i64."""
        b = self.b
        if argument.place in (Place.STACK, Place.USER_STACK):
            arch = self.knowledge.target.arch
            space = Space.KERNEL if argument.place is Place.STACK else Space.USER
            stack = b.load(I64, b.offset(b.context, arch.registers[arch.sp]))
            return b.load(I64, b.offset(b.to_pointer(stack, space), argument.offset, argument.name))
        return b.load(I64, b.offset(b.context, argument.offset, argument.name))

    # -- places

    def base_address(self, node: ast.Expr) -> Op:
        """Return the address of the record behind ``node.`` or ``node->``."""
        type_ = self.type(node)
        if not isinstance(type_, t.PtrT):
            return self.address(node)
        place = self.b.to_pointer(self.value(node), type_.space)
        while isinstance(type_.target, t.PtrT):
            type_ = type_.target
            place = self.b.to_pointer(self.b.load(I64, place), type_.space)
        return place

    def address(self, node: ast.Expr) -> Op:
        """Return the address of an expression's value: its own place, or a copy where it has none."""
        b = self.b
        node = self.typer.rewritten.get(node, node)
        with b.at(node.span.range):
            if isinstance(node, ast.FieldAccess):
                base = self.type(node.base)
                if isinstance(base, t.ArgsT):
                    return self._argument_address(self.typer.used_arguments[node.name])
                record = _pointee(base)
                if isinstance(record, t.RecordT | t.NamedTupleT):
                    field = record.members.field(node.name)
                    assert field is not None
                    name = f"{record.name}.{field.name}" if isinstance(record, t.RecordT) else field.name
                    return b.offset(self.base_address(node.base), field.offset, name)
            if isinstance(node, ast.Index):
                return self._element_address(node)
            if isinstance(node, ast.TupleAccess):
                return self._tuple_element(node.base, node.index)
            if isinstance(node, ast.Unary) and node.op == "*":
                pointer = self.type(node.operand)
                space = pointer.space if isinstance(pointer, t.PtrT) else self.typer.default_space()
                return b.to_pointer(self.number(node.operand), space)
            if isinstance(node, ast.Variable):
                return self.places[self.typer.resolved[node]]
            type_ = self.type(node)
            copy = self.temporary(type_, "copy")
            self.into(node, copy, type_)
            return copy

    def _argument_address(self, argument: Argument) -> Op:
        b = self.b
        if argument.place in (Place.DATA_LOC, Place.REL_LOC):
            word = b.load(I32, b.offset(b.context, argument.offset, argument.name))
            offset = b.resize(b.binary("and", word, b.i32(0xFFFF)), I64, signed=False)
            if argument.place is Place.REL_LOC:
                offset = b.binary("add", offset, b.i64(argument.offset + 4))
            start = b.to_integer(b.context)
            return b.to_pointer(b.binary("add", start, offset), Space.KERNEL)
        # The record of a tracepoint is kernel memory: only whole scalars may be loaded from the context itself.
        return b.to_pointer(b.to_integer(b.offset(b.context, argument.offset)), Space.KERNEL)

    def _element_address(self, node: ast.Index) -> Op:
        b = self.b
        base = self.type(node.base)
        if isinstance(base, t.TupleT):
            at = self.typer.constant(node.index)
            assert at is not None
            return self._tuple_element(node.base, at)
        if isinstance(base, t.PtrT):
            start, scale, count = b.to_pointer(self.value(node.base), base.space), base.target.size, 0
        else:
            start = self.address(node.base)
            scale = base.element.size if isinstance(base, t.ArrayT) else 1
            count = base.count if isinstance(base, t.ArrayT) else base.size
        constant = self.typer.constant(node.index)
        if constant is not None:
            return b.offset(start, constant * scale)
        index = self.number(node.index)
        if count and isinstance(start.type, Ptr) and start.type.space.direct:
            inside = b.compare("ult", index, b.i64(count))  # outside of our own memory: the first element
            index = b.select(inside, index, b.i64(0))
        return b.element(start, index, scale)

    def _tuple_element(self, base: ast.Expr, index: int) -> Op:
        type_ = self.type(base)
        assert isinstance(type_, t.TupleT)
        return self.b.offset(self.address(base), type_.offsets[index])

    # -- memory

    def into(self, node: ast.Expr, target: Op, type_: t.Type) -> None:
        """Write the value of an expression to memory, as a value of `type_`."""
        node = self.typer.rewritten.get(node, node)
        own = self.type(node)
        with self.b.at(node.span.range):
            if t.is_scalar(own) or isinstance(own, t.AggregateT):
                self.b.store(self.convert(self.value(node), self.typer.read(own), type_), target)
            elif isinstance(node, ast.MapName | ast.MapElement):
                self.map_into(node, target, type_)
            elif isinstance(node, ast.Tuple) and isinstance(type_, t.TupleT):
                for element, offset, kind in zip(node.elements, type_.offsets, type_.elements, strict=True):
                    self.into(element, self.b.offset(target, offset), kind)
            elif isinstance(node, ast.Record) and isinstance(type_, t.NamedTupleT):
                for name, part in node.fields:
                    field = type_.field(name)
                    assert field is not None
                    self.into(part, self.b.offset(target, field.offset), field.type)
            elif isinstance(node, ast.Ternary | ast.IfExpression):
                self._either(node, lambda branch: self.into(branch, target, type_))
            elif isinstance(node, ast.BlockExpression):
                self.block_value(node)
                assert node.value is not None
                self.into(node.value, target, type_)
            elif isinstance(node, ast.Cast) and isinstance(own, t.ArrayT):
                self._array_cast(node, target, own)
            elif isinstance(node, ast.Cast):
                self.into(node.operand, target, type_)
            else:
                self._memory_into(node, target, own, type_)

    def _memory_into(self, node: ast.Expr, target: Op, own: t.Type, type_: t.Type) -> None:
        literal = self.typer.literal_string(node)
        if literal is not None and isinstance(type_, t.StringT):
            self._store_literal(target, literal, type_.size)
        elif isinstance(node, ast.Call) and node.name in self.knowledge.functions:
            self.run_function(node, target)
        elif isinstance(node, ast.Identifier | ast.Call):
            self.run_builtin(_as_identifier(node), target)
        else:
            self.copy(self.address(node), own, target, type_)

    def _store_literal(self, target: Op, text: bytes, size: int) -> None:
        """Write a literal string, and zeros up to the end of its place."""
        kept = text[: max(size - 1, 0)].split(b"\0")[0]
        whole = min(size, t.round_up(len(kept) + 1, 8))
        self.store_bytes(target, kept.ljust(whole, b"\0"))
        if size > whole:
            self.b.fill(self.b.offset(target, whole), size - whole)

    def copy(self, source: Op, own: t.Type, target: Op, type_: t.Type) -> None:
        """Copy a value in memory; a string of the kernel or a user is read up to its NUL."""
        b = self.b
        size = min(own.size, type_.size) if own.size else type_.size
        assert isinstance(source.type, Ptr)
        space = source.type.space
        if isinstance(own, t.StringT) and (not space.direct or space is Space.CTX):
            self.read_string(target, b.i32(size), source)
        elif isinstance(own, t.TupleT) and isinstance(type_, t.TupleT) and t.decay(own) != type_:
            pairs = zip(own.offsets, own.elements, type_.offsets, type_.elements, strict=True)
            for from_offset, from_type, to_offset, to_type in pairs:
                self.copy_part(b.offset(source, from_offset), from_type, b.offset(target, to_offset), to_type)
        elif isinstance(own, t.NamedTupleT) and isinstance(type_, t.NamedTupleT) and t.decay(own) != type_:
            for field in type_.fields():
                given = own.field(field.name)
                assert given is not None
                self.copy_part(b.offset(source, given.offset), given.type, b.offset(target, field.offset), field.type)
        else:
            b.copy(target, source, size)
            if isinstance(own, t.StringT) and type_.size > size:
                b.fill(b.offset(target, size), type_.size - size)

    def copy_part(self, source: Op, own: t.Type, target: Op, type_: t.Type) -> None:
        """Copy a value of any type, converting a scalar."""
        if t.is_scalar(own):
            self.b.store(self.convert(self.b.load(integer(own.size), source), own, type_), target)
        else:
            self.copy(source, own, target, type_)

    def read_string(self, target: Op, size: Op, source: Op) -> Op:
        """Read a NUL-terminated string of kernel or user memory; returns its length with the NUL, or an errno."""
        assert isinstance(source.type, Ptr)
        helper = {Space.USER: "probe_read_user_str", Space.UNKNOWN: "probe_read_str"}.get(
            source.type.space, "probe_read_kernel_str"
        )
        return self.b.helper(helper, target, size, source)


def _pointee(type_: t.Type) -> t.Type:
    while isinstance(type_, t.PtrT):
        type_ = type_.target
    return type_


def _as_identifier(node: ast.Identifier | ast.Call) -> ast.Identifier:
    return node if isinstance(node, ast.Identifier) else ast.Identifier(node.span, node.name)


_VALUES: dict[type[ast.Node], Callable[..., Op]] = {
    ast.Identifier: ExpressionLowerer._identifier,
    ast.Variable: lambda self, node: self.b.load(integer(self.type(node).size), self.address(node)),
    ast.MapName: lambda self, node: self.map_value(node),
    ast.MapElement: lambda self, node: self.map_value(node),
    ast.FieldAccess: ExpressionLowerer._load,
    ast.TupleAccess: ExpressionLowerer._load,
    ast.Index: ExpressionLowerer._load,
    ast.Unary: ExpressionLowerer._unary,
    ast.Binary: ExpressionLowerer._binary,
    ast.Ternary: ExpressionLowerer._choice,
    ast.IfExpression: ExpressionLowerer._choice,
    ast.BlockExpression: ExpressionLowerer._block,
    ast.Cast: ExpressionLowerer._cast,
    ast.Call: ExpressionLowerer._call,
    ast.Offsetof: lambda self, node: self.b.i64(self.typer.offset_of(node) or 0),
}
