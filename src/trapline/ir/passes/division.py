"""Make divisions safe, and signed ones possible.

BPF before cpu v4 divides unsigned numbers only; and to LLVM a division by zero is undefined, so that it would draw
conclusions from it, whereas the machine gives 0 for the quotient and the dividend for the remainder.  Divisors that are
not constant are replaced by 1 when they are 0::

    %2: i64 = sdiv %0, %1        %z: i1 = eq %1, 0
                                 %b: i64 = select (%1 < 0), 0 - %1, %1
                                 %d: i64 = select %z, 1, %b
                                 %a: i64 = select (%0 < 0), 0 - %0, %0
                                 %q: i64 = udiv %a, %d
                                 %n: i64 = select ((%0 ^ %1) < 0), 0 - %q, %q
                                 %2: i64 = select %z, 0, %n
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.spec import ModuleSpec
from trapline.ir.types import BOOL, Int, Type

_DIVISIONS = frozenset({"udiv", "sdiv", "urem", "srem"})


def lower_divisions(module: ModuleSpec) -> None:
    """Replace divisions in all functions."""
    for program in module.programs:
        for function in (program.function, *program.subprograms):
            for block in function.blocks:
                if any(isinstance(op, f.Binary) and op.operation in _DIVISIONS for op in block.ops):
                    block.ops[:] = _lower_block(block.ops)


def _lower_block(ops: list[f.Op]) -> list[f.Op]:
    result: list[f.Op] = []
    for op in ops:
        if isinstance(op, f.Binary) and op.operation in _DIVISIONS:
            _Lowering(result, op).lower()
        else:
            result.append(op)
    return result


class _Lowering:
    """Writes the replacement of one division; the division's own operation becomes the last one of it."""

    def __init__(self, out: list[f.Op], op: f.Binary) -> None:
        self._out = out
        self._op = op
        self._type: Type = op.type

    def lower(self) -> None:
        op = self._op
        left, right, operation = op.left, op.right, op.operation
        quotient = operation in ("udiv", "sdiv")
        assert isinstance(op.type, Int)
        constant = right.value & ((1 << op.type.bits) - 1) if isinstance(right, f.Const) else None
        if constant == 0:
            # The machine's answer, whatever LLVM thinks of it.
            zero = self._const(0)
            self._finish("add", zero if quotient else left, zero)
            return
        unsigned = "udiv" if quotient else "urem"
        if operation == unsigned and constant is not None:
            self._out.append(op)
            return
        by_zero = None if constant is not None else self._compare("eq", right, self._const(0))
        if operation == unsigned:
            assert by_zero is not None
            divisor = self._select(by_zero, self._const(1), right)
            value = self._binary(unsigned, left, divisor)
        else:
            divisor = self._magnitude(right)
            if by_zero is not None:
                divisor = self._select(by_zero, self._const(1), divisor)
            value = self._binary(unsigned, self._magnitude(left), divisor)
            sign = self._binary("xor", left, right) if quotient else left
            negative = self._compare("slt", sign, self._const(0))
            value = self._select(negative, self._binary("sub", self._const(0), value), value)
        if by_zero is not None:
            value = self._select(by_zero, self._const(0) if quotient else left, value)
        self._finish("add", value, self._const(0))

    def _finish(self, operation: str, left: f.Op, right: f.Op) -> None:
        # Other operations refer to this object: it stays, as a plain copy of the result.
        self._op.operation, self._op.left, self._op.right = operation, left, right
        self._out.append(self._op)

    def _magnitude(self, value: f.Op) -> f.Op:
        if isinstance(value, f.Const):
            assert isinstance(self._type, Int)
            bits = self._type.bits
            number = value.value & ((1 << bits) - 1)
            return self._const((1 << bits) - number if number >> (bits - 1) else number)
        negative = self._compare("slt", value, self._const(0))
        return self._select(negative, self._binary("sub", self._const(0), value), value)

    def _emit(self, op: f.Op) -> f.Op:
        op.span = self._op.span
        self._out.append(op)
        return op

    def _const(self, value: int) -> f.Op:
        return self._emit(f.Const(self._type, value))

    def _binary(self, operation: str, left: f.Op, right: f.Op) -> f.Op:
        return self._emit(f.Binary(self._type, operation, left, right))

    def _compare(self, operation: str, left: f.Op, right: f.Op) -> f.Op:
        return self._emit(f.Compare(BOOL, operation, left, right))

    def _select(self, condition: f.Op, then: f.Op, other: f.Op) -> f.Op:
        return self._emit(f.Select(self._type, condition, then, other))
