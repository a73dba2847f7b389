"""Addresses to names and back, in BCC's spelling: ``name+0x1f [module]``, ``[unknown]``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from trapline.bcc.names import Name, to_bytes, to_text
from trapline.engine.machine import machine

UNKNOWN = b"[unknown]"
KERNEL_PID = -1


class FoundSymbol(Protocol):
    """A symbol as `trapline.runtime.symbols` finds it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def offset(self) -> int:
        """Bytes from its start to the address."""

    @property
    def module(self) -> str:
        """A kernel module (empty for the kernel proper) or a file."""


class SymbolSource(Protocol):
    """Finds symbols; `trapline.engine.dynamic.Machine` does."""

    def kernel_symbol(self, address: int) -> FoundSymbol | None:
        """Return the kernel symbol that covers an address."""

    def kernel_address(self, name: str) -> int | None:
        """Return the address of a kernel symbol."""

    def user_symbol(self, address: int, pid: int) -> FoundSymbol | None:
        """Return the symbol that covers an address of a process."""

    def user_address(self, name: str, module: str, pid: int) -> int | None:
        """Return the address of a symbol of a file mapped in a process."""


class SymbolCache:
    """Symbols of one process, or of the kernel (pid -1).

    Args:
        pid: the process.
        source: finds symbols; the running machine if not given.
    """

    def __init__(self, pid: int, source: SymbolSource | None = None) -> None:
        self.pid = pid
        self._source: SymbolSource = machine() if source is None else source

    def resolve(self, addr: int, demangle: bool = True) -> tuple[bytes | None, int, bytes | None]:
        """Return (name, offset into it, module) of an address; (``None``, address, ``None``) when it is unknown.

        C++ names stay mangled, whatever `demangle` says.
        """
        if self.pid == KERNEL_PID:
            found = self._source.kernel_symbol(addr)
            module = (found.module or "kernel") if found else ""
        else:
            found = self._source.user_symbol(addr, self.pid)
            module = found.module if found else ""
        if found is None:
            return None, addr, None
        return to_bytes(found.name), found.offset, to_bytes(module) if module else None

    def resolve_name(self, module: Name | None, name: Name) -> int:
        """Return the address of a symbol, -1 when there is none."""
        if self.pid == KERNEL_PID:
            found = self._source.kernel_address(to_text(name))
        else:
            found = self._source.user_address(to_text(name), to_text(module) if module else "", self.pid)
        return -1 if found is None else found


def format_symbol(
    resolve: Callable[[int], tuple[bytes | None, int, bytes | None]],
    addr: int,
    *,
    show_module: bool,
    show_offset: bool,
) -> bytes:
    """Return an address as BCC shows it: its symbol, ``+0xOFFSET`` and ``[MODULE]`` if asked for."""
    name, offset, module = resolve(addr)
    text = UNKNOWN if name is None else name
    if show_offset and name is not None:
        text += b"+0x%x" % offset
    if show_module and module is not None:
        text += b" [%s]" % os.path.basename(module)
    return text


def is_build_id(addr: Any) -> bool:
    """Whether a stack's element is a ``struct bpf_stack_build_id`` instead of an address."""
    return "bpf_stack_build_id" in type(addr).__name__
