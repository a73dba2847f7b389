"""Addresses → symbols: the kernel's through kallsyms, a process's through its mapped ELF files and perf map."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from trapline.syscall.kallsyms import read_kallsyms
from trapline.syscall.process import MemoryMap, parse_memory_maps

# A symbol of an ELF file: its offset in the file, its size in bytes (0 when unknown), its name.
FileSymbol = tuple[int, int, str]

_FAR = 1 << 24  # no kernel symbol is so large: an address further behind one belongs to none


class Symbol(NamedTuple):
    """Where an address lies: `offset` bytes into `name`, in `module` (a kernel module or a file; may be empty)."""

    name: str
    offset: int
    module: str = ""


class SymbolTable:
    """Symbols sorted by address.

    Args:
        symbols: (address, size, name, module); a size of 0 means "up to the next symbol".
    """

    def __init__(self, symbols: Iterable[tuple[int, int, str, str]]) -> None:
        # Of several symbols at one address the first one is kept.
        entries = sorted(symbols, key=lambda symbol: symbol[0])
        self._entries = [
            entry
            for previous, entry in zip([None, *entries], entries, strict=False)
            if previous is None or previous[0] != entry[0]
        ]
        self._addresses = [entry[0] for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, address: int) -> Symbol | None:
        """Return the symbol that covers `address`, or ``None``."""
        place = bisect_right(self._addresses, address) - 1
        if place < 0:
            return None
        start, size, name, module = self._entries[place]
        if size and address >= start + size:
            return None
        return Symbol(name, address - start, module)


class KernelTable(Protocol):
    """The kernel's symbols; `trapline.syscall.kallsyms.SymbolTable` is the real one."""

    def symbolize(self, address: int) -> tuple[str, int, str] | None:
        """Return (name, offset into it, module), or ``None`` below the first symbol."""


class KernelSymbols:
    """The running kernel's symbols, read when the first one is asked for.

    A BPF program or a module may have come since the table was read: an address far behind its symbol makes us read
    again, but not more often than once a second.

    Args:
        load: returns the table; it may be one that was read before.
        reload: reads the table.
    """

    def __init__(
        self, load: Callable[[], KernelTable] = read_kallsyms, reload: Callable[[], KernelTable] = read_kallsyms
    ) -> None:
        self._load = load
        self._reload = reload
        self._table: KernelTable | None = None
        self._reloaded_at = float("-inf")
        self._found: dict[int, Symbol | None] = {}

    def find(self, address: int) -> Symbol | None:
        """Return the symbol that covers `address`, or ``None`` (below all of them, far behind one, or hidden)."""
        if address in self._found:
            return self._found[address]
        if self._table is None:
            self._table = self._load()
        symbol = self._covering(address)
        if symbol is None and address >> 63 and time.monotonic() - self._reloaded_at > 1.0:
            self._reloaded_at = time.monotonic()
            self._table = self._reload()
            symbol = self._covering(address)
        self._found[address] = symbol
        return symbol

    def _covering(self, address: int) -> Symbol | None:
        assert self._table is not None
        found = self._table.symbolize(address)
        return Symbol(*found) if found and found[1] < _FAR else None


def parse_perf_map(text: str) -> list[tuple[int, int, str, str]]:
    """Return the symbols of a just-in-time compiler's ``/tmp/perf-PID.map``: ``START SIZE NAME``, both hexadecimal."""
    found = []
    for line in text.splitlines():
        parts = line.split(None, 2)
        if len(parts) == 3:
            try:
                found.append((int(parts[0], 16), int(parts[1], 16), parts[2], "[jit]"))
            except ValueError:
                continue
    return found


class UserSymbols:
    """Symbols of processes; files are read once, mappings once per process and again when an address is not in them.

    Args:
        read_file_symbols: returns the function symbols of an ELF file, by file offset; empty when it has none or cannot
            be read.
        root: where ``/proc`` is.
    """

    def __init__(
        self, read_file_symbols: Callable[[str], Sequence[FileSymbol]], *, root: str = "", refresh: bool = True
    ) -> None:
        self._read_file_symbols = read_file_symbols
        self._root = root
        self._refresh = refresh
        self._files: dict[str, SymbolTable] = {}
        self._processes: dict[int, tuple[list[MemoryMap], SymbolTable | None]] = {}
        self._found: dict[tuple[int, int], Symbol | None] = {}

    def find(self, address: int, pid: int) -> Symbol | None:
        """Return the symbol that covers `address` in process `pid`, or ``None``."""
        key = (pid, address)
        if key not in self._found:
            self._found[key] = self._find(address, pid)
        return self._found[key]

    def forget(self, pid: int) -> None:
        """Drop what is known about a process (it ended, or ran another program)."""
        self._processes.pop(pid, None)
        self._found = {key: symbol for key, symbol in self._found.items() if key[0] != pid}

    def _find(self, address: int, pid: int) -> Symbol | None:
        known = pid in self._processes
        found = self._find_once(address, pid)
        if found is None and known and self._refresh:
            before = self._processes.pop(pid)
            found = self._find_once(address, pid)
            if not self._processes[pid][0]:  # it is gone meanwhile: what was known stays
                self._processes[pid] = before
        return found

    def _find_once(self, address: int, pid: int) -> Symbol | None:
        if pid not in self._processes:
            self._processes[pid] = self._read_process(pid)
        mappings, jit = self._processes[pid]
        for mapping in mappings:
            if mapping.start <= address < mapping.end:
                symbol = self._file(pid, mapping.path).find(address - mapping.start + mapping.offset)
                if symbol is None:
                    return None
                return Symbol(symbol.name, symbol.offset, mapping.path)
        return jit.find(address) if jit else None

    def _read_process(self, pid: int) -> tuple[list[MemoryMap], SymbolTable | None]:
        text = _read_text(f"{self._root}/proc/{pid}/maps")
        mappings = [mapping for mapping in parse_memory_maps(text) if mapping.executable and mapping.path[:1] == "/"]
        jit = parse_perf_map(_read_text(f"{self._root}/proc/{pid}/root/tmp/perf-{pid}.map"))
        return mappings, SymbolTable(jit) if jit else None

    def _file(self, pid: int, path: str) -> SymbolTable:
        if path not in self._files:
            symbols = self._read_file_symbols(f"{self._root}/proc/{pid}/root{path}")
            if not symbols:  # the process may be gone, or in another root
                symbols = self._read_file_symbols(path)
            self._files[path] = SymbolTable((offset, size, name, path) for offset, size, name in symbols)
        return self._files[path]


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
