"""`Machine`: the running kernel as an embedding program sees it: probes, symbols, types, rings, counters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

from trapline.errors import NoSuchProbeError
from trapline.hints import TYPE_CHECKING
from trapline.syscall.process import read_memory_maps

# Symbols and types are imported where they are asked for: a small script waits longest for imports.
if TYPE_CHECKING:
    from trapline.engine.user_probes import UserProbe
    from trapline.kernel.target import LiveTarget
    from trapline.runtime.symbols import KernelSymbols, Symbol, SymbolTable, UserSymbols
    from trapline.syscall.fd import Fd
    from trapline.syscall.perfring import PerfRing


class Machine:
    """The running kernel as an embedding program sees it; what is asked for is read once, until modules change."""

    @property
    def target(self) -> LiveTarget:
        """The kernel as a compiler sees it."""
        from trapline.engine.host import live_target

        return live_target()

    # -- rings and counters

    def open_perf_ring(self, cpu: int, pages: int, wakeup_events: int = 1) -> PerfRing:
        """Open a CPU's ring for samples of a PERF_EVENT_ARRAY."""
        from trapline.syscall.perfring import PerfRing

        return PerfRing(cpu, pages, wakeup_events=wakeup_events)

    def open_counter(self, type: int, config: int, pid: int, cpu: int) -> Fd:
        """Open a counting perf event."""
        from trapline.abi.perf import PerfEventAttr
        from trapline.syscall.perf import open_perf_event

        attr = PerfEventAttr(type=type, config=config)
        return open_perf_event(attr, pid=pid, cpu=cpu, what=f"perf event {type}:{config} on CPU {cpu}")

    def open_event(self, attr: bytes, pid: int, cpu: int) -> Fd:
        """Open a perf event by its ``struct perf_event_attr`` and let it count, without anybody who reads its samples.

        A tracepoint has none: a filter lets nothing pass.
        """
        from fcntl import ioctl

        from trapline.abi.perf import PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_FILTER, PERF_TYPE_TRACEPOINT
        from trapline.syscall.perf import open_perf_event

        event = open_perf_event(attr, pid=pid, cpu=cpu)
        if int.from_bytes(attr[:4], "little") == PERF_TYPE_TRACEPOINT:
            ioctl(event.fileno(), PERF_EVENT_IOC_SET_FILTER, b"common_pid == -17\0")
        ioctl(event.fileno(), PERF_EVENT_IOC_ENABLE, 0)
        return event

    def trace_pipe_path(self) -> str:
        """Return the path of the kernel's trace pipe.

        Raises:
            TargetError: tracefs is not mounted.
        """
        from trapline.syscall.tracefs import tracefs_path

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
        from trapline.btf.types import Struct, Union

        btf = self.target.btf
        number = btf.find(struct, Struct, Union)
        return None if number is None else btf.field(number, field) is not None

    def has_enumerator(self, enum: str, name: str) -> bool | None:
        """Whether an enum has an enumerator; ``None`` if there is no such type.

        Raises:
            FeatureMissingError: the kernel has no BTF.
        """
        from trapline.btf.types import Enum, Enum64

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
        from trapline.runtime.symbols import KernelSymbols

        return KernelSymbols(lambda: self.target.symbols)

    def kernel_symbol(self, address: int) -> Symbol | None:
        """Return the kernel symbol that covers an address."""
        return self._kernel_symbols.find(address)

    @cached_property
    def _user_symbols(self) -> UserSymbols:
        from trapline.engine.user_symbols import make_user_symbols

        return make_user_symbols(lambda: self.target.user_files, {"cpp_demangle": False, "show_debug_info": False})

    def user_symbol(self, address: int, pid: int) -> Symbol | None:
        """Return the symbol that covers an address of a process; C++ names as they are in the file."""
        return self._user_symbols.find(address, pid)

    def user_place(self, address: int, pid: int) -> tuple[str, int] | None:
        """Return (file, offset in it) that an address of a process is mapped from; the file as the process calls it."""
        return self._user_symbols.place(address, pid)

    def user_address(self, name: str, module: str, pid: int) -> int | None:
        """Return where a function of a file is mapped in a process, ``None`` if it is not.

        Args:
            name: the function.
            module: the file's path; empty for any file of the process.
            pid: the process.
        """
        from trapline.syscall.binaries import process_root

        root = process_root(pid)
        for mapping in read_memory_maps(pid):
            if not mapping.executable or mapping.path[:1] != "/" or (module and mapping.path != module):
                continue
            for offset, _, symbol in self.file_functions(root + mapping.path):
                if symbol == name and mapping.offset <= offset < mapping.offset + mapping.end - mapping.start:
                    return mapping.start + offset - mapping.offset
        return None

    def demangle(self, name: str) -> str:
        """Return the readable form of a C++ symbol; any other name as it is."""
        return self.target.user_files.demangle(name)

    def add_build_id(self, path: str) -> str | None:
        """Remember a file by its build id, for `build_id_symbol`; return the id, ``None`` for a file without one."""
        binary = self.target.user_files.open(path)
        build_id = binary.debug_link.build_id if binary is not None else ""
        if build_id:
            self._build_ids[build_id] = path
        return build_id or None

    def build_id_symbol(self, build_id: str, offset: int, pid: int = -1) -> Symbol | None:
        """Return the symbol at an offset of a file that `add_build_id` has seen, or that a process has mapped.

        Args:
            build_id: in hexadecimal.
            offset: bytes from the start of the file.
            pid: the process; -1 for none.

        Returns:
            ``None`` for a file that is not known; a symbol without name where no function is.
        """
        from trapline.runtime.symbols import Symbol, SymbolTable
        from trapline.syscall.binaries import mapped_binaries

        if build_id not in self._build_ids and pid > 0:
            for mapped in mapped_binaries([pid]):
                self.add_build_id(mapped)
        path = self._build_ids.get(build_id)
        if path is None:
            return None
        if path not in self._build_id_tables:
            self._build_id_tables[path] = SymbolTable(
                (o, size, name, path) for o, size, name in self.file_functions(path)
            )
        return self._build_id_tables[path].find(offset) or Symbol("", offset, path)

    @cached_property
    def _build_ids(self) -> dict[str, str]:
        return {}

    @cached_property
    def _build_id_tables(self) -> dict[str, SymbolTable]:
        return {}

    # -- USDT probes

    def process_probes(self, pid: int) -> Sequence[UserProbe]:
        """Return the USDT probes of all files that a process has mapped as code."""
        from trapline.syscall.binaries import mapped_binaries

        return self._probes(mapped_binaries([pid]))

    def file_probes(self, path: str) -> Sequence[UserProbe]:
        """Return the USDT probes of a file."""
        return self._probes([path])

    def _probes(self, paths: Sequence[str]) -> Sequence[UserProbe]:
        from trapline.engine.user_probes import read_user_probes

        return read_user_probes(self.target.user_files, paths, self.target.arch.name)

    # -- files

    def file_functions(self, path: str) -> Sequence[tuple[int, int, str]]:
        """Return (offset in the file, size in bytes, name) of the functions of an ELF file; nothing if it is none.

        Those of its separate debug file too, if it is stripped.
        """
        from trapline.engine.user_symbols import read_file_functions

        return read_file_functions(self.target.user_files, path)

    def symbol_address(self, path: str, name: str, types: int = 0) -> int | None:
        """Return the virtual address of a symbol of an ELF file, ``None`` if there is none.

        Args:
            path: the file.
            name: the symbol.
            types: a bit for each ``STT_…`` that counts; 0 for functions.
        """
        binary = self.target.user_files.open(path)
        if binary is None:
            return None
        if not types:
            function = binary.function(name)
            return None if function is None else function.address
        files = [binary.elf, *([binary.debug_elf] if binary.debug_elf is not None else [])]
        symbols = (symbol for file in files for symbol in file.symbols_named(name))
        return next((symbol.value for symbol in symbols if symbol.value and types >> symbol.type & 1), None)

    def file_offset(self, path: str, address: int) -> int:
        """Return the offset in the file of a virtual address of an ELF file.

        Raises:
            NoSuchProbeError: the file is no ELF file, or the address is not in it.
        """
        binary = self.target.user_files.open(path)
        offset = binary.file_offset(address) if binary is not None else None
        if offset is None:
            raise NoSuchProbeError(f"address {address:#x} is not in {path}")
        return offset


@cache
def machine() -> Machine:
    """Return the running kernel; one object for the whole process."""
    return Machine()
