"""`RecordingTarget`: notes which changeable facts of the machine a compilation asked for.

A compiled program may be reused only while those facts hold: the functions that a wildcard matched (modules come and
go), a symbol's address (another boot), a tracepoint's format.  What the kernel's build fixes is in `Target.identity`
instead.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.ir.target import Target

# The methods whose answers can change while the kernel stays the same.
_CHANGEABLE = frozenset(
    {"functions", "function_modules", "tracepoints", "tracepoint_format", "symbol_address", "module_btf", "near_probes"}
)

Fact = tuple[str, tuple[str, ...], str]  # method, arguments, digest of the answer


def digest(answer: object) -> str:
    """Return a short digest of a target's answer."""
    name = getattr(answer, "identity", None)  # a BTF is its own identity, not its 5 MB
    return hashlib.sha256(repr(answer if name is None else name).encode("utf-8", "surrogateescape")).hexdigest()[:24]


class RecordingTarget:
    """Passes everything on to `target` and collects `facts`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.facts: dict[tuple[str, tuple[str, ...]], str] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name not in _CHANGEABLE:
            return value

        def ask(*arguments: str) -> Any:
            answer = value(*arguments)
            self.facts[(name, arguments)] = digest(answer)
            return answer

        return ask


def still_true(target: Target, facts: list[Fact]) -> bool:
    """Whether the machine would give the same answers as when `facts` were recorded."""
    for name, arguments, expected in facts:
        if name not in _CHANGEABLE or digest(getattr(target, name)(*arguments)) != expected:
            return False
    return True
