"""Copy a module's functions, so that the passes may change them in place; replace the operands of operations.

Programs that share a subprogram get one each: what a parameter points to may differ between them.
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.spec import ModuleSpec
from trapline.records import replace


def clone_module(module: ModuleSpec) -> ModuleSpec:
    """Return a module whose functions are copies."""
    programs = tuple(
        replace(p, function=clone_function(p.function), subprograms=tuple(clone_function(s) for s in p.subprograms))
        for p in module.programs
    )
    return replace(module, programs=programs)


def clone_function(function: f.Function) -> f.Function:
    """Return a copy of a function, with operations and blocks of its own."""
    copies: dict[object, object] = {}
    copied: list[dict[str, object]] = []
    blocks = []
    for param in function.parameters:
        _copy(param, copies, copied)
    for block in function.blocks:
        new = f.Block(block.name)
        copies[block] = new
        blocks.append(new)
        for op in block.ops:
            new.ops.append(_copy(op, copies, copied))
    for attributes in copied:
        for name, value in attributes.items():
            if isinstance(value, (f.Op, f.Block)):
                attributes[name] = copies.get(value, value)
            elif value.__class__ is tuple and name in ("arguments", "cases"):
                attributes[name] = _sequence(value, copies)
    parameters = tuple(copies[p] for p in function.parameters)
    return f.Function(function.name, parameters, function.returns, blocks)  # type: ignore[arg-type]


def substitute(function: f.Function, replaced: dict[f.Op, f.Op]) -> None:
    """Let other values be used instead of some, everywhere in a function."""
    if replaced:
        for op in function.ops():
            substitute_operands(op, replaced)


def substitute_operands(op: f.Op, replaced: dict[f.Op, f.Op]) -> None:
    """Let an operation use other values instead of some."""
    attributes = op.__dict__
    for name, value in attributes.items():
        if isinstance(value, f.Op):
            if value in replaced:
                attributes[name] = replaced[value]
        elif name == "arguments":
            attributes[name] = tuple(replaced.get(v, v) for v in value)


def _copy(op: f.Op, copies: dict[object, object], copied: list[dict[str, object]]) -> f.Op:
    new: f.Op = object.__new__(op.__class__)
    new.__dict__.update(op.__dict__)
    copies[op] = new
    copied.append(new.__dict__)
    return new


def _sequence(values: object, copies: dict[object, object]) -> tuple[object, ...]:
    assert isinstance(values, tuple)
    return tuple(_sequence(v, copies) if v.__class__ is tuple else copies.get(v, v) for v in values)
