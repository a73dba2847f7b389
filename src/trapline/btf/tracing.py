"""What the kernel's types say about its hooks for tracing: raw tracepoints and iterators."""

from __future__ import annotations

from collections.abc import Sequence

from trapline.btf import types as t
from trapline.btf.database import Btf

_CONTEXT = "bpf_iter__"


def raw_tracepoint_params(btf: Btf, name: str) -> Sequence[t.Param] | None:
    """Return the parameters of a raw tracepoint, or ``None`` where the types do not describe it.

    The kernel's typedef ``btf_trace_NAME`` has their types alone; two functions of the same prototype name them too.
    """
    found = (
        btf.func("__traceiter_" + name) or btf.func("__bpf_trace_" + name) or btf.find("btf_trace_" + name, t.Typedef)
    )
    return None if found is None else btf.params(found)[1:]  # the first one is the tracepoint's private data


def iterator_names(btf: Btf) -> list[str]:
    """Return the names of the iterators, sorted.

    Each has a context, ``struct bpf_iter__NAME``, and a hook, ``bpf_iter_NAME()``. Structs without the function are
    annotations for the verifier (``bpf_iter__task__safe_trusted``).
    """
    tags = {btf.name_of(number) for number in btf.ids(t.Struct)}
    names = sorted(tag[len(_CONTEXT) :] for tag in tags if tag.startswith(_CONTEXT))
    return [name for name in names if btf.func("bpf_iter_" + name) is not None]
