"""Find the named arguments of a probe: of functions from BTF, of tracepoints from their format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline import btf as b
from trapline.abi.tracepoint import TracepointField
from trapline.btf.tracing import raw_tracepoint_params
from trapline.errors import TargetError
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.btf_types import find_type, from_btf
from trapline.frontends.bpftrace.sites import Argument, Arguments, Place
from trapline.ir.target import Target
from trapline.ir.types import Space
from trapline.records import replace

_NO_BTF = "this kernel has no type information (CONFIG_DEBUG_INFO_BTF)"
_REGISTER_BYTES = 8


def find_function(target: Target, name: str, module: str = "") -> tuple[b.Btf, int] | None:
    """Find the BTF of a kernel function.

    Returns:
        The types it belongs to and the id of its `Func`, or ``None``.
    """
    if not target.has_btf:
        return None
    btf: b.Btf | None = target.btf
    if module and module != "vmlinux":
        btf = target.module_btf(module) or btf
    assert btf is not None
    func = btf.func(name)
    return (btf, func) if func is not None else None


def kprobe_arguments(target: Target, symbols: Sequence[tuple[str, str]]) -> Arguments:
    """Return the arguments that all of some functions have in common, as registers of ``struct pt_regs``.

    Args:
        target: the machine.
        symbols: (function, module) each.
    """
    if not target.has_btf:
        return Arguments(missing=_NO_BTF, hint="Use arg0, arg1 … instead.")
    first, *others = symbols
    found = _function_arguments(target, *first, place_register=_register_place(target))
    lacking: dict[str, list[str]] = {}
    for symbol in others:
        other = _function_arguments(target, *symbol, place_register=_register_place(target))
        for name, argument in {**found.items, **other.items}.items():
            mine, theirs = found.items.get(name), other.items.get(name)
            if (
                mine is None
                or theirs is None
                or (mine.place, mine.offset, str(mine.type))
                != (
                    theirs.place,
                    theirs.offset,
                    str(theirs.type),
                )
            ):
                lacking.setdefault(name, []).append(symbol[0] if mine is not None else first[0])
                found = replace(found, items={**found.items, name: argument})
    if not lacking:
        return found
    unusable = {}
    for name, functions in lacking.items():
        functions = list(dict.fromkeys(functions))
        shown = ", ".join(functions[:5]) + (f" and {len(functions) - 5} more" if len(functions) > 5 else "")
        unusable[name] = f"args.{name} is not the same in all functions of the wildcard: not in {shown}"
    items = {name: a for name, a in found.items.items() if name not in unusable}
    return Arguments(items, found.missing, {**found.unusable, **unusable}, "Use a narrower wildcard, or argN.")


def trampoline_arguments(target: Target, name: str, module: str) -> Arguments:
    """Return the arguments of a function as slots of a trampoline's context."""
    return _function_arguments(target, name, module, place_register=lambda i: (Place.TRAMPOLINE, i * _REGISTER_BYTES))


def raw_tracepoint_arguments(target: Target, name: str, module: str = "") -> Arguments:
    """Return the arguments of a raw tracepoint of the kernel, or of a module."""
    btf = target.module_btf(module)
    if btf is None:
        return Arguments(missing=_NO_BTF)
    params = raw_tracepoint_params(btf, name)
    if params is None:
        return Arguments(missing=f"the kernel has no type information on the raw tracepoint {name}")
    return _place(btf, params, lambda i: (Place.TRAMPOLINE, i * _REGISTER_BYTES), Space.KERNEL)


def iterator_arguments(target: Target, name: str) -> Arguments:
    """Return the members of an iterator's context (``struct bpf_iter__NAME``)."""
    btf = target.btf
    context = btf.struct(f"bpf_iter__{name}")
    if context is None:
        return Arguments(missing=f"the kernel has no type information on the iterator {name}")
    items = {
        field.name: Argument(field.name, from_btf(btf, field.type), Place.CONTEXT, field.offset)
        for field in btf.fields(context)
    }
    return Arguments(items)


def function_result(target: Target, name: str, module: str) -> t.Type | None:
    """Return the type of a function's result; ``None`` when it is unknown or void."""
    found = find_function(target, name, module)
    if found is None:
        return None
    btf, func = found
    result = from_btf(btf, btf.proto(func).ret)
    return None if isinstance(result, t.VoidT) else result


def _register_place(target: Target) -> Callable[[int], tuple[Place, int]]:
    arch = target.arch
    registers = arch.arguments

    def place(index: int) -> tuple[Place, int]:
        if index < len(registers):
            return Place.REGISTER, arch.registers[registers[index]]
        return Place.STACK, arch.stack_argument + (index - len(registers)) * _REGISTER_BYTES

    return place


def _function_arguments(
    target: Target, name: str, module: str = "", *, place_register: Callable[[int], tuple[Place, int]]
) -> Arguments:
    found = find_function(target, name, module)
    if found is None:
        if not target.has_btf:
            return Arguments(missing=_NO_BTF, hint="Use arg0, arg1 … instead.")
        if target.symbol_address(name) is None:
            near = target.near_probes("kprobe", name)
            return Arguments(
                missing=f"this kernel has no function {name}", hint=f"Did you mean {near[0]}?" if near else ""
            )
        return Arguments(
            missing=f"the kernel has no type information on the function {name}", hint="Use arg0, arg1 … instead."
        )
    btf, func = found
    # Compilers other than recent clang leave no address-space tags: a pointer that a caller passed may be either.
    return _place(btf, btf.params(func), place_register, Space.UNKNOWN)


def _place(btf: b.Btf, params: Sequence[b.Param], place: Callable[[int], tuple[Place, int]], space: Space) -> Arguments:
    items: dict[str, Argument] = {}
    unusable: dict[str, str] = {}
    index = 0
    for param in params:
        if not param.type and not param.name:
            break  # variadic
        kind = from_btf(btf, param.type)
        if isinstance(kind, t.PtrT) and kind.space is Space.KERNEL:
            kind = t.PtrT(kind.target, space)
        words = 1
        if isinstance(kind, t.RecordT | t.ArrayT | t.StringT):
            unusable[param.name] = f"args.{param.name} is a {kind} passed by value, which is not supported"
            words = (kind.size + 7) // 8 if kind.size <= 16 else 0
        else:
            where, offset = place(index)
            items[param.name] = Argument(param.name, kind, where, offset, index)
        index += words
    return Arguments(items, unusable=unusable)


def tracepoint_arguments(target: Target, category: str, name: str) -> Arguments:
    """Return the fields of a tracepoint's record."""
    try:
        format_ = target.tracepoint_format(category, name)
    except TargetError as error:
        return Arguments(missing=error.message, hint=error.hint or "")
    syscall = category == "syscalls"
    items: dict[str, Argument] = {}
    for field in format_.fields:
        if field.common:
            continue
        place = Place.CONTEXT
        if field.data_loc:
            place = Place.REL_LOC if field.relative else Place.DATA_LOC
        items[field.name] = Argument(field.name, _field_type(target, field, syscall), place, field.offset)
    return Arguments(items)


def _field_type(target: Target, field: TracepointField, syscall: bool) -> t.Type:
    space = Space.USER if syscall else Space.KERNEL
    name = field.type.strip()
    words = [w for w in name.replace("*", " * ").split() if w not in ("const", "volatile", "__user")]
    depth = words.count("*")
    base = [w for w in words if w != "*"]
    if field.data_loc:
        return t.StringT(0) if base in (["char"], ["unsigned", "char"]) else t.ArrayT(_integer(1, False), 0)
    if field.array is not None and not depth:
        if base == ["char"]:
            return t.StringT(field.size)
        count = field.array or 1
        return t.ArrayT(_base_type(target, base, field.size // count if count else 1, field.signed), count)
    if depth:
        kind = _base_type(target, base, 1, True) if base != ["void"] else t.VOID
        for _ in range(depth):
            kind = t.PtrT(kind, space)
        return kind if field.size == 8 else _integer(field.size, field.signed)
    return _base_type(target, base, field.size, field.signed)


def _integer(size: int, signed: bool) -> t.Type:
    return t.IntT(size, signed) if size in (1, 2, 4, 8) else t.ArrayT(t.IntT(1, False), size)


def _base_type(target: Target, words: list[str], size: int, signed: bool) -> t.Type:
    if words and words[0] in ("struct", "union", "enum") and len(words) > 1 and target.has_btf:
        found = find_type(target.btf, words[0], words[1])
        if found is not None and not (isinstance(found, t.EnumT) and found.size != size):
            return found
    if words == ["bool"] and size == 1:
        return t.BOOL
    if words == ["char"]:
        return t.INT8
    return _integer(size, signed)
