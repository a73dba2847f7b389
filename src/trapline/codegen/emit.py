"""One IR function as LLVM IR text.

Values are named ``%v<n>`` by their order; constants are written where they are used.  What the verifier needs is
decided here: loads from a context go through ``llvm.preserve.static.offset`` and are volatile, so that each stays one
load of its width at a constant offset from the untouched context pointer; shift counts are taken modulo the width, as
the machine does, so that no input makes the optimiser believe anything; helpers get 64-bit arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd

from trapline.abi.helper_ids import HELPERS
from trapline.codegen.tables import DebugTable, Declarations, References
from trapline.errors import InternalError
from trapline.hints import Any
from trapline.ir import function as f
from trapline.ir.types import I64, VOID, Int, Ptr, Space, Type, Void
from trapline.records import record

MAX_INLINE_STORES = 64


@record(frozen=True)
class Frame:
    """How a function is written: its symbol, its section, and its linkage with attributes.

    `native` leaves out what only the BPF target understands; `memory` then has the address of each map's element 0.
    """

    symbol: str
    section: str
    linkage: str
    attributes: str
    symbols: dict[str, str]
    native: bool = False
    memory: Mapping[str, int] | None = None


class FunctionEmitter:
    """Writes one function.

    Args:
        function: well-formed IR after the passes.
        frame: names and linkage.
        references: the module's table of map references.
        declarations: the module's declarations.
        debug: the module's span table, or ``None`` for code without places.
    """

    def __init__(
        self,
        function: f.Function,
        frame: Frame,
        references: References,
        declarations: Declarations,
        debug: DebugTable | None,
    ) -> None:
        self._function = function
        self._frame = frame
        self._references = references
        self._declarations = declarations
        self._debug = debug
        self._scope = debug.scope(frame.symbol) if debug else 0
        self._lines: list[str] = []
        self._allocas: list[str] = []
        self._names: dict[f.Op, str] = {}
        # Pointers at a constant distance of the context: their root and the distance.
        self._context: dict[f.Op, tuple[str, int]] = {}
        # What is known of an address: the largest power of two that divides it.
        self._aligns: dict[f.Op, int] = {}
        self._serial = 0
        self._suffix = ""

    def emit(self) -> str:
        """Return the function's text."""
        function = self._function
        parameters = []
        for param in function.parameters:
            name = f"%a{param.index}"
            self._names[param] = name
            if isinstance(param.type, Ptr):
                self._aligns[param] = 8
            parameters.append(f"{_type(param.type)} {name}")
        blocks = function.reachable()
        labels = {id(block): f"b{number}" for number, block in enumerate(blocks)}
        self._labels = labels
        handlers = _HANDLERS
        last: tuple[f.SpanT | None] | None = None
        for block in blocks:
            self._lines.append(f"{labels[id(block)]}:")
            for op in block.ops:
                if self._debug and (last is None or last[0] is not op.span):
                    last = (op.span,)
                    self._suffix = f", !dbg !{self._debug.location(op.span, self._scope)}"
                handler = handlers.get(op.__class__)
                if handler is None:
                    raise InternalError(f"the code generator does not know {op.__class__.__name__}")
                handler(self, op)
        frame = self._frame
        section = f' section "{frame.section}"' if frame.section else ""
        scope = f" !dbg !{self._scope}" if self._debug else ""
        head = (
            f"define {frame.linkage}{_type(function.returns)} @{frame.symbol}({', '.join(parameters)})"
            f" {frame.attributes}{section}{scope} {{\nentry:\n"
        )
        body = [*self._allocas, f"  br label %{labels[id(blocks[0])]}{self._entry_suffix()}", *self._lines]
        return head + "\n".join(body) + "\n}\n"

    def _entry_suffix(self) -> str:
        return f", !dbg !{self._debug.location(None, self._scope)}" if self._debug else ""

    # -- names

    def _fresh(self) -> str:
        self._serial += 1
        return f"%v{self._serial}"

    def _define(self, op: f.Op, text: str) -> str:
        name = self._fresh()
        self._names[op] = name
        self._lines.append(f"  {name} = {text}{self._suffix}")
        return name

    def _temporary(self, text: str) -> str:
        name = self._fresh()
        self._lines.append(f"  {name} = {text}{self._suffix}")
        return name

    def _line(self, text: str) -> None:
        self._lines.append(f"  {text}{self._suffix}")

    def _value(self, op: f.Op) -> str:
        name = self._names.get(op)
        if name is not None:
            return name
        context = self._context.get(op)
        if context is not None:
            # A context pointer whose address is needed as such (a helper's argument, a copy).
            root, distance = context
            return root if distance == 0 else self._temporary(f"getelementptr i8, ptr {root}, i64 {distance}")
        raise InternalError(f"{op.__class__.__name__} is used before its definition in {self._function.name}")

    def _typed(self, op: f.Op) -> str:
        return f"{_type(op.type)} {self._value(op)}"

    def _wide(self, op: f.Op) -> str:
        """Return an argument as registers pass it: a pointer, or an integer of 64 bits."""
        if isinstance(op.type, Int) and op.type.bits < 64:
            if isinstance(op, f.Const):
                return f"i64 {op.value & ((1 << op.type.bits) - 1)}"
            return f"i64 {self._temporary(f'zext {op.type} {self._value(op)} to i64')}"
        return self._typed(op)

    def _align(self, pointer: f.Op) -> int:
        known = self._aligns.get(pointer)
        if known is not None:
            return known
        # A pointer that comes out of memory: C promises natural alignment of what it points to, but no more.
        assert isinstance(pointer.type, Ptr)
        return 1 if pointer.type.space is Space.STACK else 8

    # -- values

    def _const(self, op: f.Const) -> None:
        type_ = op.type
        if isinstance(type_, Ptr):
            self._names[op] = "null" if op.value == 0 else f"inttoptr (i64 {_signed(op.value, 64)} to ptr)"
        elif isinstance(type_, Int):
            if type_.bits == 1:
                self._names[op] = "true" if op.value & 1 else "false"
            else:
                self._names[op] = str(_signed(op.value, type_.bits))
        else:
            raise InternalError("a constant of no type")

    def _local(self, op: f.Local) -> None:
        name = self._fresh()
        self._names[op] = name
        align = max(op.align, 8)
        self._aligns[op] = align
        self._allocas.append(f"  {name} = alloca [{(op.size + 7) & ~7} x i8], align {align}")
        if op.zero:
            self._fill_memory(name, align, 0, op.size)

    def _load(self, op: f.Load) -> None:
        pointer, type_ = op.pointer, op.type
        memory = "i8" if type_ == Int(1) else _type(type_)
        space = pointer.type.space if isinstance(pointer.type, Ptr) else Space.UNKNOWN
        address, volatile = self._address(pointer)
        if space is Space.BTF or volatile:
            volatile = "volatile "
        align = self._access_align(pointer, type_.size)
        if memory != _type(type_):
            byte = self._temporary(f"load {volatile}i8, ptr {address}, align 1")
            self._define(op, f"trunc i8 {byte} to i1")
            return
        word, order = ("atomic ", " acquire") if op.acquire else (volatile, "")
        self._define(op, f"load {word}{memory}, ptr {address}{order}, align {align}")
        if op.align:
            self._aligns[op] = op.align

    def _address(self, pointer: f.Op) -> tuple[str, str]:
        """Return an address to load from, and the word that a load from there needs."""
        context = self._context_of(pointer)
        if context is None:
            return self._value(pointer), ""
        return self._context_address(*context), "volatile "

    def _context_of(self, pointer: f.Op) -> tuple[str, int] | None:
        """Return the root and the distance of a pointer into the context; ``None`` for other pointers."""
        if self._frame.native or not isinstance(pointer.type, Ptr) or pointer.type.space is not Space.CTX:
            return None
        return self._context.get(pointer) or (self._value(pointer), 0)

    def _context_address(self, root: str, distance: int) -> str:
        self._declarations.need("llvm.preserve.static.offset", "declare ptr @llvm.preserve.static.offset(ptr readnone)")
        fixed = self._temporary(f"call ptr @llvm.preserve.static.offset(ptr {root})")
        return self._temporary(f"getelementptr inbounds i8, ptr {fixed}, i64 {distance}")

    def _access_align(self, pointer: f.Op, size: int) -> int:
        # Other memory may be read at any address (the verifier's efficient unaligned access); the stack may not.
        if isinstance(pointer.type, Ptr) and pointer.type.space is Space.STACK and pointer in self._aligns:
            return min(size, self._aligns[pointer])
        return size

    def _store(self, op: f.Store) -> None:
        value = op.value
        align = self._access_align(op.pointer, value.type.size)
        if value.type == Int(1):
            byte = self._temporary(f"zext i1 {self._value(value)} to i8")
            self._line(f"store i8 {byte}, ptr {self._value(op.pointer)}, align 1")
            return
        address, volatile = self._address(op.pointer)
        word, order = ("atomic ", " release") if op.release else (volatile, "")
        self._line(f"store {word}{self._typed(value)}, ptr {address}{order}, align {align}")

    def _offset(self, op: f.Offset) -> None:
        pointer = op.pointer
        context = self._context_of(pointer)
        if context is not None and op.index is None:
            self._context[op] = (context[0], context[1] + op.constant)
            return
        known = self._aligns.get(pointer)
        if known is None and not (isinstance(pointer.type, Ptr) and pointer.type.space is Space.STACK):
            known = 8
        if known is not None:
            factor = gcd(known, op.constant)
            self._aligns[op] = factor if op.index is None else gcd(factor, op.scale)
        base = self._value(pointer)
        if op.index is not None:
            index = self._value(op.index)
            if op.scale != 1:
                index = self._temporary(f"mul i64 {index}, {op.scale}")
            base = self._temporary(f"getelementptr i8, ptr {base}, i64 {index}")
        if op.constant or op.index is None:
            base = self._temporary(f"getelementptr i8, ptr {base}, i64 {op.constant}")
        self._names[op] = base

    def _binary(self, op: f.Binary) -> None:
        operation, type_ = op.operation, _type(op.type)
        right = self._value(op.right)
        if operation in ("shl", "lshr", "ashr"):
            assert isinstance(op.type, Int)
            if isinstance(op.right, f.Const):
                right = str(op.right.value & (op.type.bits - 1))
            else:
                right = self._temporary(f"and {type_} {right}, {op.type.bits - 1}")
        self._define(op, f"{operation} {type_} {self._value(op.left)}, {right}")

    def _compare(self, op: f.Compare) -> None:
        self._define(op, f"icmp {op.operation} {self._typed(op.left)}, {self._value(op.right)}")

    def _convert(self, op: f.Convert) -> None:
        value, operation = op.value, op.operation
        if operation == "space":
            self._names[op] = self._value(value)
            if value in self._aligns:
                self._aligns[op] = self._aligns[value]
        elif operation == "bswap":
            intrinsic = f"llvm.bswap.{op.type}"
            self._declarations.need(intrinsic, f"declare {op.type} @{intrinsic}({op.type})")
            self._define(op, f"call {op.type} @{intrinsic}({self._typed(value)})")
        else:
            self._define(op, f"{operation} {self._typed(value)} to {_type(op.type)}")

    def _select(self, op: f.Select) -> None:
        self._define(op, f"select {self._typed(op.condition)}, {self._typed(op.then)}, {self._typed(op.other)}")

    # -- calls

    def _call(self, op: f.Op, callee: str, arguments: list[str]) -> None:
        text = f"call {_type(op.type)} {callee}({', '.join(arguments)})"
        if op.type == VOID:
            self._line(text)
        else:
            self._define(op, text)

    def _helper(self, op: f.Helper) -> None:
        number = HELPERS.get(op.name)
        if number is None or self._frame.native:
            raise InternalError(f"there is no BPF helper named {op.name}")
        arguments = [self._wide(a) for a in op.arguments]
        if op.type == Int(1):
            raise InternalError(f"helper {op.name} cannot return an i1")
        self._call(op, f"inttoptr (i64 {number} to ptr)", arguments)
        if isinstance(op.type, Ptr):
            self._aligns[op] = 8

    def _load_packet(self, op: f.LoadPacket) -> None:
        intrinsic = f"llvm.bpf.load.{_PACKET_WORDS[op.size]}"
        self._declarations.need(intrinsic, f"declare i64 @{intrinsic}(ptr, i64)")
        self._call(op, f"@{intrinsic}", [self._typed(op.context), self._typed(op.place)])

    def _kfunc(self, op: f.Kfunc) -> None:
        kinds = ", ".join("ptr" if isinstance(a.type, Ptr) else "i64" for a in op.arguments)
        linkage = "extern_weak " if op.weak else ""
        self._declarations.need(op.name, f"declare {linkage}{_type(op.type)} @{op.name}({kinds})")
        self._call(op, f"@{op.name}", [self._wide(a) for a in op.arguments])

    def _call_subprogram(self, op: f.Call) -> None:
        self._call(op, f"@{self._symbol(op.name)}", [self._typed(a) for a in op.arguments])

    def _symbol(self, name: str) -> str:
        try:
            return self._frame.symbols[name]
        except KeyError:
            raise InternalError(
                f"{self._function.name} refers to {name}, which is no subprogram of its program"
            ) from None

    def _function_address(self, op: f.FunctionAddress) -> None:
        self._names[op] = f"@{self._symbol(op.name)}"

    def _pseudo(self, op: f.Op, kind: int, number: int) -> None:
        self._declarations.need("llvm.bpf.pseudo", "declare i64 @llvm.bpf.pseudo(i64, i64)")
        address = self._temporary(f"call i64 @llvm.bpf.pseudo(i64 {kind}, i64 {number})")
        self._define(op, f"inttoptr i64 {address} to ptr")

    def _map_address(self, op: f.MapAddress) -> None:
        self._pseudo(op, 1, self._references.number(op.name))

    def _map_value_address(self, op: f.MapValueAddress) -> None:
        self._aligns[op] = gcd(8, op.offset)
        if self._frame.memory is not None:
            self._names[op] = f"inttoptr (i64 {self._frame.memory[op.name] + op.offset} to ptr)"
            return
        self._pseudo(op, 2, self._references.number(op.name, op.offset, value=True))

    # -- blocks of memory

    def _copy(self, op: f.Copy) -> None:
        if op.size == 0:
            return
        context = self._context_of(op.source)
        target, target_align = self._value(op.target), self._align(op.target)
        if context is not None:
            self._copy_context(target, target_align, context, op.size)
            return
        source, source_align = self._value(op.source), self._align(op.source)
        if op.size // min(target_align, source_align) <= MAX_INLINE_STORES or self._frame.native:
            intrinsic = "llvm.memcpy.p0.p0.i64"
            self._declarations.need(intrinsic, f"declare void @{intrinsic}(ptr, ptr, i64, i1)")
            self._line(
                f"call void @{intrinsic}(ptr align {target_align} {target}, ptr align {source_align} {source}, "
                f"i64 {op.size}, i1 false)"
            )
            return
        self._line(
            f"call i64 inttoptr (i64 {HELPERS['probe_read_kernel']} to ptr)(ptr {target}, i64 {op.size}, ptr {source})"
        )

    def _copy_context(self, target: str, align: int, context: tuple[str, int], size: int) -> None:
        root, distance = context
        for at, width in _chunks(distance, size, align):
            word = self._temporary(
                f"load volatile i{width * 8}, ptr {self._context_address(root, distance + at)}, align {width}"
            )
            place = self._temporary(f"getelementptr i8, ptr {target}, i64 {at}") if at else target
            self._line(f"store i{width * 8} {word}, ptr {place}, align {width}")

    def _fill(self, op: f.Fill) -> None:
        if op.size:
            self._fill_memory(self._value(op.target), self._align(op.target), op.byte & 0xFF, op.size)

    def _fill_memory(self, target: str, align: int, byte: int, size: int) -> None:
        if size // min(align, 8) <= MAX_INLINE_STORES or self._frame.native:
            self._declarations.need("llvm.memset.p0.i64", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self._line(f"call void @llvm.memset.p0.i64(ptr align {align} {target}, i8 {byte}, i64 {size}, i1 false)")
        elif byte == 0:
            # The helper zeroes its destination when it fails, and it always fails for the null address.
            self._line(
                f"call i64 inttoptr (i64 {HELPERS['probe_read_kernel']} to ptr)(ptr {target}, i64 {size}, ptr null)"
            )
        else:
            for at, width in _chunks(0, size, align):
                place = self._temporary(f"getelementptr i8, ptr {target}, i64 {at}") if at else target
                word = _signed(int.from_bytes(bytes([byte]) * width, "little"), width * 8)
                self._line(f"store i{width * 8} {word}, ptr {place}, align {width}")

    def _atomic(self, op: f.Atomic) -> None:
        order = "monotonic" if op.type == VOID else "seq_cst"
        text = f"atomicrmw {op.operation} ptr {self._value(op.pointer)}, {self._typed(op.value)} {order}"
        if op.type == VOID:
            self._temporary(text)
        else:
            self._define(op, text)

    def _barrier(self, op: f.Barrier) -> None:
        value = op.value
        if value is None:
            self._line('call void asm sideeffect "", "~{memory}"()')
        elif isinstance(value.type, Ptr) or value.type == I64:
            kind = _type(value.type)
            self._define(op, f'call {kind} asm sideeffect "", "=r,0"({self._typed(value)})')
        else:
            wide = self._temporary(f"zext {self._typed(value)} to i64")
            opaque = self._temporary(f'call i64 asm sideeffect "", "=r,0"(i64 {wide})')
            self._define(op, f"trunc i64 {opaque} to {_type(value.type)}")

    # -- ends of blocks

    def _jump(self, op: f.Jump) -> None:
        self._line(f"br label %{self._labels[id(op.target)]}")

    def _branch(self, op: f.Branch) -> None:
        then, other = self._labels[id(op.then)], self._labels[id(op.other)]
        self._line(f"br {self._typed(op.condition)}, label %{then}, label %{other}")

    def _switch(self, op: f.Switch) -> None:
        kind = _type(op.value.type)
        assert isinstance(op.value.type, Int)
        bits = op.value.type.bits
        cases = " ".join(
            f"{kind} {_signed(value, bits)}, label %{self._labels[id(block)]}" for value, block in op.cases
        )
        self._line(f"switch {self._typed(op.value)}, label %{self._labels[id(op.default)]} [{cases}]")

    def _return(self, op: f.Return) -> None:
        self._line("ret void" if op.value is None else f"ret {self._typed(op.value)}")

    def _unreachable(self, op: f.Unreachable) -> None:
        # Never LLVM's `unreachable`: control would fall off the end of the program, which the verifier rejects.
        returns = self._function.returns
        self._line("ret void" if isinstance(returns, Void) else f"ret {_type(returns)} {_zero(returns)}")


def _chunks(start: int, size: int, align: int) -> list[tuple[int, int]]:
    """Return (distance, width) of naturally aligned accesses that cover `size` bytes from an address `start`."""
    result, at = [], 0
    while at < size:
        width = min(8, align)
        while width > 1 and ((start + at) % width or at % width or at + width > size):
            width //= 2
        result.append((at, width))
        at += width
    return result


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _zero(type_: Type) -> str:
    return "null" if isinstance(type_, Ptr) else "0" if type_ != Int(1) else "false"


def _type(type_: Type) -> str:
    if isinstance(type_, Int):
        return f"i{type_.bits}"
    return "ptr" if isinstance(type_, Ptr) else "void"


_PACKET_WORDS = {1: "byte", 2: "half", 4: "word"}

_HANDLERS: dict[type[f.Op], Callable[[FunctionEmitter, Any], None]] = {
    f.Const: FunctionEmitter._const,
    f.Local: FunctionEmitter._local,
    f.Load: FunctionEmitter._load,
    f.Store: FunctionEmitter._store,
    f.Offset: FunctionEmitter._offset,
    f.Binary: FunctionEmitter._binary,
    f.Compare: FunctionEmitter._compare,
    f.Convert: FunctionEmitter._convert,
    f.Select: FunctionEmitter._select,
    f.Helper: FunctionEmitter._helper,
    f.LoadPacket: FunctionEmitter._load_packet,
    f.Kfunc: FunctionEmitter._kfunc,
    f.Call: FunctionEmitter._call_subprogram,
    f.FunctionAddress: FunctionEmitter._function_address,
    f.MapAddress: FunctionEmitter._map_address,
    f.MapValueAddress: FunctionEmitter._map_value_address,
    f.Copy: FunctionEmitter._copy,
    f.Fill: FunctionEmitter._fill,
    f.Atomic: FunctionEmitter._atomic,
    f.Barrier: FunctionEmitter._barrier,
    f.Jump: FunctionEmitter._jump,
    f.Branch: FunctionEmitter._branch,
    f.Switch: FunctionEmitter._switch,
    f.Return: FunctionEmitter._return,
    f.Unreachable: FunctionEmitter._unreachable,
}
