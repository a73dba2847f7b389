"""Arguments of user code: of functions by the calling convention, of USDT probes by what their notes say."""

from __future__ import annotations

from trapline import btf as b
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import from_btf
from trapline.frontends.bpftrace.sites import Argument, Arguments, Place
from trapline.hints import TYPE_CHECKING
from trapline.ir.types import I64, Space, integer

if TYPE_CHECKING:
    from trapline.abi.arch import Arch
    from trapline.debuginfo.usdt import Operand
    from trapline.ir.builder import Builder
    from trapline.ir.function import Op

_WORD = 8


def user_arguments(arch: Arch, btf: b.Btf, function: int) -> Arguments:
    """Return the arguments of a user function at its entry, as the calling convention places them.

    Args:
        arch: registers of the machine.
        btf: the types of the file.
        function: id of the ``Func``.
    """
    items: dict[str, Argument] = {}
    unusable: dict[str, str] = {}
    registers = [arch.registers[name] for name in arch.arguments]
    used = stacked = 0
    for param in btf.params(function):
        if not param.type and not param.name:
            break  # variadic
        kind = from_btf(btf, param.type, Space.USER)
        if _is_float(btf, param.type):
            unusable[param.name] = f"args.{param.name} is a floating-point number, which is in a register of its own"
            continue
        if isinstance(kind, t.RecordT | t.ArrayT | t.StringT):
            words = (kind.size + _WORD - 1) // _WORD
            if kind.size <= 2 * _WORD and used + words <= len(registers):
                used += words
            elif arch.name == "x86_64":
                stacked += words
            else:
                used += 1  # a pointer to a copy
            unusable[param.name] = f"args.{param.name} is a {kind} passed by value, which is not supported"
        elif used < len(registers):
            items[param.name] = Argument(param.name, kind, Place.REGISTER, registers[used], used)
            used += 1
        else:
            place = arch.stack_argument + stacked * _WORD
            items[param.name] = Argument(param.name, kind, Place.USER_STACK, place)
            stacked += 1
    return Arguments(items, unusable=unusable)


def _is_float(btf: b.Btf, type_id: int) -> bool:
    return isinstance(btf.resolved(type_id), b.Float)


def read_usdt_argument(b: Builder, arch: Arch, forms: tuple[tuple[Operand, ...], ...], number: int) -> Op:
    """Return argument `number` of a USDT probe as an i64; 0 where the place has no such argument.

    Args:
        b: builds the program.
        arch: registers of the machine.
        forms: the operands of each form that the places have; the attach cookie says which.
        number: counted from 0.
    """
    operands = [form[number] if number < len(form) else None for form in forms]
    if len(set(operands)) == 1:
        return _read_operand(b, arch, operands[0])
    result = b.local(_WORD, "usdt_argument", zero=True)
    form = b.helper("get_attach_cookie", b.context)
    for index, operand in enumerate(operands):
        if operand is not None:
            with b.when(b.compare("eq", form, b.i64(index))):
                b.store(_read_operand(b, arch, operand), result)
    return b.load(I64, result)


def _read_operand(b: Builder, arch: Arch, operand: Operand | None) -> Op:
    if operand is None:
        return b.i64(0)
    width = integer(operand.size)
    if operand.kind == "constant":
        bits = 8 * operand.size
        value = operand.value & ((1 << bits) - 1)
        if operand.signed and value >> (bits - 1):
            value -= 1 << bits
        return b.i64(value)
    if operand.kind == "register":
        word = _register(b, arch, operand.register)
        if operand.shift:
            word = b.binary("lshr", word, b.i64(operand.shift))
        return b.resize(b.resize(word, width, signed=False), I64, signed=operand.signed)
    address = b.i64(operand.value)
    if operand.register:
        address = b.binary("add", address, _register(b, arch, operand.register))
    if operand.index:
        index = _register(b, arch, operand.index)
        if operand.scale != 1:
            index = b.binary("mul", index, b.i64(operand.scale))
        address = b.binary("add", address, index)
    return b.resize(b.load(width, b.to_pointer(address, Space.USER)), I64, signed=operand.signed)


def _register(b: Builder, arch: Arch, name: str) -> Op:
    return b.load(I64, b.offset(b.context, arch.registers[name], name))
