"""Check that IR is well formed: our own bugs surface here, with the operation printed, and not inside LLVM."""

from __future__ import annotations

from collections.abc import Callable

from trapline.errors import InternalError
from trapline.hints import Any, NoReturn
from trapline.ir import function as f
from trapline.ir.printer import format_op
from trapline.ir.spec import ModuleSpec
from trapline.ir.types import BOOL, I64, I128, VOID, Int, Ptr, Space

MAX_ARGUMENTS = 5

_WIDTHS = frozenset({1, 8, 16, 32, 64, 128})
_NEEDS_LIBRARY = frozenset({"mul", "udiv", "sdiv", "urem", "srem"})


def check_module(module: ModuleSpec) -> None:
    """Check all functions of a module, after the passes.

    Raises:
        InternalError: something is malformed; the message has the operation.
    """
    maps = {m.name for m in module.maps}
    if len(maps) != len(module.maps):
        raise InternalError("two maps have one name")
    for program in module.programs:
        functions = {s.name: s for s in program.subprograms}
        _check_recursion(program.function, functions, ())
        if len(functions) != len(program.subprograms):
            raise InternalError(f"two subprograms of {program.name} have one name")
        for function in (program.function, *program.subprograms):
            check_function(function, functions, maps)


def _check_recursion(function: f.Function, functions: dict[str, f.Function], callers: tuple[str, ...]) -> None:
    if function.name in callers:
        raise InternalError(f"{' calls '.join((*callers, function.name))}: BPF has no recursion")
    for name in dict.fromkeys(op.name for op in function.ops() if isinstance(op, f.Call)):
        if name in functions:
            _check_recursion(functions[name], functions, (*callers, function.name))


def check_function(function: f.Function, functions: dict[str, f.Function], maps: set[str]) -> None:
    """Check one function.

    Args:
        function: what to check.
        functions: the subprograms that it may refer to.
        maps: names of the maps that it may refer to.
    """
    _Checker(function, functions, maps).check()


class _Checker:
    def __init__(self, function: f.Function, functions: dict[str, f.Function], maps: set[str]) -> None:
        self.function = function
        self.functions = functions
        self.maps = maps

    def check(self) -> None:
        function = self.function
        if not function.blocks:
            raise InternalError(f"{function.name} has no blocks")
        if len(function.parameters) > MAX_ARGUMENTS:
            raise InternalError(f"{function.name} has more than {MAX_ARGUMENTS} parameters")
        defined: set[f.Op] = set(function.parameters)
        members = set(function.blocks)
        rules = _RULES
        for block in function.reachable():
            if block not in members:
                raise InternalError(f"{function.name} jumps to block {block.name}, which is not part of it")
            if block.terminator is None:
                raise InternalError(f"block {block.name} of {function.name} has no end")
            for op in block.ops:
                for used in op.operands():
                    if used not in defined:
                        self.fail(op, f"uses a value ({type(used).__name__}) that is not computed before")
                if isinstance(op.type, Ptr):
                    if op.type.space is Space.INFER:
                        self.fail(op, "has a pointer whose provenance is not known")
                elif isinstance(op.type, Int) and op.type.bits not in _WIDTHS:
                    self.fail(op, f"has the strange type {op.type}")
                rule = rules.get(op.__class__)
                if rule is not None:
                    rule(self, op)
                if op in defined:
                    self.fail(op, "stands twice in the function")
                defined.add(op)
            for op in block.ops[:-1]:
                if isinstance(op, (f.Jump, f.Branch, f.Switch, f.Return, f.Unreachable)):
                    self.fail(op, "ends its block, but more follows")

    def fail(self, op: f.Op, message: str) -> NoReturn:
        place = f" (source {op.span[0]}:{op.span[1]})" if op.span else ""
        raise InternalError(f"malformed IR in {self.function.name}{place}: “{format_op(op, self.function)}” {message}")

    def pointer(self, op: f.Op, value: f.Op) -> Space:
        if not isinstance(value.type, Ptr):
            self.fail(op, "needs a pointer")
        return value.type.space

    def accessible(self, op: f.Op, value: f.Op) -> Space:
        space = self.pointer(op, value)
        if not space.direct:
            self.fail(op, f"accesses {space.value} memory directly")
        return space

    def map_name(self, op: f.Op, name: str) -> None:
        if name not in self.maps:
            self.fail(op, f"names the map {name!r}, which does not exist")


def _load(c: _Checker, op: f.Load) -> None:
    c.accessible(op, op.pointer)
    if op.type == VOID:
        c.fail(op, "loads nothing")


def _store(c: _Checker, op: f.Store) -> None:
    c.accessible(op, op.pointer)
    if op.value.type == VOID:
        c.fail(op, "stores nothing")


def _offset(c: _Checker, op: f.Offset) -> None:
    c.pointer(op, op.pointer)
    if op.type != op.pointer.type:
        c.fail(op, f"changes the type of {op.pointer.type}")
    if op.index is not None and op.index.type != I64:
        c.fail(op, "needs an i64 index")


def _binary(c: _Checker, op: f.Binary) -> None:
    if op.operation not in f.BINARY:
        c.fail(op, "is no operation")
    if not isinstance(op.type, Int) or op.left.type != op.type or op.right.type != op.type:
        c.fail(op, f"mixes {op.left.type} and {op.right.type}")
    if op.type == I128:
        shift = op.operation in ("shl", "lshr", "ashr") and not isinstance(op.right, f.Const)
        if shift or op.operation in _NEEDS_LIBRARY:
            c.fail(op, "is not possible on 128 bits")


def _compare(c: _Checker, op: f.Compare) -> None:
    if op.operation not in f.COMPARE or op.type != BOOL:
        c.fail(op, "is no comparison")
    left, right = op.left.type, op.right.type
    if left != right and not (isinstance(left, Ptr) and isinstance(right, Ptr)):
        c.fail(op, f"compares {left} and {right}")


def _convert(c: _Checker, op: f.Convert) -> None:
    source, result = op.value.type, op.type
    if op.operation in ("trunc", "zext", "sext"):
        good = isinstance(source, Int) and isinstance(result, Int)
        if good and isinstance(source, Int) and isinstance(result, Int):
            good = source.bits > result.bits if op.operation == "trunc" else source.bits < result.bits
    elif op.operation == "bswap":
        good = source == result and isinstance(source, Int) and source.bits in (16, 32, 64, 128)
    elif op.operation == "inttoptr":
        good = source == I64 and isinstance(result, Ptr)
    elif op.operation == "ptrtoint":
        good = isinstance(source, Ptr) and result == I64
    else:
        good = op.operation == "space" and isinstance(source, Ptr) and isinstance(result, Ptr)
    if not good:
        c.fail(op, f"cannot convert {source} to {result}")


def _select(c: _Checker, op: f.Select) -> None:
    same = all(v.type == op.type or (isinstance(v.type, Ptr) and isinstance(op.type, Ptr)) for v in (op.then, op.other))
    if op.condition.type != BOOL or not same:
        c.fail(op, "selects between different types")


def _arguments(c: _Checker, op: f.Helper) -> None:
    if len(op.arguments) > MAX_ARGUMENTS:
        c.fail(op, f"has more than {MAX_ARGUMENTS} arguments")
    for argument in op.arguments:
        if argument.type in (VOID, I128):
            c.fail(op, f"passes a value of type {argument.type}")


def _load_packet(c: _Checker, op: f.LoadPacket) -> None:
    if op.size not in (1, 2, 4) or op.type != I64 or op.place.type != I64 or not isinstance(op.context.type, Ptr):
        c.fail(op, "is no read of a packet")


def _call(c: _Checker, op: f.Call) -> None:
    callee = c.functions.get(op.name)
    if callee is None:
        c.fail(op, "calls what is no subprogram of this program")
    if callee.returns != op.type and not (isinstance(callee.returns, Ptr) and isinstance(op.type, Ptr)):
        c.fail(op, f"expects {op.type} of a function that returns {callee.returns}")
    if len(callee.parameters) != len(op.arguments):
        c.fail(op, f"has {len(op.arguments)} arguments for {len(callee.parameters)} parameters")
    for param, argument in zip(callee.parameters, op.arguments, strict=True):
        if param.type != argument.type and not (isinstance(param.type, Ptr) and isinstance(argument.type, Ptr)):
            c.fail(op, f"passes {argument.type} for {param.type}")


def _function_address(c: _Checker, op: f.FunctionAddress) -> None:
    if op.name not in c.functions:
        c.fail(op, "names what is no subprogram of this program")


def _copy(c: _Checker, op: f.Copy) -> None:
    c.accessible(op, op.target)
    if c.accessible(op, op.source) is Space.BTF:
        c.fail(op, "copies BTF-typed memory without a probe read")


def _fill(c: _Checker, op: f.Fill) -> None:
    c.accessible(op, op.target)


def _atomic(c: _Checker, op: f.Atomic) -> None:
    c.accessible(op, op.pointer)
    if op.operation not in f.ATOMIC or op.value.type not in (Int(32), I64):
        c.fail(op, "is no atomic operation")
    if op.type not in (VOID, op.value.type):
        c.fail(op, "fetches a value of another type")


def _branch(c: _Checker, op: f.Branch) -> None:
    if op.condition.type != BOOL:
        c.fail(op, "needs an i1")


def _switch(c: _Checker, op: f.Switch) -> None:
    if not isinstance(op.value.type, Int):
        c.fail(op, "needs an integer")
    mask = (1 << op.value.type.bits) - 1
    if len({value & mask for value, _ in op.cases}) != len(op.cases):
        c.fail(op, "has a case twice")


def _return(c: _Checker, op: f.Return) -> None:
    given = VOID if op.value is None else op.value.type
    wanted = c.function.returns
    if given != wanted and not (isinstance(given, Ptr) and isinstance(wanted, Ptr)):
        c.fail(op, f"returns {given} from a function of {wanted}")


_RULES: dict[type[f.Op], Callable[[_Checker, Any], None]] = {
    f.Load: _load,
    f.Store: _store,
    f.Offset: _offset,
    f.Binary: _binary,
    f.Compare: _compare,
    f.Convert: _convert,
    f.Select: _select,
    f.Helper: _arguments,
    f.LoadPacket: _load_packet,
    f.Kfunc: _arguments,
    f.Call: _call,
    f.FunctionAddress: _function_address,
    f.MapAddress: lambda c, op: c.map_name(op, op.name),
    f.MapValueAddress: lambda c, op: c.map_name(op, op.name),
    f.Copy: _copy,
    f.Fill: _fill,
    f.Atomic: _atomic,
    f.Branch: _branch,
    f.Switch: _switch,
    f.Return: _return,
}
