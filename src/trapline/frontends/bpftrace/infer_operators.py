"""Types of operators: unary, stepping, binary, choices and casts."""

from __future__ import annotations

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.infer_base import TyperBase, expression_span
from trapline.frontends.bpftrace.promotion import promote

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_LOGICAL = ("&&", "||")


class OperatorTyper(TyperBase):
    """Types operators."""

    # -- one operand

    def _unary(self, node: ast.Unary) -> t.Type:
        if node.op in ("++", "--"):
            return self._step(node)
        if node.op == "&":
            return self._address(node)
        type_ = self.type_of(node.operand)
        if isinstance(type_, t.UnknownT):
            return type_
        if node.op == "*":
            return self._dereference(node, type_)
        if self.castable(type_) and node.op != "!":
            type_ = self.read(type_)
        if node.op == "!":
            if not isinstance(type_, t.NUMBERS) and not self.castable(type_) and self.truth(node.operand) is None:
                return self.error(f"The ! operator can not be used on expressions of type '{type_}'", node.span)
            return t.BOOL
        if not isinstance(type_, t.IntT | t.EnumT):
            return self.error(f"The {node.op} operator can not be used on expressions of type '{type_}'", node.span)
        value = self.constant(node)
        if value is not None:
            return t.literal_type(value) if value >= -(1 << 63) else t.INT64
        return t.INT64 if type_.signed else t.UINT64

    def _address(self, node: ast.Unary) -> t.Type:
        """``&$x`` and ``&@m``."""
        operand = node.operand
        if isinstance(operand, ast.Variable):
            type_ = self.type_of(operand)
        elif isinstance(operand, ast.MapName):
            info = self.map_info(operand)
            info.read = True
            type_ = info.value
        else:
            message = "syntax: address-of operator (&) can only be used on a map or variable"
            return self.error(message, node.span)
        return type_ if isinstance(type_, t.UnknownT) else t.PtrT(t.decay(type_))

    def _dereference(self, node: ast.Unary, type_: t.Type) -> t.Type:
        if isinstance(type_, t.PtrT) and type_.target.size:
            return type_.target
        if isinstance(type_, t.IntT | t.EnumT):
            return t.UINT64
        if isinstance(type_, t.PtrT):
            return self.error(f"Can not dereference pointer of type '{type_}'.", node.span)
        return self.error(f"The * operator can not be used on expressions of type '{type_}'", node.span)

    def _step(self, node: ast.Unary) -> t.Type:
        """``++`` and ``--``: an assignment of a 64-bit number."""
        target = node.operand
        if isinstance(target, ast.Variable):
            type_ = self.variable_type(target)
            self.types[target] = type_
            variable = self.resolved.get(target)
            if variable is None or isinstance(type_, t.PtrT | t.UnknownT) or variable.fixed:
                if not isinstance(type_, t.PtrT | t.UnknownT | t.IntT):
                    self._refuse_step(node, type_)
                return type_
            wide = _stepped(node.op, type_)
            self.assign_variable(variable, wide, node.span)
            self.types[target] = variable.type
            return wide
        if not isinstance(target, ast.MapName | ast.MapElement):
            return t.UNKNOWN  # reported by the parser
        info = self.use_map(target)
        info.read = True
        type_ = info.value
        self.types[target] = type_
        if isinstance(type_, t.PtrT):
            return type_
        if isinstance(type_, t.UnknownT):
            type_ = t.IntT(1)
        if isinstance(type_, t.AggregateT):
            wide = t.aggregate_number(type_)
        else:
            wide = _stepped(node.op, type_)
        self.assign_map(info, wide, node.span)
        self.types[target] = info.value
        return wide

    def _refuse_step(self, node: ast.Unary, type_: t.Type) -> None:
        self.error(f"The {node.op} operator can not be used on expressions of type '{type_}'", node.span)

    # -- two operands

    def _binary(self, node: ast.Binary) -> t.Type:
        left, right = self.read(self.type_of(node.left)), self.read(self.type_of(node.right))
        return self.binary_type(node, node.op, node.left, left, node.right, right)

    def binary_type(
        self, node: ast.Node, op: str, left_node: ast.Expr, left: t.Type, right_node: ast.Expr, right: t.Type
    ) -> t.Type:
        """Return the type of ``left op right``."""
        if isinstance(left, t.UnknownT) or isinstance(right, t.UnknownT):
            return t.BOOL if op in COMPARISONS or op in _LOGICAL else t.UNKNOWN
        if isinstance(node, ast.Binary) and op in _LOGICAL and self.truth(node) is not None:
            return t.BOOL
        if isinstance(left, t.PtrT) or isinstance(right, t.PtrT):
            return self._pointers(node, op, left, right)
        if isinstance(left, t.NUMBERS) and isinstance(right, t.NUMBERS):
            return self._numbers(node, op, left_node, left, right_node, right)
        if isinstance(left, t.WordT) and isinstance(right, t.WordT) and op in COMPARISONS:
            return t.BOOL
        if not _comparable(left, right):
            return self._mismatch(node, op, left, right)
        if op not in ("==", "!="):
            if isinstance(left, t.ArrayT):
                return self.error(f"The {op} operator cannot be used on arrays.", node.span)
            return self._refuse(node, op, left, right)
        if isinstance(left, t.ArrayT) and isinstance(right, t.ArrayT):
            self._check_arrays(node, left, right)
        elif promote(left, right) is None:
            return self._mismatch(node, op, left, right)
        elif isinstance(left, t.RecordT | t.VoidT | t.AggregateT | t.ArgsT | t.ContextT):
            return self._refuse(node, op, left, right)
        return t.BOOL

    def _refuse(self, node: ast.Node, op: str, left: t.Type, right: t.Type) -> t.Type:
        return self.error(f"The {op} operator can not be used on expressions of types {left}, {right}", node.span)

    def _mismatch(self, node: ast.Node, op: str, left: t.Type, right: t.Type) -> t.Type:
        return self.error(f"Type mismatch for '{op}': comparing {left} with {right}", node.span)

    def _check_arrays(self, node: ast.Node, left: t.ArrayT, right: t.ArrayT) -> None:
        if left.count != right.count:
            self.error("Only arrays of same size support comparison operators.", node.span)
        elif left != right or not isinstance(left.element, t.IntT):
            self.error("Only arrays of same sized integer support comparison operators.", node.span)

    def _pointers(self, node: ast.Node, op: str, left: t.Type, right: t.Type) -> t.Type:
        if isinstance(left, t.PtrT) and isinstance(right, t.PtrT):
            if op in COMPARISONS and left.target != right.target:
                message = f"comparison of distinct pointer types: {left.target}, {right.target}"
                self.warning(message, node.span)
            return t.BOOL if op in COMPARISONS or op in _LOGICAL else self._refuse(node, op, left, right)
        pointer, other = (left, right) if isinstance(left, t.PtrT) else (right, left)
        if isinstance(other, t.WordT | t.ContextT) and op in COMPARISONS:
            return t.BOOL
        if not isinstance(other, t.NUMBERS):
            return self._refuse(node, op, left, right)
        if op in COMPARISONS or op in _LOGICAL:
            return t.BOOL
        if op == "+" or (op == "-" and pointer is left):
            return pointer
        return self._refuse(node, op, left, right)

    def _numbers(
        self,
        node: ast.Node,
        op: str,
        left_node: ast.Expr,
        left: t.IntT | t.BoolT | t.EnumT,
        right_node: ast.Expr,
        right: t.IntT | t.BoolT | t.EnumT,
    ) -> t.Type:
        if op in _LOGICAL:
            return t.BOOL
        both_bool = isinstance(left, t.BoolT) and isinstance(right, t.BoolT)
        if isinstance(node, ast.Binary) and op not in COMPARISONS and not both_bool:
            value = self.constant(node)
            if value is not None:
                return t.literal_type(value)
            if self.constant(left_node) is not None and self.constant(right_node) is not None:
                return self.error("unable to fold literals due to overflow or underflow", node.span)
        wanted: t.Type | None = self.arithmetic_type(op, left, right)
        if op in COMPARISONS:
            wanted = None if t.BOOL in (left, right) else promote(left, right)
        if wanted is not None:
            for side, kind in ((left_node, left), (right_node, right)):
                if not isinstance(self.types.get(side), t.AggregateT):
                    self.warn_of_loss(side, kind, wanted, side.span)
        return t.BOOL if op in COMPARISONS or wanted is None else wanted

    # -- choices

    def choice_type(self, node: ast.Ternary | ast.IfExpression) -> t.Type:
        """Return the type of ``c ? a : b`` or ``if c { a } else { b }``; a known condition chooses one of them."""
        condition = self.condition_of(node.condition, node.span)
        known = self.truth(node.condition)
        branches = [condition if node.then is None else self.type_of(node.then), self.type_of(node.otherwise)]
        if known is not None and self.is_literal(node.then or node.condition) and self.is_literal(node.otherwise):
            return self.read(branches[0 if known else 1])
        then, otherwise = map(self.read, branches)
        if isinstance(then, t.VoidT) and isinstance(otherwise, t.VoidT):
            return t.VOID
        merged = promote(then, otherwise)
        if merged is None or isinstance(merged, t.VoidT):
            return self.error(
                f"Branches must return the same type or compatible types: have '{then}' and '{otherwise}'", node.span
            )
        for branch, kind in ((node.then or node.condition, then), (node.otherwise, otherwise)):
            self.warn_of_loss(branch, kind, merged, branch.span)
        return merged

    # -- casts

    def _cast(self, node: ast.Cast) -> t.Type:
        wanted = self.written_type(node.type)
        given = self.type_of(node.operand)
        if isinstance(wanted, t.UnknownT) or isinstance(given, t.UnknownT):
            return wanted
        if isinstance(wanted, t.PtrT):
            space = given.space if isinstance(given, t.PtrT) else self.default_space()
            wanted = t.PtrT(wanted.target, space)
        if isinstance(wanted, t.ArrayT) and wanted.count == 0:
            if not wanted.element.size or given.size % wanted.element.size:
                message = "Cannot determine array size: the element size is incompatible with the cast integer size"
                return self.error(message, expression_span(node))
            wanted = t.ArrayT(wanted.element, given.size // wanted.element.size)
        if isinstance(wanted, t.StringT) and wanted.size == 0 and isinstance(given, t.StringT):
            return given
        plain = t.decay(given)
        if wanted == plain or (
            isinstance(wanted, t.PtrT) and isinstance(plain, t.PtrT) and wanted.target == plain.target
        ):
            if not isinstance(wanted, t.BoolT) or self.truth(node.operand) is None:
                message = f"Unnecessary cast: expression is already of type {wanted}"
                self.warning(message, expression_span(node))
            return wanted
        if not self._castable_to(node, given, wanted):
            return self.error(f'Cannot cast from "{plain}" to "{wanted}"', expression_span(node))
        value = self.constant(node.operand)
        if isinstance(wanted, t.EnumT) and value is not None and value not in dict(wanted.values):
            message = f"Enum: {wanted.name} doesn't contain a variant value of {value}"
            return self.error(message, expression_span(node))
        return wanted

    def _castable_to(self, node: ast.Cast, given: t.Type, wanted: t.Type) -> bool:
        scalar = isinstance(given, (*t.NUMBERS, t.PtrT, t.WordT, t.ContextT)) or self.castable(given)
        if isinstance(wanted, t.BoolT):
            return scalar or (isinstance(given, t.StringT) and self.truth(node.operand) is not None)
        if isinstance(wanted, t.IntT | t.EnumT):
            return scalar or (isinstance(given, t.ArrayT) and given.size == wanted.size)
        if isinstance(wanted, t.PtrT):
            return scalar
        if isinstance(wanted, t.WordT):
            return wanted.kind == "username_t" and isinstance(given, t.IntT)
        if isinstance(wanted, t.StringT):
            return isinstance(given, t.StringT) and wanted.size >= given.size
        if isinstance(wanted, t.ArrayT) and isinstance(wanted.element, t.IntT | t.BoolT):
            if isinstance(given, t.IntT):
                return given.size <= wanted.size <= 8 or wanted.size == given.size
            return isinstance(given, t.BoolT | t.StringT) and wanted.size == given.size
        return False


def _stepped(op: str, type_: t.Type) -> t.IntT:
    signed = isinstance(type_, t.IntT | t.EnumT) and type_.signed
    return t.INT64 if signed or op == "--" else t.UINT64


def _comparable(left: t.Type, right: t.Type) -> bool:
    if isinstance(left, t.TupleT) and isinstance(right, t.TupleT):
        return len(left.elements) == len(right.elements)
    return type(left) is type(right)
