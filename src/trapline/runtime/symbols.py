"""Addresses → symbols: the kernel's through kallsyms, a process's through its mapped ELF files and perf map."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from trapline.hints import NamedTuple, Protocol
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

    def prepare(self) -> None:
        """Read the table now, and not when the first event waits for it."""
        if self._table is None:
            self._table = self._load()

    def find(self, address: int) -> Symbol | None:
        """Return the symbol that covers `address`, or ``None`` (below all of them, far behind one, or hidden)."""
        if address in self._found:
            return self._found[address]
        self.prepare()
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


class Frame(NamedTuple):
    """A line of a stack: a symbol, or a function that was inlined there (without offset); where in the source."""

    name: str
    offset: int = 0
    module: str = ""
    path: str = ""
    line: int = 0
    inlined: bool = False


class SourcePlace(Protocol):
    """A place in the source; `trapline.debuginfo.code_places.CodePlace` is one."""

    @property
    def function(self) -> str:
        """What was inlined there; empty for the function that the code belongs to."""

    @property
    def path(self) -> str:
        """The file."""

    @property
    def line(self) -> int:
        """The line."""


class UserSymbols:
    """Symbols of processes; files are read once, mappings once per process and again when an address is not in them.

    Args:
        read_file_symbols: returns the function symbols of an ELF file, by file offset; empty when it has none or cannot
            be read.
        root: where ``/proc`` is.
        refresh: look at the mappings again when an address is not in them.
        keep: remember mappings; else they are read for every address.
        demangle: makes names readable.
        find_places: returns where in the source an offset of a file is, inlined functions first.
        past: returns the mappings that an ended process had, as far as they are known.
    """

    def __init__(
        self,
        read_file_symbols: Callable[[str], Sequence[FileSymbol]],
        *,
        root: str = "",
        refresh: bool = True,
        keep: bool = True,
        demangle: Callable[[str], str] | None = None,
        find_places: Callable[[str, int], Sequence[SourcePlace]] | None = None,
        past: Callable[[int], Sequence[MemoryMap]] | None = None,
    ) -> None:
        self._read_file_symbols = read_file_symbols
        self._root = root
        self._refresh = refresh
        self._keep = keep
        self._demangle = demangle
        self._find_places = find_places
        self._past = past
        self._files: dict[tuple[str, int, str], tuple[str, SymbolTable]] = {}
        self._processes: dict[int, tuple[list[MemoryMap], SymbolTable | None]] = {}
        self._found: dict[tuple[int, int], tuple[Symbol, str, int] | None] = {}

    def find(self, address: int, pid: int) -> Symbol | None:
        """Return the symbol that covers `address` in process `pid`, or ``None``."""
        found = self._locate(address, pid)
        return found[0] if found else None

    def frames(self, address: int, pid: int, *, caller: bool = False) -> list[Frame]:
        """Return the lines of a stack that `address` makes: inlined functions, the innermost first, then the symbol.

        Args:
            address: in process `pid`.
            pid: the process.
            caller: the address is where a call returns to: the call itself is before it.
        """
        found = self._locate(address, pid)
        if found is None:
            return []
        symbol, path, offset = found
        places = self._find_places(path, offset - caller) if self._find_places and path else ()
        frames = [
            Frame(self._readable(place.function), 0, "", place.path, place.line, True)
            for place in places
            if place.function
        ]
        own = next((place for place in places if not place.function), None)
        frames.append(Frame(*symbol, own.path if own else "", own.line if own else 0))
        return frames

    def place(self, address: int, pid: int) -> tuple[str, int] | None:
        """Return (file, offset in it) that an address of a process is mapped from; the file as the process calls it."""
        if pid not in self._processes:
            self._processes[pid] = self._read_process(pid)
        for mapping in self._processes[pid][0]:
            if mapping.start <= address < mapping.end:
                return mapping.path.removesuffix(_DELETED), address - mapping.start + mapping.offset
        return None

    def forget(self, pid: int) -> None:
        """Drop what is known about a process (it ended, or ran another program)."""
        self._processes.pop(pid, None)
        self._found = {key: symbol for key, symbol in self._found.items() if key[0] != pid}

    def _readable(self, name: str) -> str:
        return self._demangle(name) if self._demangle else name

    def _locate(self, address: int, pid: int) -> tuple[Symbol, str, int] | None:
        """Return (symbol, path by which the file can be read, offset in the file)."""
        key = (pid, address)
        if not self._keep:
            self._processes.pop(pid, None)
            return self._find_once(address, pid)
        if key not in self._found:
            self._found[key] = self._find(address, pid)
        return self._found[key]

    def _find(self, address: int, pid: int) -> tuple[Symbol, str, int] | None:
        known = pid in self._processes
        found = self._find_once(address, pid)
        if found is None and known and self._refresh:
            before = self._processes.pop(pid)
            found = self._find_once(address, pid)
            if not self._processes[pid][0]:  # it is gone meanwhile: what was known stays
                self._processes[pid] = before
        return found

    def _find_once(self, address: int, pid: int) -> tuple[Symbol, str, int] | None:
        if pid not in self._processes:
            self._processes[pid] = self._read_process(pid)
        mappings, jit = self._processes[pid]
        for mapping in mappings:
            if mapping.start <= address < mapping.end:
                path, table = self._file(pid, mapping)
                offset = address - mapping.start + mapping.offset
                symbol = table.find(offset)
                if symbol is None:
                    break
                module = mapping.path.removesuffix(_DELETED)
                return Symbol(self._readable(symbol.name), symbol.offset, module), path, offset
        found = jit.find(address) if jit else None
        return (found, "", 0) if found else None

    def _read_process(self, pid: int) -> tuple[list[MemoryMap], SymbolTable | None]:
        text = _read_text(f"{self._root}/proc/{pid}/maps")
        seen: Iterable[MemoryMap] = parse_memory_maps(text) if text or self._past is None else self._past(pid)
        mappings = [m for m in seen if m.executable and ((m.path[:1] == "/" and m.path[:2] != "//") or m.path == _VDSO)]
        number = _inner_pid(_read_text(f"{self._root}/proc/{pid}/status"), pid)
        jit = parse_perf_map(_read_text(f"{self._root}/proc/{pid}/root/tmp/perf-{number}.map"))
        return mappings, SymbolTable(jit) if jit else None

    def _file(self, pid: int, mapping: MemoryMap) -> tuple[str, SymbolTable]:
        # Containers have different files under one path.
        key = mapping.device, mapping.inode, mapping.path
        if key not in self._files:
            candidates = [f"{self._root}/proc/{pid}/root{mapping.path}", mapping.path]
            if mapping.path.endswith(_DELETED):
                candidates = [f"{self._root}/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"]
            elif mapping.path == _VDSO:
                candidates = [_VDSO]
            for path in candidates:
                # The process may be gone, or in another root.
                symbols = self._read_file_symbols(path)
                if symbols:
                    break
            self._files[key] = path, SymbolTable((o, size, name, path) for o, size, name in symbols)
        return self._files[key]


_DELETED = " (deleted)"
_VDSO = "[vdso]"


def _inner_pid(status: str, pid: int) -> int:
    """Return a process's number in its own pid namespace, as ``/proc/PID/status`` tells: what a compiler writes."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return int(numbers[-1]) if numbers else pid
    return pid


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
