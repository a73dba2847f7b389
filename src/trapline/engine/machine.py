"""`Machine`: the running kernel as an embedding program sees it: probes, symbols, types, rings, counters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING

from trapline.abi.elf import Elf
from trapline.abi.perf import PerfEventAttr
from trapline.btf.types import Enum, Enum64, Struct, Union
from trapline.errors import DecodeError, NoSuchProbeError
from trapline.runtime.symbols import KernelSymbols, Symbol, UserSymbols
from trapline.syscall.binaries import mapped_binaries
from trapline.syscall.perf import open_perf_event
from trapline.syscall.perfring import PerfRing
from trapline.syscall.process import read_memory_maps
from trapline.syscall.tracefs import tracefs_path

if TYPE_CHECKING:
    from trapline.engine.user_probes import UserProbe
    from trapline.kernel.target import LiveTarget
    from trapline.syscall.fd import Fd

_STT_FUNC = (2, 10)  # STT_FUNC, STT_GNU_IFUNC


class Machine:
    """The running kernel as an embedding program sees it; everything is read once, when it is first asked for."""

    @cached_property
    def target(self) -> LiveTarget:
        """The kernel as a compiler sees it."""
        from trapline.engine.host import live_target

        return live_target()

    # -- rings and counters

    def open_perf_ring(self, cpu: int, pages: int, wakeup_events: int = 1) -> PerfRing:
        """Open a CPU's ring for samples of a PERF_EVENT_ARRAY."""
        return PerfRing(cpu, pages, wakeup_events=wakeup_events)

    def open_counter(self, type: int, config: int, pid: int, cpu: int) -> Fd:
        """Open a counting perf event."""
        attr = PerfEventAttr(type=type, config=config)
        return open_perf_event(attr, pid=pid, cpu=cpu, what=f"perf event {type}:{config} on CPU {cpu}")

    def trace_pipe_path(self) -> str:
        """Return the path of the kernel's trace pipe.

        Raises:
            TargetError: tracefs is not mounted.
        """
        return f"{tracefs_path()}/trace_pipe"

    # -- probes

    def functions(self) -> Sequence[str]:
        """Return the names of all traceable functions, sorted."""
        return self.target.functions("*")

    def tracepoints(self) -> Sequence[tuple[str, str]]:
        """Return the (category, name) of all tracepoints, sorted."""
        return self.target.tracepoints("*", "*")

    def has_tracepoint(self, category: str, name: str) -> bool:
        """Whether there is such a tracepoint."""
        try:
            self.target.tracepoint_format(category, name)
        except NoSuchProbeError:
            return False
        return True

    # -- types

    @property
    def has_btf(self) -> bool:
        """Whether the kernel describes its types."""
        return self.target.has_btf

    def has_field(self, struct: str, field: str) -> bool | None:
        """Whether a struct or union has a field (also inside anonymous members); ``None`` if there is no such type.

        Raises:
            FeatureMissingError: the kernel has no BTF.
        """
        btf = self.target.btf
        number = btf.find(struct, Struct, Union)
        return None if number is None else btf.field(number, field) is not None

    def has_enumerator(self, enum: str, name: str) -> bool | None:
        """Whether an enum has an enumerator; ``None`` if there is no such type.

        Raises:
            FeatureMissingError: the kernel has no BTF.
        """
        btf = self.target.btf
        number = btf.find(enum, Enum, Enum64)
        if number is None:
            return None
        found = btf.type(number)
        return isinstance(found, (Enum, Enum64)) and any(value.name == name for value in found.values)

    # -- symbols

    def kernel_address(self, name: str) -> int | None:
        """Return the address of a kernel symbol."""
        found = self.target.symbols.find(name)
        return found[0].address if found else None

    @cached_property
    def _kernel_symbols(self) -> KernelSymbols:
        return KernelSymbols(lambda: self.target.symbols)

    def kernel_symbol(self, address: int) -> Symbol | None:
        """Return the kernel symbol that covers an address."""
        return self._kernel_symbols.find(address)

    @cached_property
    def _user_symbols(self) -> UserSymbols:
        return UserSymbols(self.file_functions)

    def user_symbol(self, address: int, pid: int) -> Symbol | None:
        """Return the symbol that covers an address of a process."""
        return self._user_symbols.find(address, pid)

    def user_address(self, name: str, module: str, pid: int) -> int | None:
        """Return where a function of a file is mapped in a process, ``None`` if it is not.

        Args:
            name: the function.
            module: the file's path; empty for any file of the process.
            pid: the process.
        """
        for mapping in read_memory_maps(pid):
            if not mapping.executable or mapping.path[:1] != "/" or (module and mapping.path != module):
                continue
            for offset, _, symbol in self.file_functions(mapping.path):
                if symbol == name and mapping.offset <= offset < mapping.offset + mapping.end - mapping.start:
                    return mapping.start + offset - mapping.offset
        return None

    # -- USDT probes

    def process_probes(self, pid: int) -> Sequence[UserProbe]:
        """Return the USDT probes of all files that a process has mapped as code."""
        return self._probes(mapped_binaries([pid]))

    def file_probes(self, path: str) -> Sequence[UserProbe]:
        """Return the USDT probes of a file."""
        return self._probes([path])

    def _probes(self, paths: Sequence[str]) -> Sequence[UserProbe]:
        from trapline.engine.user_probes import read_user_probes

        return read_user_probes(self.target.user_files, paths, self.target.arch.name)

    # -- files

    def file_functions(self, path: str) -> Sequence[tuple[int, int, str]]:
        """Return (offset in the file, size in bytes, name) of the functions of an ELF file; nothing if it is none."""
        if path not in self._file_functions:
            self._file_functions[path] = _read_functions(path)
        return self._file_functions[path]

    @cached_property
    def _file_functions(self) -> dict[str, list[tuple[int, int, str]]]:
        return {}

    def file_offset(self, path: str, address: int) -> int:
        """Return the offset in the file of a virtual address of an ELF file.

        Raises:
            NoSuchProbeError: the file is no ELF file, or the address is not in it.
        """
        elf = _open_elf(path)
        offset = elf.file_offset(address) if elf is not None else None
        if offset is None:
            raise NoSuchProbeError(f"address {address:#x} is not in {path}")
        return offset


def _open_elf(path: str) -> Elf | None:
    try:
        with open(path, "rb") as file:
            return Elf(file.read())
    except (OSError, DecodeError):
        return None


def _read_functions(path: str) -> list[tuple[int, int, str]]:
    elf = _open_elf(path)
    if elf is None:
        return []
    found: list[tuple[int, int, str]] = []
    seen: set[tuple[int, str]] = set()
    for table in elf.symbol_tables():
        for symbol in elf.symbols(table):
            if not symbol.defined or symbol.type not in _STT_FUNC:
                continue
            offset = elf.file_offset(symbol.value)
            # glibc versions its symbols: the name is what stands before the "@".
            name = symbol.name.partition("@")[0]
            if offset is not None and (offset, name) not in seen:
                seen.add((offset, name))
                found.append((offset, symbol.size, name))
    return found


@cache
def machine() -> Machine:
    """Return the running kernel; one object for the whole process."""
    return Machine()
