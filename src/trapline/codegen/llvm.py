"""LLVM IR to object files, for BPF and for this machine."""

from __future__ import annotations

from trapline.codegen.llvm_library import default_triple, parse_module, version
from trapline.errors import SemanticError
from trapline.hints import TYPE_CHECKING, Any
from trapline.source import Diagnostic

__all__ = ["DATA_LAYOUT", "compile_bpf", "compile_native_object", "farthest_branch", "link_native", "version"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from trapline.ir.spec import Optimiser

_BRANCH_LIMIT = 32767
_LARGE_TEXT = 500_000
DATA_LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"


def link_native(text: str) -> Any:
    """Compile LLVM IR for this machine and return the engine that holds the code (it must be kept alive)."""
    import llvmlite.binding as binding  # only here, for tests: its engines

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_default_triple().create_target_machine(opt=2)
    with parse_module(f'target triple = "{machine.triple}"\n{text}', machine.triple) as module:
        module.optimise(2)
        optimised = binding.parse_assembly(str(module))
    engine = binding.create_mcjit_compiler(optimised, machine)
    engine.finalize_object()
    return engine


def compile_native_object(text: str, triple: str = "") -> bytes:
    """Compile LLVM IR to a position-independent object file (ELF) for any CPU of an architecture, by default ours."""
    triple = triple or default_triple()
    with parse_module(f'target triple = "{triple}"\n{text}', triple, position_independent=True) as module:
        module.optimise(2)
        return module.emit_object()


def compile_bpf(
    text: str, cpu: str, dump: Callable[[str, str], None] | None = None, optimiser: Optimiser = "standard"
) -> bytes:
    """Compile LLVM IR to a BPF object file (ELF).

    Args:
        text: the module, without data layout and triple.
        cpu: the BPF instruction set: ``v3`` (Linux 5.8) or ``v4`` (6.6).
        dump: called with ``codegen-opt`` and the optimised module.
        optimiser: what LLVM's optimiser does; see `Optimiser`.

    Raises:
        SemanticError: a branch of the program is too long.
        TargetError: llvmlite is missing, or is another release.
    """
    with parse_module(f'target datalayout = "{DATA_LAYOUT}"\ntarget triple = "bpf"\n{text}', "bpf", cpu=cpu) as module:
        if optimiser == "light":
            module.simplify()
        else:
            module.optimise(unroll=optimiser == "unrolling")
        if dump is not None:
            dump("codegen-opt", str(module))
        if len(text) > _LARGE_TEXT and (distance := farthest_branch(module.emit_assembly())) > _BRANCH_LIMIT:
            hint = "Split the block with the large if or while into several probes."
            message = (
                f"a branch of the program goes over {distance} instructions, and at most {_BRANCH_LIMIT} are possible"
            )
            raise SemanticError([Diagnostic(message, None, hints=(hint,))])
        return module.emit_object()


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
