"""`Lowerer`: the state of lowering one program, and the vocabulary that the rules share.

Static functions are inlined while lowering, so that each call is lowered with what is known of its arguments; `Frame`
is one function being inlined.
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.clang.ctype import CArray, CField, CInt, CPointer, CRecord, CType
from trapline.errors import InternalError, UnsupportedError
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_packets import PacketBits, load_packet, packet_bits, store_packet
from trapline.frontends.bcc_c.reading import unsupported
from trapline.frontends.bcc_c.result import TableInfo
from trapline.frontends.bcc_c.statics import Statics
from trapline.hints import Any
from trapline.ir import function as f
from trapline.ir.builder import Builder
from trapline.ir.target import Target
from trapline.ir.types import I8, I32, I64, Int, Ptr, Space, Type
from trapline.records import field, record
from trapline.source import Diagnostics, Source

INFER = Ptr(Space.INFER)


@record
class Unit:
    """What all programs of a text share.

    `events` collects the type that each table sends, `find_function` reads a function that nothing called yet; `unroll`
    is set for loops that the verifier cannot follow.
    """

    source: Source
    target: Target
    tables: dict[str, TableInfo]
    statics: Statics
    find_function: Callable[[str], tree.FunctionTree | None]
    events: dict[str, CType] = field(default_factory=dict)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    unroll: bool = False


@record(frozen=True)
class Place:
    """Where an lvalue is: the object's address, and for a bit-field which bits of the unit there.

    `packet` says that the address counts from the start of a packet, and which bits are meant.
    """

    address: f.Op
    type: CType
    unit: Int | None = None
    shift: int = 0
    width: int = 0
    packet: PacketBits | None = None


@record
class Frame:
    """A function while its body is lowered.

    `bindings` gives each variable its address, or its value for those in `values`.
    """

    function: tree.FunctionTree
    end: f.Block
    result: f.Op | None
    bindings: dict[tree.Variable, f.Op] = field(default_factory=dict)
    values: set[tree.Variable] = field(default_factory=set)
    labels: dict[str, f.Block] = field(default_factory=dict)
    breaks: list[f.Block] = field(default_factory=list)
    continues: list[f.Block] = field(default_factory=list)
    switches: list[list[tuple[int | None, int, f.Block]]] = field(default_factory=list)


@record(frozen=True)
class Rules:
    """The rules by kind of node; `trapline.frontends.bcc_c.lower` puts them together."""

    values: dict[type[tree.Expr], Callable[[Lowerer, Any], f.Op]]
    places: dict[type[tree.Expr], Callable[[Lowerer, Any], Place]]
    statements: dict[type[tree.Node], Callable[[Lowerer, Any], None]]


class Lowerer:
    """Lowers one program.

    Args:
        unit: what the text's programs share.
        program: the program's function.
        rules: how each kind of node is lowered.
    """

    def __init__(self, unit: Unit, program: tree.FunctionTree, rules: Rules) -> None:
        self.unit = unit
        self.program = program
        self.rules = rules
        self.b = Builder(program.name)
        self.frames: list[Frame] = []
        self._locals: list[f.Op] = []
        self._read_in_part: list[f.Op] = []  # registers, which LLVM would read as a whole even if nothing uses them so

    @property
    def frame(self) -> Frame:
        """The function being lowered."""
        return self.frames[-1]

    # -- dispatch

    def value(self, expr: tree.Expr) -> f.Op:
        """Lower an expression to its value; for a record or an array it is the object's address."""
        rule = self.rules.values.get(type(expr))
        if rule is None:
            raise InternalError(f"no rule for the value of {type(expr).__name__}")
        with self.b.at(expr.span):
            return rule(self, expr)

    def place(self, expr: tree.Expr) -> Place:
        """Lower an lvalue (or an expression that yields a record) to where it is."""
        rule = self.rules.places.get(type(expr))
        with self.b.at(expr.span):
            if rule is not None:
                return rule(self, expr)
            if isinstance(expr.type, (CRecord, CArray)):
                return Place(self.value(expr), expr.type)
        raise self.unsupported("this expression has no address", expr)

    def statement(self, node: tree.Node) -> None:
        """Lower a statement, or an expression for its effects."""
        if isinstance(node, tree.Expr):
            self.value(node)
            return
        rule = self.rules.statements.get(type(node))
        if rule is None:
            raise InternalError(f"no rule for {type(node).__name__}")
        with self.b.at(node.span):
            rule(self, node)

    def unsupported(self, message: str, node: tree.Node | None, *hints: str) -> UnsupportedError:
        """Return (to be raised) the error for a construct that has no lowering."""
        span = node.span if node is not None and node.span is not None else self.b.span
        return unsupported(self.unit.source, message, span, hints)

    # -- memory

    def local(self, size: int, name: str = "", align: int = 8) -> f.Op:
        """Return the address of a new variable; it stands at the function's start, so any jump may reach its uses."""
        op = f.Local(Ptr(Space.STACK), max(size, 1), align, name, span=self.b.span)
        self._locals.append(op)
        return op

    def variable(self, value: f.Op, name: str = "") -> f.Op:
        """Return the address of a new variable that holds `value`."""
        address = self.local(value.type.size, name)
        self.b.store(value, address)
        return address

    def temporary(self, type_: CType, name: str = "") -> f.Op:
        """Return the address of a new variable of a C type."""
        align = type_.align if isinstance(type_, CRecord) else 8
        return self.local(type_.size, name, max(align, 8))

    def finish(self) -> f.Function:
        """End the function."""
        function = self.b.finish()
        function.blocks[0].ops[:0] = self._locals
        used = {operand for op in function.ops() for operand in op.operands()}
        whole = {value for value in self._read_in_part if value not in used}
        for block in function.blocks if whole else ():
            block.ops[:] = [op for op in block.ops if op not in whole]
        return function

    def load(self, place: Place) -> f.Op:
        """Read the value of an lvalue; a record or array is its address."""
        if isinstance(place.type, (CRecord, CArray)):
            return place.address
        type_ = ir_type(place.type)
        if place.packet is not None:
            assert isinstance(type_, Int)
            return self.b.resize(load_packet(self, place.address, place.packet), type_, signed=False)
        if place.unit is None:
            return self.b.load(type_, place.address)
        assert isinstance(place.type, CInt)
        assert isinstance(type_, Int)
        unit = place.unit
        word = self.b.load(unit, place.address)
        word = self.b.binary("shl", word, self.b.const(unit, unit.bits - place.shift - place.width))
        shift = "ashr" if place.type.signed else "lshr"
        word = self.b.binary(shift, word, self.b.const(unit, unit.bits - place.width))
        return self.b.resize(word, type_, signed=place.type.signed)

    def store(self, value: f.Op, place: Place) -> None:
        """Write a scalar value to an lvalue."""
        if place.packet is not None:
            store_packet(self, place.address, place.packet, value)
            return
        if place.unit is None:
            self.b.store(value, place.address)
            return
        unit = place.unit
        mask = ((1 << place.width) - 1) << place.shift
        old = self.b.load(unit, place.address)
        kept = self.b.binary("and", old, self.b.const(unit, ~mask & ((1 << unit.bits) - 1)))
        new = self.b.resize(value, unit, signed=False)
        new = self.b.binary("shl", new, self.b.const(unit, place.shift))
        new = self.b.binary("and", new, self.b.const(unit, mask))
        self.b.store(self.b.binary("or", kept, new), place.address)

    def member(self, address: f.Op, member: CField, record: CType, node: tree.Node | None) -> Place:
        """Return the place of a member of the record at `address`."""
        note = f"{getattr(record, 'name', '')}.{member.name}" if member.name else ""
        packet = packet_bits(record, member)
        if packet is not None:
            return Place(self.b.offset(address, member.offset_bits // 8, note), member.type, packet=packet)
        if not member.width:
            return Place(self.b.offset(address, member.offset_bits // 8, note), member.type)
        for size in (1, 2, 4, 8):
            start = member.offset_bits // (size * 8) * (size * 8)
            if member.offset_bits + member.width <= start + size * 8:
                unit = self.b.offset(address, start // 8, note)
                return Place(unit, member.type, Int(size * 8), member.offset_bits - start, member.width)
        raise self.unsupported(f"the bit-field '{member.name}' crosses 8 bytes", node)

    def store_bytes(self, address: f.Op, data: bytes) -> None:
        """Write constant bytes."""
        position = 0
        while position < len(data):
            size = next(s for s in (8, 4, 2, 1) if position + s <= len(data))
            chunk = int.from_bytes(data[position : position + size], "little")
            self.b.store(self.b.const(Int(size * 8), chunk), self.b.offset(address, position))
            position += size

    # -- conversions

    def convert(self, value: f.Op, source: CType, target: CType) -> f.Op:
        """Convert a scalar between C types (C11 6.3)."""
        if isinstance(target, CInt):
            if target.name == "_Bool":
                return self.b.resize(self.b.truth(value), I8, signed=False)
            type_ = Int(target.bits)
            if isinstance(value, f.Const) and isinstance(source, CInt):
                return self.b.const(type_, target.wrap(source.wrap(value.value)))
            if isinstance(value.type, Ptr):
                return self.b.resize(self.to_integer(value), type_, signed=False)
            if type_.bits < 64 and self._is_register(value):
                return self._read_part(value, type_)
            return self.b.resize(value, type_, signed=isinstance(source, CInt) and source.signed)
        if isinstance(target, CPointer):
            if isinstance(value.type, Ptr):
                return value
            if isinstance(value, f.Const):
                number = source.wrap(value.value) if isinstance(source, CInt) else value.value
                return self.b.const(INFER, number & ((1 << 64) - 1))
            if isinstance(value, f.Convert) and value.operation == "ptrtoint":
                return value.value  # an address that was a number for a moment keeps what is known of it
            return self.b.to_pointer(
                self.b.resize(value, I64, signed=isinstance(source, CInt) and source.signed), Space.INFER
            )
        return value

    def _is_register(self, value: f.Op) -> bool:
        """Whether a value was read from the registers that are a program's context."""
        if not isinstance(value, f.Load) or value.type != I64:
            return False
        space = value.pointer.type.space if isinstance(value.pointer.type, Ptr) else None
        context = self.program.parameters[0].type if self.program.parameters else None
        pointee = context.pointee if isinstance(context, CPointer) else None
        return space is Space.CTX and isinstance(pointee, CRecord) and pointee.name == "pt_regs"

    def _read_part(self, value: f.Op, type_: Int) -> f.Op:
        """Read only the low bits of a register.

        What a 32-bit comparison says of a number the verifier does not say of a copy, if the upper bits are not known.
        """
        assert isinstance(value, f.Load)
        self._read_in_part.append(value)
        return self.b.load(type_, value.pointer)

    def to_integer(self, value: f.Op) -> f.Op:
        """Return a pointer's address as an i64, an integer unchanged."""
        if isinstance(value, f.Convert) and value.operation == "inttoptr":
            return value.value
        return self.b.to_integer(value)

    def converted(self, expr: tree.Expr, target: CType) -> f.Op:
        """Return the value of a scalar expression converted to `target`."""
        return self.convert(self.value(expr), expr.type, target)

    def wide(self, expr: tree.Expr) -> f.Op:
        """Return the value of an expression as helpers take it: a pointer or an i64, extended by its sign."""
        value = self.value(expr)
        if isinstance(value.type, Ptr):
            return value
        if isinstance(value, f.Const) and isinstance(expr.type, CInt):
            return self.b.i64(expr.type.wrap(value.value))
        return self.b.resize(value, I64, signed=isinstance(expr.type, CInt) and expr.type.signed)

    def size(self, expr: tree.Expr) -> f.Op:
        """Return the value of an unsigned expression as helpers take a size: an i64, less than 2³²."""
        value = self.wide(expr)
        if isinstance(value, f.Const):
            return value
        # LLVM makes of (u64)min(size, 8192) a comparison of 32 bits and size & 16383: for Linux 6.1 the latter is up to
        # 16383. What the comparison says it sees in all 64 bits of what is computed in 32. But LLVM must not know that
        # nothing is added here, nor bring a minimum of 64 bits to 32: no kernel sees there what was compared.
        narrow = self.b.resize(self.b.barrier(value), I32, signed=False)
        return self.b.resize(self.b.binary("add", narrow, self.b.barrier(self.b.i32(0))), I64, signed=False)

    # -- conditions

    def condition(self, expr: tree.Expr) -> f.Op:
        """Return the i1 of ``expr != 0``."""
        return self.b.truth(self.value(expr))

    def returning_zero(self) -> None:
        """Leave the current function with 0."""
        frame = self.frame
        if frame.result is not None:
            type_ = ir_type(frame.function.returns)
            self.b.store(self.b.const(type_, 0), frame.result)
        self.b.jump(frame.end)

    def ending_program(self) -> None:
        """Leave the program with 0, from however deep an inlined function."""
        frame = self.frames[0]
        if frame.result is not None:
            self.b.store(self.b.const(ir_type(frame.function.returns), 0), frame.result)
        self.b.jump(frame.end)


def ir_type(type_: CType) -> Type:
    """Return the IR type of a scalar C type."""
    if isinstance(type_, CInt):
        return Int(type_.bits)
    if isinstance(type_, CPointer):
        return INFER
    raise InternalError(f"{type_} is not a scalar")


def is_scalar(type_: CType) -> bool:
    """Whether values of the type fit an IR value."""
    return isinstance(type_, (CInt, CPointer))
