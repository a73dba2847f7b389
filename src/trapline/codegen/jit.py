"""Run IR functions natively on this machine: for tests of what operations mean, and for decoders of events."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from trapline.codegen.emit import Frame, FunctionEmitter
from trapline.codegen.llvm import link_native
from trapline.codegen.tables import Declarations, References
from trapline.errors import InternalError
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
        programs = tuple(
            ProgramSpec(function.name, "NATIVE", function, subprograms=tuple(functions)) for function in functions
        )
        maps = tuple(MapSpec(name, "ARRAY", 4, 0, 1) for name in memory or {})
        module = clone_module(ModuleSpec("", "", programs[:1], maps))
        lower_divisions(module)
        check_module(module)
        compiled = module.programs[0].subprograms
        symbols = {function.name: f"f{number}" for number, function in enumerate(compiled)}
        declarations = Declarations()
        texts = []
        for function in compiled:
            frame = Frame(symbols[function.name], "", "", "nounwind", symbols, native=True, memory=memory)
            texts.append(FunctionEmitter(function, frame, References(), declarations, None).emit())
        self._engine: Any = link_native("\n".join([*declarations.lines.values(), *texts]))
        self._calls = {}
        for function in compiled:
            kinds = [_c_type(param.type) for param in function.parameters]
            prototype = ctypes.CFUNCTYPE(_c_type(function.returns), *kinds)
            self._calls[function.name] = prototype(self._engine.get_function_address(symbols[function.name]))

    def call(self, name: str, *arguments: int) -> int:
        """Call a function; integers go in and come out without sign, at the width of their types."""
        result = self._calls[name](*arguments)
        return 0 if result is None else int(result)


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
