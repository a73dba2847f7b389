"""IR as text: stable and readable, for golden files, ``-d ir`` and messages of the checker.

A value is ``%<n>`` by its order in the function, a parameter ``%a<n>``, a block its name.  Nothing can be read back.
"""

from __future__ import annotations

from collections.abc import Callable

from trapline.hints import Any
from trapline.ir import function as f
from trapline.ir.spec import MapSpec, ModuleSpec
from trapline.ir.types import VOID


class _Printer:
    """Numbers the values of one function and formats its operations."""

    def __init__(self, function: f.Function, *, spans: bool = False) -> None:
        self.function = function
        self.spans = spans
        self._names: dict[f.Op, str] = {}
        for param in function.parameters:
            self._names[param] = f"%a{param.index}"
        serial = 0
        for op in function.ops():
            if op.type != VOID and not isinstance(op, f.Const) and op not in self._names:
                self._names[op] = f"%{serial}"
                serial += 1

    def value(self, op: f.Op) -> str:
        if isinstance(op, f.Const):
            return f"{op.type} {op.value}"
        return self._names.get(op, f"<undefined {type(op).__name__}>")

    def values(self, ops: tuple[f.Op, ...]) -> str:
        return ", ".join(self.value(op) for op in ops)

    def op(self, op: f.Op) -> str:
        formatter = _FORMATTERS.get(type(op))
        text = (
            formatter(self, op)
            if formatter
            else f"{type(op).__name__.lower()} {self.values(tuple(op.operands()))}".rstrip()
        )
        if op.type != VOID:
            text = f"{self._names.get(op, '%?')}: {op.type} = {text}"
        if self.spans and op.span is not None:
            text += f"  ; {op.span[0]}:{op.span[1]}"
        return text

    def text(self) -> str:
        function = self.function
        parameters = ", ".join(f"{self._names[p]}: {p.type}" for p in function.parameters)
        lines = [f"function {function.name}({parameters}) -> {function.returns}:"]
        for block in function.blocks:
            lines.append(f"{block.name}:")
            lines += [f"    {self.op(op)}" for op in block.ops if not isinstance(op, f.Const)]
        return "\n".join(lines) + "\n"


def format_function(function: f.Function, *, spans: bool = False) -> str:
    """Return the text of a function; with `spans`, each operation is followed by its place in the source."""
    return _Printer(function, spans=spans).text()


def format_op(op: f.Op, function: f.Function) -> str:
    """Return the text of one operation of `function`."""
    return _Printer(function).op(op)


def format_module(module: ModuleSpec, *, spans: bool = False) -> str:
    """Return the text of a module: its maps, then its programs with their subprograms."""
    parts = ["\n".join(_map(m) for m in module.maps) + "\n"] if module.maps else []
    for program in module.programs:
        attach = f" attach={program.expected_attach}" if program.expected_attach else ""
        label = f" label={program.label!r}" if program.label else ""
        head = f"program {program.name} type={program.type}{attach}{label}\n"
        functions = (program.function, *program.subprograms)
        parts.append(head + "".join(format_function(function, spans=spans) for function in functions))
    return "\n".join(parts)


def _map(spec: MapSpec) -> str:
    text = f"map {spec.name} {spec.type} key={spec.key_size} value={spec.value_size} entries={spec.max_entries}"
    if spec.flags:
        text += f" flags={spec.flags:#x}"
    if spec.initial:
        text += f" initial={spec.initial!r}"
    return text


def _local(p: _Printer, op: f.Local) -> str:
    extra = "".join(
        [
            f" {op.name!r}" if op.name else "",
            f" align {op.align}" if op.align != 8 else "",
            " zero" if op.zero else "",
            "" if op.scratch is None else " scratch" if op.scratch else " noscratch",
        ]
    )
    return f"local {op.size}{extra}"


def _offset(p: _Printer, op: f.Offset) -> str:
    text = p.value(op.pointer)
    if op.constant:
        text += f" {'+' if op.constant > 0 else '-'} {abs(op.constant)}"
    if op.index is not None:
        text += f" + {p.value(op.index)} * {op.scale}"
    return f"offset {text}" + (f"  ; {op.note}" if op.note else "")


def _switch(p: _Printer, op: f.Switch) -> str:
    cases = ", ".join(f"{value}: {block.name}" for value, block in op.cases)
    return f"switch {p.value(op.value)} [{cases}] else {op.default.name}"


_FORMATTERS: dict[type[f.Op], Callable[[_Printer, Any], str]] = {
    f.Const: lambda p, op: p.value(op),
    f.Local: _local,
    f.Load: lambda p, op: f"load{' acquire' if op.acquire else ''} {p.value(op.pointer)}",
    f.Store: lambda p, op: f"store{' release' if op.release else ''} {p.value(op.value)} -> {p.value(op.pointer)}",
    f.Offset: _offset,
    f.Binary: lambda p, op: f"{op.operation} {p.value(op.left)}, {p.value(op.right)}",
    f.Compare: lambda p, op: f"{op.operation} {p.value(op.left)}, {p.value(op.right)}",
    f.Convert: lambda p, op: f"{op.operation} {p.value(op.value)}",
    f.Select: lambda p, op: f"select {p.values(tuple(op.operands()))}",
    f.Helper: lambda p, op: f"helper {op.name}({p.values(op.arguments)})",
    f.LoadPacket: lambda p, op: f"load_packet {op.size} at {p.value(op.place)}",
    f.Kfunc: lambda p, op: f"kfunc {op.name}({p.values(op.arguments)})",
    f.Call: lambda p, op: f"call {op.name}({p.values(op.arguments)})",
    f.FunctionAddress: lambda p, op: f"function {op.name}",
    f.MapAddress: lambda p, op: f"map {op.name}",
    f.MapValueAddress: lambda p, op: f"map_value {op.name} + {op.offset}",
    f.Copy: lambda p, op: f"copy {p.value(op.source)} -> {p.value(op.target)}, {op.size}",
    f.Fill: lambda p, op: f"fill {p.value(op.target)}, {op.byte}, {op.size}",
    f.Atomic: lambda p, op: f"atomic {op.operation} {p.value(op.value)} -> {p.value(op.pointer)}",
    f.Jump: lambda p, op: f"jump {op.target.name}",
    f.Branch: lambda p, op: f"branch {p.value(op.condition)}, {op.then.name}, {op.other.name}",
    f.Switch: _switch,
    f.Return: lambda p, op: "return" if op.value is None else f"return {p.value(op.value)}",
}
