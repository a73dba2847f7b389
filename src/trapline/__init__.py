"""trapline: a dynamic tracer for Linux, as a Python package.

import trapline

with trapline.Session('kprobe:do_nanosleep { printf("%s %d", comm, pid) }') as session:
    for event in session.events(timeout=10):
        print(event.comm, event.pid)
"""

from __future__ import annotations

from trapline.hints import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trapline.api import Session, TraplineWarning, compile_program, probes
    from trapline.errors import (
        AttachError,
        ClosedError,
        DecodeError,
        FeatureMissingError,
        InternalError,
        KernelError,
        MapError,
        NoSuchProbeError,
        ParseError,
        PrivilegeError,
        SemanticError,
        SourceError,
        TargetError,
        TraplineError,
        UnsupportedError,
        VerifierError,
    )
    from trapline.runtime.typed import TypedEvent

# Where each public name lives; it is imported when it is first used, so that `import trapline` costs nothing.
_HOMES = {
    "Session": "trapline.api",
    "TraplineWarning": "trapline.api",
    "compile_program": "trapline.api",
    "probes": "trapline.api",
    "TypedEvent": "trapline.runtime.typed",
    "AttachError": "trapline.errors",
    "ClosedError": "trapline.errors",
    "DecodeError": "trapline.errors",
    "FeatureMissingError": "trapline.errors",
    "InternalError": "trapline.errors",
    "KernelError": "trapline.errors",
    "MapError": "trapline.errors",
    "NoSuchProbeError": "trapline.errors",
    "ParseError": "trapline.errors",
    "PrivilegeError": "trapline.errors",
    "SemanticError": "trapline.errors",
    "SourceError": "trapline.errors",
    "TargetError": "trapline.errors",
    "TraplineError": "trapline.errors",
    "UnsupportedError": "trapline.errors",
    "VerifierError": "trapline.errors",
}

__all__ = [
    "AttachError",
    "ClosedError",
    "DecodeError",
    "FeatureMissingError",
    "InternalError",
    "KernelError",
    "MapError",
    "NoSuchProbeError",
    "ParseError",
    "PrivilegeError",
    "SemanticError",
    "Session",
    "SourceError",
    "TargetError",
    "TraplineError",
    "TraplineWarning",
    "TypedEvent",
    "UnsupportedError",
    "VerifierError",
    "compile_program",
    "probes",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'trapline' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
