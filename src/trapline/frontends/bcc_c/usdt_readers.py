"""C functions that read the arguments of USDT probes: what ``bpf_usdt_readarg`` calls.

``-4@%edi`` and ``8@-16(%rbp)`` at two places of one probe   →   a function that asks the place's cookie which of them
it is, and reads ``ctx->di`` or the stack.
"""

from __future__ import annotations

from collections.abc import Sequence

from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.debuginfo.usdt import Operand

Form = tuple["Operand", ...]


def reader_name(function: str, number: int) -> str:
    """Return the name of the function that reads argument `number` (from 1) for a program."""
    return f"_bpf_readarg_{function}_{number}"


def argument_type(operands: Sequence[Operand]) -> str:
    """Return the C type (``int32_t``) of an argument with these places: that of the largest one, as BCC takes it."""
    largest = max(operands, key=lambda operand: operand.size)
    return f"{'' if largest.signed else 'u'}int{largest.size * 8}_t"


def write_readers(function: str, forms: Sequence[Form]) -> str:
    """Return the readers of a program's arguments, as C.

    Args:
        function: the program.
        forms: the arguments at its places, each form once; a place has its form's index as cookie if there are several.
    """
    count = max((len(form) for form in forms), default=0)
    return "".join(_write_reader(function, number, forms) for number in range(1, count + 1))


def _write_reader(function: str, number: int, forms: Sequence[Form]) -> str:
    cases = [_read(form[number - 1]) if number <= len(form) else ["return -1;"] for form in forms]
    lines = [f"static inline int {reader_name(function, number)}(struct pt_regs *ctx, void *dest, unsigned long len)"]
    lines += ["{", "    u64 value = 0;"]
    if all(case == cases[0] for case in cases):
        lines += [f"    {line}" for line in cases[0]]
    else:
        lines.append("    u64 place = bpf_get_attach_cookie(ctx);")
        for index, case in enumerate(cases):
            lines += [
                f"    {'else ' if index else ''}if (place == {index}) {{",
                *(f"        {x}" for x in case),
                "    }",
            ]
    for size in (8, 4, 2, 1):
        lines.append(f"    {'' if size == 8 else 'else '}if (len == {size}) *(u{size * 8} *)dest = value;")
    return "\n".join([*lines, "    else return -1;", "    return 0;", "}", ""])


def _read(operand: Operand) -> list[str]:
    """Return the statements that set ``value``; they leave the reader when the place cannot be read."""
    type_ = f"{'s' if operand.signed else 'u'}{operand.size * 8}"
    if operand.kind == "constant":
        return [f"value = ({type_}){operand.value}LL;"]
    if operand.kind == "register":
        text = f"ctx->{c_register(operand.register)}"
        return [f"value = ({type_})({text} >> {operand.shift});" if operand.shift else f"value = ({type_}){text};"]
    if operand.kind != "memory":
        return ["return -1;"]
    address = f"{operand.value}LL"
    if operand.register:
        address += f" + ctx->{c_register(operand.register)}"
    if operand.index:
        address += f" + ctx->{c_register(operand.index)} * {operand.scale}"
    return [
        f"{type_} found = 0;",
        f"if (bpf_probe_read_user(&found, sizeof(found), (void *)({address}))) return -1;",
        "value = found;",
    ]


def c_register(name: str) -> str:
    """Return the member of ``struct pt_regs`` that a register of `trapline.abi.arch` is."""
    if name[:1] == "x" and name[1:].isdecimal():
        return f"regs[{name[1:]}]"
    return {"fp": "regs[29]", "lr": "regs[30]"}.get(name, name)
