"""Addresses to names and back, in BCC's spelling: ``name+0x1f [module]``, ``[unknown]``."""

from __future__ import annotations

import os
from collections.abc import Callable

from trapline.bcc.names import Name, to_bytes, to_text
from trapline.engine.machine import machine
from trapline.hints import Any, Protocol

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

    def user_place(self, address: int, pid: int) -> tuple[str, int] | None:
        """Return the file that an address of a process is mapped from, and the offset in it."""

    def demangle(self, name: str) -> str:
        """Return the readable form of a C++ symbol."""


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
        """Return (name, offset into it, module) of an address.

        Where no function is, the name is ``None`` and the offset is in the file; where no file is, (``None``, address,
        ``None``).

        Args:
            addr: the address.
            demangle: show C++ names as they are written.
        """
        if self.pid == KERNEL_PID:
            found = self._source.kernel_symbol(addr)
            return (
                (None, addr, None) if found is None else (to_bytes(found.name), found.offset, _module(found, "kernel"))
            )
        found = self._source.user_symbol(addr, self.pid)
        if found is None:
            place = self._source.user_place(addr, self.pid)
            return (None, addr, None) if place is None else (None, place[1], to_bytes(place[0]))
        name = self._source.demangle(found.name) if demangle else found.name
        return to_bytes(name), found.offset, _module(found, "", self.pid)

    def resolve_name(self, module: Name | None, name: Name) -> int:
        """Return the address of a symbol, -1 when there is none."""
        if self.pid == KERNEL_PID:
            found = self._source.kernel_address(to_text(name))
        else:
            found = self._source.user_address(to_text(name), to_text(module) if module else "", self.pid)
        return -1 if found is None else found


def _module(symbol: FoundSymbol, default: str, pid: int = 0) -> bytes | None:
    # BCC names code of a just-in-time compiler by the file that tells its names.
    module = f"/tmp/perf-{pid}.map" if symbol.module == "[jit]" else symbol.module or default
    return to_bytes(module) if module else None


def resolve_build_id(source: BuildIdSource, entry: Any, pid: int) -> tuple[bytes | None, int, bytes | None]:
    """Return (name, offset into it, module) of an element of a stack with build ids, as `SymbolCache.resolve` does.

    Args:
        source: knows the files that ``BPF.add_module`` was given, and those of processes.
        entry: a ``struct bpf_stack_build_id``: `status`, `build_id`, and `offset` in the file.
        pid: the process whose stack it is.
    """
    found = source.build_id_symbol(bytes(entry.build_id).hex(), entry.offset, pid)
    if found is None:
        return None, entry.offset, None
    return to_bytes(found.name) if found.name else None, found.offset, to_bytes(found.module)


class BuildIdSource(Protocol):
    """Finds symbols by build ids; `trapline.engine.machine.Machine` does."""

    def build_id_symbol(self, build_id: str, offset: int, pid: int = -1) -> FoundSymbol | None:
        """Return the symbol at an offset of the file with a build id; with an empty name where there is none."""


def format_symbol(
    resolve: Callable[[Any], tuple[bytes | None, int, bytes | None]],
    addr: Any,
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
