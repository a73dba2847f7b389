"""Code generation: IR through LLVM to BPF bytecode."""

from __future__ import annotations

from trapline.codegen.compile import compile_module

__all__ = ["compile_module"]
