"""LLVM as the shared library of the package llvmlite has it, by its C functions.

Nothing is shared by two compilations, so that threads may compile at the same time.

`llvmlite.binding` is not imported: it brings 60 modules that nothing here needs, which took a third of a cold start.
Its C functions are those of the release that ``pyproject.toml`` asks for; a test compares what both make of a module.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from trapline.errors import InternalError, TargetError
from trapline.hints import Any
from trapline.shared_library import drop_code, open_library

_FILE = "libllvmlite.so"
_HINT = "install the release that trapline needs: pip install 'llvmlite>=0.50,<0.51'"
_POINTER, _TEXT, _INT, _BOOL = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_bool
_OUT = ctypes.POINTER(ctypes.c_char_p)

# Result and arguments of the functions in use; all of their names start with LLVMPY_.
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "GetVersionInfo": (ctypes.c_uint,),
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargets": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllAsmPrinters": (None,),
    "SetCommandLine": (None, _TEXT, _TEXT),
    "DisposeString": (None, _TEXT),
    "GetDefaultTargetTriple": (None, _OUT),
    "GetTargetFromTriple": (_POINTER, _TEXT, _OUT),
    "CreateTargetMachine": (_POINTER, _POINTER, _TEXT, _TEXT, _TEXT, _INT, _TEXT, _TEXT, _INT, _INT, _TEXT),
    "DisposeTargetMachine": (None, _POINTER),
    "ContextCreate": (_POINTER,),
    "ContextDispose": (None, _POINTER),
    "ParseAssembly": (_POINTER, _POINTER, _TEXT, _OUT),
    "VerifyModule": (_BOOL, _POINTER, _OUT),
    "PrintModuleToString": (None, _POINTER, _OUT),
    "DisposeModule": (None, _POINTER),
    "CreatePipelineTuningOptions": (_POINTER,),
    "PTOSetLoopInterleaving": (None, _POINTER, _BOOL),
    "PTOSetLoopVectorization": (None, _POINTER, _BOOL),
    "PTOSetSLPVectorization": (None, _POINTER, _BOOL),
    "PTOSetLoopUnrolling": (None, _POINTER, _BOOL),
    "DisposePipelineTuningOptions": (None, _POINTER),
    "CreatePassBuilder": (_POINTER, _POINTER, _POINTER),
    "DisposePassBuilder": (None, _POINTER),
    "buildPerModuleDefaultPipeline": (_POINTER, _POINTER, _INT),
    "CreateNewModulePassManager": (_POINTER,),
    "module_AddSROAPass": (None, _POINTER),
    "module_AddInstCombinePass": (None, _POINTER),
    "module_AddSimplifyCFGPass": (None, _POINTER),
    "RunNewModulePassManager": (None, _POINTER, _POINTER, _POINTER),
    "DisposeNewModulePassManger": (None, _POINTER),  # sic
    "TargetMachineEmitToMemory": (_POINTER, _POINTER, _POINTER, _INT, _OUT),
    "GetBufferStart": (_POINTER, _POINTER),
    "GetBufferSize": (ctypes.c_size_t, _POINTER),
    "DisposeMemoryBuffer": (None, _POINTER),
}


_opening = allocate_lock()


def _functions() -> dict[str, Callable[..., Any]]:
    """Return the functions of `_PROTOTYPES`, with the back ends registered.

    Raises:
        TargetError: llvmlite is missing, or is another release.
    """
    with _opening:  # LLVM ends the process when it is given its options twice
        return _open()


@lru_cache(maxsize=1)
def _open() -> dict[str, Callable[..., Any]]:
    package = importlib.machinery.PathFinder.find_spec("llvmlite")
    folders = list((package and package.submodule_search_locations) or ())
    paths = [path for path in (f"{folder}/binding/{_FILE}" for folder in folders) if os.path.exists(path)]
    if not paths:
        raise TargetError("llvmlite is not installed: nothing can be compiled", hint=_HINT)
    try:
        library = open_library(paths[0])
        drop_code(_FILE)
        found = {}
        for name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(library, f"LLVMPY_{name}")
            function.restype = result
            function.argtypes = arguments
            found[name] = function
    except (OSError, AttributeError) as error:
        raise TargetError(f"llvmlite cannot be used: {error}", hint=_HINT) from None
    for part in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
        found[f"InitializeAll{part}"]()
    # LLVM ends the process where it thinks that the frame is too large; the limit is checked on the bytecode instead.
    found["SetCommandLine"](b"trapline", b"-bpf-stack-size=65536")
    drop_code(_FILE)
    return found


def version() -> str:
    """Return LLVM's version, such as ``22.1.0``."""
    number = _functions()["GetVersionInfo"]()
    return ".".join(str(number >> shift & 0xFF) for shift in (16, 8, 0))


def default_triple() -> str:
    """Return the triple of the machine that LLVM runs on."""
    return _text("GetDefaultTargetTriple")


def _make_machine(triple: str, cpu: str, position_independent: bool) -> int:
    calls = _functions()
    message = ctypes.c_char_p()
    target = calls["GetTargetFromTriple"](triple.encode(), message)
    if not target:
        raise InternalError(f"LLVM has no target {triple}: {_take(message)}")
    model = (b"pic", b"small") if position_independent else (b"default", b"jitdefault")
    found: int = calls["CreateTargetMachine"](target, triple.encode(), cpu.encode(), b"", 2, *model, 0, 0, b"")
    return found


class Module:
    """A module in LLVM's memory; `parse_module` makes it.

    Args:
        machine: the target machine to compile it for.
        module: LLVM's module.
    """

    def __init__(self, machine: int, module: int) -> None:
        self._machine = machine
        self._module = module

    def __str__(self) -> str:
        return _text("PrintModuleToString", self._module)

    def optimise(self, level: int = 1, *, unroll: bool = False) -> None:
        """Run the standard pipeline, without what makes code longer than the verifier likes.

        Args:
            level: as ``-O`` has it.  Of our BPF programs, 1 makes as few instructions as 2, in three quarters of the
                time.
            unroll: write small loops of a known length out.
        """
        with self._pass_builder(unroll) as builder:
            self._run(_functions()["buildPerModuleDefaultPipeline"](builder, level), builder)

    def simplify(self) -> None:
        """Inline what must be, take variables out of memory, and simplify instructions and branches.

        Our lowering of bpftrace's language leaves nothing else to do: its programs get 0.4 % more instructions than by
        `optimise`, in a third of the time.
        """
        calls = _functions()
        with self._pass_builder(unroll=False) as builder:
            # Level 0 is what the back end needs before anything else, and always_inline.
            self._run(calls["buildPerModuleDefaultPipeline"](builder, 0), builder)
            passes = calls["CreateNewModulePassManager"]()
            for name in ("SROA", "InstCombine", "SimplifyCFG"):
                calls[f"module_Add{name}Pass"](passes)
            self._run(passes, builder)

    @contextmanager
    def _pass_builder(self, unroll: bool) -> Iterator[int]:
        calls = _functions()
        options = calls["CreatePipelineTuningOptions"]()
        calls["PTOSetLoopUnrolling"](options, unroll)
        for name in ("LoopVectorization", "SLPVectorization", "LoopInterleaving"):
            calls[f"PTOSet{name}"](options, False)
        builder = calls["CreatePassBuilder"](self._machine, options)
        try:
            yield builder
        finally:
            calls["DisposePassBuilder"](builder)
            calls["DisposePipelineTuningOptions"](options)

    def _run(self, passes: int, builder: int) -> None:
        calls = _functions()
        calls["RunNewModulePassManager"](passes, self._module, builder)
        calls["DisposeNewModulePassManger"](passes)

    def emit_object(self) -> bytes:
        """Return the module as an object file (ELF)."""
        return self._emit(as_object=True)

    def emit_assembly(self) -> str:
        """Return the module as assembly text."""
        return self._emit(as_object=False).decode()

    def _emit(self, *, as_object: bool) -> bytes:
        calls = _functions()
        message = ctypes.c_char_p()
        buffer = calls["TargetMachineEmitToMemory"](self._machine, self._module, as_object, message)
        if not buffer:
            raise InternalError(f"LLVM cannot emit the module: {_take(message)}")
        try:
            return ctypes.string_at(calls["GetBufferStart"](buffer), calls["GetBufferSize"](buffer))
        finally:
            calls["DisposeMemoryBuffer"](buffer)


@contextmanager
def parse_module(text: str, triple: str, *, cpu: str = "", position_independent: bool = False) -> Iterator[Module]:
    """Parse and check LLVM IR; the module lives until the block ends.

    Args:
        text: the module.
        triple: the machine to compile it for.
        cpu: a CPU of that machine.
        position_independent: the code is to run at any address.

    Raises:
        InternalError: the text is malformed, which is a bug of the emitter.
        TargetError: llvmlite is missing, or is another release.
    """
    calls = _functions()
    machine = _make_machine(triple, cpu, position_independent)
    context = calls["ContextCreate"]()
    try:
        message = ctypes.c_char_p()
        module = calls["ParseAssembly"](context, text.encode(), message)
        if not module:
            raise InternalError(f"LLVM does not accept the generated code: {_take(message)}\n{text}")
        try:
            if calls["VerifyModule"](module, message):
                raise InternalError(f"LLVM does not accept the generated code: {_take(message)}\n{text}")
            yield Module(machine, module)
        finally:
            calls["DisposeModule"](module)
    finally:
        calls["ContextDispose"](context)
        calls["DisposeTargetMachine"](machine)
        drop_code(_FILE)


def _text(name: str, *arguments: int) -> str:
    out = ctypes.c_char_p()
    _functions()[name](*arguments, out)
    return _take(out)


def _take(text: ctypes.c_char_p) -> str:
    """Return a text of LLVM's, and free it."""
    value = (text.value or b"").decode(errors="replace")
    if text:
        _functions()["DisposeString"](text)
    return value
