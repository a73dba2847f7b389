"""LLVM: parse, optimise, emit.  The only module that imports llvmlite, and only when code must be generated."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trapline.errors import InternalError, SemanticError
from trapline.source import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Callable

_BRANCH_LIMIT = 32767
_LARGE_TEXT = 500_000
DATA_LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"


@lru_cache(maxsize=1)
def _binding() -> Any:
    """Return ``llvmlite.binding`` with the BPF back end registered (import: about 70 ms)."""
    import llvmlite.binding as binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    # LLVM ends the process where it thinks that the frame is too large; the limit is checked on the bytecode instead.
    binding.set_option("trapline", "-bpf-stack-size=65536")
    return binding


def version() -> str:
    """Return LLVM's version."""
    return ".".join(map(str, _binding().llvm_version_info))


@lru_cache(maxsize=4)
def _machine(cpu: str) -> Any:
    return _binding().Target.from_triple("bpf").create_target_machine(cpu=cpu, opt=2)


def parse_module(text: str) -> Any:
    """Parse LLVM IR.

    Raises:
        InternalError: the text is malformed, which is a bug of the emitter.
    """
    try:
        module = _binding().parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM does not accept the generated code: {error}\n{text}") from error
    return module


def optimise_module(module: Any, machine: Any) -> None:
    """Run the standard pipeline (O2), without what makes code longer than the verifier likes."""
    binding = _binding()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = False
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def link_native(text: str) -> Any:
    """Compile LLVM IR for this machine and return the engine that holds the code (it must be kept alive)."""
    binding = _binding()
    machine = binding.Target.from_default_triple().create_target_machine(opt=2)
    module = parse_module(f'target triple = "{machine.triple}"\n{text}')
    optimise_module(module, machine)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def compile_native_object(text: str, triple: str = "") -> bytes:
    """Compile LLVM IR to a position-independent object file (ELF) for any CPU of an architecture, by default ours."""
    target = _binding().Target.from_triple(triple) if triple else _binding().Target.from_default_triple()
    machine = target.create_target_machine(opt=2, reloc="pic", codemodel="small")
    module = parse_module(f'target triple = "{machine.triple}"\n{text}')
    optimise_module(module, machine)
    return bytes(machine.emit_object(module))


def compile_bpf(text: str, cpu: str, dump: Callable[[str, str], None] | None = None) -> bytes:
    """Compile LLVM IR to a BPF object file (ELF).

    Args:
        text: the module, without data layout and triple.
        cpu: the BPF instruction set: ``v3`` (Linux 5.8) or ``v4`` (6.6).
        dump: called with ``codegen-opt`` and the optimised module.
    """
    machine = _machine(cpu)
    module = parse_module(f'target datalayout = "{DATA_LAYOUT}"\ntarget triple = "bpf"\n{text}')
    optimise_module(module, machine)
    if dump is not None:
        dump("codegen-opt", str(module))
    if len(text) > _LARGE_TEXT and (distance := farthest_branch(machine.emit_assembly(module))) > _BRANCH_LIMIT:
        hint = "Split the block with the large if or while into several probes."
        message = f"a branch of the program goes over {distance} instructions, and at most {_BRANCH_LIMIT} are possible"
        raise SemanticError([Diagnostic(message, None, hints=(hint,))])
    return bytes(machine.emit_object(module))


def farthest_branch(assembly: str) -> int:
    """Return the greatest distance of a branch and its target in BPF assembly text, in instructions.

    LLVM ends the process where a branch does not fit 16 bits.
    """
    places: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    at = 0
    for line in assembly.splitlines():
        if line.startswith("\t") and not line.startswith("\t."):
            words = line.split("#", 1)[0].split()
            if len(words) > 1 and words[-2] == "goto":
                branches.append((at, words[-1]))
            at += 2 if words and words[-1] == "ll" else 1
        elif line.endswith(":") or ":" in line.split("#", 1)[0]:
            places[line.split(":", 1)[0]] = at
    return max((abs(places.get(label, place) - place - 1) for place, label in branches), default=0)
