"""A program: its context, its parameters that are loaded from registers, and its body."""

from __future__ import annotations

from trapline.clang.ctype import LONG, ULONG, CInt, CPointer, CVoid
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_calls import VALUE_CALL, bind_parameter
from trapline.frontends.bcc_c.lower_expressions import PLACES, VALUES
from trapline.frontends.bcc_c.lower_statements import STATEMENTS
from trapline.frontends.bcc_c.lower_tables import value_method
from trapline.frontends.bcc_c.lowerer import Frame, Lowerer, Rules, Unit, ir_type, is_scalar
from trapline.frontends.bcc_c.naming import KFUNC_PREFIXES, SYSCALL_PREFIXES
from trapline.ir import function as f
from trapline.ir.types import I64, Ptr, Space

RULES = Rules(
    values={**VALUES, tree.CallFunction: VALUE_CALL, tree.CallMethod: value_method},
    places=PLACES,
    statements=STATEMENTS,
)

_WRAPPED_CONTEXT = 0  # the wrapper's only argument is the address of the caller's registers


def lower_program(unit: Unit, function: tree.FunctionTree) -> f.Function:
    """Lower an externally visible function to a BPF program.

    Raises:
        UnsupportedError: it holds a construct that has no lowering.
    """
    lo = Lowerer(unit, function, RULES)
    b = lo.b
    frame = Frame(function, b.new_block("return"), None)
    if not isinstance(function.returns, CVoid):
        if not is_scalar(function.returns):
            raise lo.unsupported(f"the program '{function.name}' must return an integer", function)
        frame.result = lo.temporary(function.returns, "result")
    with b.at(function.span):
        if frame.result is not None:
            b.store(b.const(ir_type(function.returns), 0), frame.result)
        if function.parameters:
            bind_parameter(lo, frame, function.parameters[0], b.context)
        _load_parameters(lo, frame)
    lo.frames.append(frame)
    lo.statement(function.body)
    b.jump(frame.end)
    b.start(frame.end)
    if frame.result is None:
        b.ret(b.i64(0))
    else:
        value = b.load(ir_type(function.returns), frame.result)
        b.ret(lo.convert(value, function.returns, LONG))
    return lo.finish()


def _load_parameters(lo: Lowerer, frame: Frame) -> None:
    function = frame.function
    used = [(i, p) for i, p in enumerate(function.parameters[1:]) if p.used]
    if not used:
        return
    if function.name.startswith(KFUNC_PREFIXES):
        for index, parameter in used:
            _bind(lo, frame, parameter, 8 * index, lo.b.context, Space.BTF)
        return
    arch = lo.unit.target.arch
    wrapped = function.name.startswith(SYSCALL_PREFIXES) and lo.unit.target.syscall_prefix().startswith("__")
    registers = arch.syscall_arguments if wrapped else arch.arguments
    base: f.Op = lo.b.context
    if wrapped:
        base = lo.b.offset(base, arch.registers[arch.arguments[_WRAPPED_CONTEXT]])
        base = lo.b.to_pointer(lo.b.load(I64, base), Space.KERNEL)
    for index, parameter in used:
        if index >= len(registers):
            raise lo.unsupported(
                f"'{parameter.name}' is not passed in a register",
                parameter,
                f"only the first {len(registers)} arguments of a function are; read the others from the stack",
            )
        _bind(lo, frame, parameter, arch.registers[registers[index]], base, Space.INFER)


def _bind(lo: Lowerer, frame: Frame, parameter: tree.Variable, offset: int, base: f.Op, space: Space) -> None:
    if not isinstance(parameter.type, (CInt, CPointer)):
        raise lo.unsupported(f"the parameter '{parameter.name}' is passed by value and is no integer", parameter)
    address = lo.b.offset(base, offset)
    if isinstance(parameter.type, CPointer) and space is Space.BTF:
        value = lo.b.load(Ptr(Space.BTF), address)
    else:
        value = lo.convert(lo.b.load(I64, address), ULONG, parameter.type)
    bind_parameter(lo, frame, parameter, value)
