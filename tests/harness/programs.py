"""Compile, load and run one program built with `Builder`, without the engine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from trapline.btf.ext import FuncInfo, encode_func_info
from trapline.btf.write import BtfBuilder
from trapline.codegen import compile_module
from trapline.ir.builder import Builder
from trapline.ir.function import Function, Op
from trapline.ir.spec import MapSpec, ModuleSpec, ObjectProgram, ProgramSpec
from trapline.kernel.map import Map
from trapline.kernel.program import LoadOptions, Program

SLOTS = 32
OUT = MapSpec("out", "ARRAY", 4, 8 * SLOTS, 1)


@dataclass
class Loaded:
    """A loaded program with its maps."""

    spec: ObjectProgram
    program: Program
    maps: dict[str, Map]

    def run(self, *context: int) -> int:
        """Run it once with u64 arguments as its context; return its result."""
        data = struct.pack(f"<{len(context)}Q", *(value & (1 << 64) - 1 for value in context))
        return self.program.run(data)

    def out(self) -> list[int]:
        """Return the u64 slots of the map ``out``."""
        value = self.maps["out"].lookup(bytes(4))
        assert value is not None
        return list(struct.unpack(f"<{SLOTS}Q", value))


def make_module(
    function: Function,
    *,
    type: str = "RAW_TRACEPOINT",
    maps: Sequence[MapSpec] = (),
    subprograms: Sequence[Function] = (),
    source: str = "",
) -> ModuleSpec:
    """Return a module with one program and the map ``out``."""
    program = ProgramSpec("test", type, function, label="test", subprograms=tuple(subprograms))
    return ModuleSpec("stdin", source, (program,), maps=(OUT, *maps))


@contextmanager
def loaded(module: ModuleSpec, *, cpu: str = "v3") -> Iterator[Loaded]:
    """Compile a module for the running kernel and load its first program."""
    spec = compile_module(module, None, cpu=cpu)  # type: ignore[arg-type]
    program = spec.programs[0]
    with ExitStack() as stack:
        maps = {m.name: stack.enter_context(Map.create(m)) for m in spec.maps}
        btf = func_info = b""
        if len(program.subprograms) > 1:
            btf, func_info = describe_functions(program)
        options = LoadOptions(map_fds={n: m.fileno() for n, m in maps.items()}, btf=btf, func_info=func_info)
        yield Loaded(program, stack.enter_context(Program.load(program, options)), maps)


def describe_functions(program: ObjectProgram) -> tuple[bytes, bytes]:
    """Return BTF and func_info for a program with callbacks."""
    builder = BtfBuilder()
    word = builder.add_int("u64", 8)
    records = []
    for function in program.subprograms:
        params = [(f"a{i}", word) for i in range(function.parameters)]
        records.append(FuncInfo(function.index, builder.add_func(function.name, params, word)))
    return builder.build(), encode_func_info(records)


def run_slots(build: Callable[[Builder], Sequence[Op] | None], *context: int, **module: object) -> list[int]:
    """Build, load and run a program whose values go to ``out`` as u64; return as many slots."""
    b = Builder("test")
    values = build(b) or ()
    for index, value in enumerate(values):
        b.store(value, b.map_value("out", 8 * index))
    b.ret(b.i64(0))
    with loaded(make_module(b.finish(), **module)) as program:  # type: ignore[arg-type]
        assert program.run(*context) == 0
        return program.out()[: max(len(values), 1)]
