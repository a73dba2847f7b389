"""Read kernel and user memory by helper calls.

Only loads through KERNEL, USER and UNKNOWN pointers change.  Each becomes one probe read into a variable, which the
kernel zeroes when the address cannot be read::

    %3: i32 = load %2          (%2: ptr<kernel>)       %4: i64 = helper probe_read_kernel(%0, i64 4, %2)
                                                       %3: i32 = load %0

Copies from there, and from BTF-typed memory (a wide copy would cross fields, which the verifier forbids), become one
probe read into their target.  So does a load from a computed place of the context, where the context is memory: the
verifier allows constant places only, and whether a loop is unrolled is not ours to promise.  A store through such a
pointer is the user's mistake and is reported.
"""

from __future__ import annotations

from trapline.errors import SemanticError
from trapline.ir import function as f
from trapline.ir.passes.provenance import NETWORK_TYPES
from trapline.ir.spec import ModuleSpec
from trapline.ir.types import I64, Ptr, Space
from trapline.source import Diagnostics, Source, Span

READERS = {
    Space.KERNEL: "probe_read_kernel",
    Space.USER: "probe_read_user",
    Space.UNKNOWN: "probe_read",
    Space.BTF: "probe_read_kernel",
}
_STACK = Ptr(Space.STACK)
# Programs whose context lies in memory as they see it; the accesses of others are rewritten by the kernel.
_CONTEXT_IN_MEMORY = frozenset({"KPROBE", "TRACEPOINT", "RAW_TRACEPOINT", "TRACING", "LSM"})
_WHERE = {
    Space.KERNEL: "kernel memory",
    Space.USER: "user memory",
    Space.UNKNOWN: "memory that is not known to be the program's own",
    Space.BTF: "kernel memory",
    Space.CTX: "the context",
}


def read_indirect(module: ModuleSpec) -> None:
    """Replace indirect loads and copies of all functions by probe reads.

    Raises:
        SemanticError: the program writes where only reading is possible.
    """
    diagnostics = Diagnostics()
    source = Source(module.source_name, module.source_text)
    for program in module.programs:
        for function in (program.function, *program.subprograms):
            _rewrite(function, program.type, diagnostics, source)
    if diagnostics.errors:
        raise SemanticError(diagnostics.items)


def _rewrite(function: f.Function, type: str, diagnostics: Diagnostics, source: Source) -> None:
    memory_context = type in _CONTEXT_IN_MEMORY
    # A value is taken out of the variable right after the call that fills it, so that all reads share one.
    buffer: f.Local | None = None
    for block in function.blocks:
        ops: list[f.Op] = []
        for op in block.ops:
            if isinstance(op, f.Load):
                space = _space(op.pointer)
                if space is Space.CTX and memory_context and _is_computed(op.pointer):
                    space = Space.KERNEL
                if space in READERS and space is not Space.BTF:
                    if buffer is None:
                        buffer = f.Local(_STACK, 8, name="read", scratch=False)
                    buffer.size = max(buffer.size, op.type.size)
                    ops += _probe_read(READERS[space], buffer, op.type.size, op.pointer, op.span)
                    op.pointer = buffer
            elif isinstance(op, f.Copy):
                space = _space(op.source)
                _check_target(op, op.target, diagnostics, source)
                if space in READERS:
                    ops += _probe_read(READERS[space], op.target, op.size, op.source, op.span)
                    continue
            elif isinstance(op, f.Store):
                if _space(op.pointer) is Space.CTX and type in NETWORK_TYPES:
                    ops.append(op)  # which members may be written is the verifier's to say
                    continue
                _check_target(op, op.pointer, diagnostics, source)
            elif isinstance(op, f.Fill):
                _check_target(op, op.target, diagnostics, source)
            elif isinstance(op, f.Atomic):
                _check_target(op, op.pointer, diagnostics, source)
            ops.append(op)
        block.ops[:] = ops
    if buffer is not None:
        function.blocks[0].ops.insert(0, buffer)


def _space(pointer: f.Op) -> Space:
    return pointer.type.space if isinstance(pointer.type, Ptr) else Space.UNKNOWN


def _is_computed(pointer: f.Op) -> bool:
    """Whether a pointer is a base plus something that only the running program knows."""
    while True:
        if isinstance(pointer, f.Offset):
            index = pointer.index
            while isinstance(index, f.Convert):
                index = index.value
            if index is not None and not isinstance(index, f.Const):
                return True
            pointer = pointer.pointer
        elif isinstance(pointer, f.Convert) and pointer.operation == "space":
            pointer = pointer.value
        else:
            return False


def _probe_read(helper: str, target: f.Op, size: int, pointer: f.Op, span: f.SpanT | None) -> list[f.Op]:
    count = f.Const(I64, size, span=span)
    return [count, f.Helper(I64, helper, (target, count, pointer), span=span)]


def _check_target(op: f.Op, pointer: f.Op, diagnostics: Diagnostics, source: Source) -> None:
    space = _space(pointer)
    if space not in _WHERE:
        return
    span = Span(source, *op.span) if op.span is not None else None
    hints = ("bpf_probe_write_user() writes to user memory",) if space in (Space.USER, Space.UNKNOWN) else ()
    diagnostics.error(f"a BPF program cannot write to {_WHERE[space]}", span, *hints)
