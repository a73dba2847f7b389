"""IR functions natively on this machine: run at once (tests of what operations mean), or as bytes that can be kept."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

from trapline.abi.elf import Elf
from trapline.codegen.emit import Frame, FunctionEmitter
from trapline.codegen.llvm import compile_native_object, link_native
from trapline.codegen.tables import Declarations, References
from trapline.errors import InternalError
from trapline.hints import Any
from trapline.ir.check import check_module
from trapline.ir.function import Function
from trapline.ir.passes.clone import clone_module
from trapline.ir.passes.division import lower_divisions
from trapline.ir.spec import MapSpec, ModuleSpec, ProgramSpec
from trapline.ir.types import Int, Type, Void


class NativeCode:
    """Functions compiled for this machine.

    They may use everything but helpers, kernel functions and maps; the address of a map's element 0 is that of a
    buffer of the caller's.  Pointers are passed as addresses; the context is a pointer like any other.

    Args:
        functions: what to compile; they may call each other.
        memory: address by name of map, for `MapValueAddress`.
    """

    def __init__(self, functions: Sequence[Function], memory: Mapping[str, int] | None = None) -> None:
        compiled = _prepare(functions, tuple(MapSpec(name, "ARRAY", 4, 0, 1) for name in memory or {}))
        symbols = _symbols(compiled)
        frames = {name: Frame(symbol, "", "", "nounwind", symbols, True, memory) for name, symbol in symbols.items()}
        self._engine: Any = link_native(_emit(compiled, frames))
        self._calls = {}
        for function in compiled:
            kinds = [_c_type(param.type) for param in function.parameters]
            prototype = ctypes.CFUNCTYPE(_c_type(function.returns), *kinds)
            self._calls[function.name] = prototype(self._engine.get_function_address(symbols[function.name]))

    def call(self, name: str, *arguments: int) -> int:
        """Call a function; integers go in and come out without sign, at the width of their types."""
        result = self._calls[name](*arguments)
        return 0 if result is None else int(result)


def compile_position_independent(functions: Sequence[Function], entry: str, triple: str = "") -> tuple[bytes, int]:
    """Compile functions to machine code that runs at any address, on any CPU of an architecture.

    Args:
        functions: without helpers, kernel functions, maps and constants in memory; they may call each other.
        entry: the one that is called from outside.
        triple: the machine, by default this one's.

    Returns:
        The code, and where in it `entry` begins.

    Raises:
        InternalError: the code refers to something outside of it.
    """
    compiled = _prepare(functions, ())
    symbols = _symbols(compiled)
    attributes = 'nounwind "no-builtins" "no-jump-tables"="true"'
    frames = {
        name: Frame(symbol, "", "" if name == entry else "internal ", attributes, symbols, True)
        for name, symbol in symbols.items()
    }
    elf = Elf(compile_native_object(_emit(compiled, frames), triple))
    for section in elf.sections:
        if section.name.startswith((".rela.text", ".rodata", ".data", ".bss")) and section.size:
            raise InternalError(f"native code of {entry} has a section {section.name}")
    code, symbol = elf.section_bytes(".text"), elf.symbol(symbols[entry])
    if code is None or symbol is None:
        raise InternalError(f"native code of {entry} has no text")
    return code, symbol.value


def _prepare(functions: Sequence[Function], maps: tuple[MapSpec, ...]) -> Sequence[Function]:
    program = ProgramSpec(functions[0].name, "NATIVE", functions[0], subprograms=tuple(functions))
    module = clone_module(ModuleSpec("", "", (program,), maps))
    lower_divisions(module)
    check_module(module)
    return module.programs[0].subprograms


def _symbols(functions: Sequence[Function]) -> dict[str, str]:
    return {function.name: f"f{number}" for number, function in enumerate(functions)}


def _emit(functions: Sequence[Function], frames: Mapping[str, Frame]) -> str:
    declarations = Declarations()
    texts = [
        FunctionEmitter(function, frames[function.name], References(), declarations, None).emit()
        for function in functions
    ]
    return "\n".join([*declarations.lines.values(), *texts])


def run_native(function: Function, *arguments: int, memory: Mapping[str, int] | None = None) -> int:
    """Compile and call one function.

    Args:
        function: without helpers.
        arguments: integers, or addresses for pointers.
        memory: address by name of map.
    """
    return NativeCode([function], memory).call(function.name, *arguments)


def _c_type(type_: Type) -> Any:
    if isinstance(type_, Void):
        return None
    if isinstance(type_, Int):
        kinds = {1: ctypes.c_bool, 8: ctypes.c_uint8, 16: ctypes.c_uint16, 32: ctypes.c_uint32, 64: ctypes.c_uint64}
        if type_.bits not in kinds:
            raise InternalError(f"{type_} cannot be passed natively")
        return kinds[type_.bits]
    return ctypes.c_uint64
