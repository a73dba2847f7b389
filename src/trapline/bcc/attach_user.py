"""Attaching functions to programs and libraries: uprobes and uretprobes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from trapline.bcc.attach import LinkTable, ProbeQuota, attach_failure
from trapline.bcc.failures import AttachError, BccError
from trapline.bcc.libraries import find_binary
from trapline.bcc.names import Name, to_bytes, to_text, uprobe_event_name
from trapline.bcc.programs import Programs
from trapline.errors import TraplineError
from trapline.hints import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trapline.bcc.handles import LinkHandle
    from trapline.bcc.usdt_probes import ActiveProbe
    from trapline.engine.dynamic import DynamicProgram


class UserAttacher(Protocol):
    """Attaches loaded programs to user code; `trapline.engine.dynamic.DynamicObject` does."""

    def attach_uprobe(
        self,
        program: DynamicProgram,
        path: str,
        offset: int,
        *,
        retprobe: bool = False,
        pid: int = -1,
        counter: int = 0,
        cookie: int = 0,
    ) -> LinkHandle:
        """Attach to a place in a file, given by its offset in the file."""


class FileSymbols(Protocol):
    """Knows the functions of ELF files; `trapline.engine.dynamic.Machine` does."""

    def file_functions(self, path: str) -> Sequence[tuple[int, int, str]]:
        """Return (offset in the file, size, name) of a file's functions."""

    def file_offset(self, path: str, address: int) -> int:
        """Return the offset in the file of a virtual address of an ELF file."""


class UserAttachments:
    """What a `BPF` object has attached to programs and libraries.

    Args:
        attacher: makes links.
        programs: loads functions.
        symbols: knows ELF files.
    """

    def __init__(self, attacher: UserAttacher, programs: Programs, symbols: FileSymbols) -> None:
        self._attacher = attacher
        self._programs = programs
        self._symbols = symbols
        self.probes = LinkTable()

    def attach(
        self,
        name: Name,
        fn_name: Name,
        *,
        sym: Name = b"",
        sym_re: Name = b"",
        addr: int | None = None,
        pid: int = -1,
        sym_off: int = 0,
        retprobe: bool = False,
    ) -> None:
        """Attach a function to a symbol (plus `sym_off`), to all symbols that match `sym_re`, or to an address.

        Args:
            name: a path, a library's short name (``c``), or a program in ``PATH``.
            fn_name: the C function.
            sym: a function of the file.
            sym_re: a regular expression that the functions' names start with.
            addr: a virtual address of the file.
            pid: only in this process; -1 for all.
            sym_off: bytes after the symbol.
            retprobe: at the function's return.
        """
        path = self._find(name, pid)
        if sym_re:
            places = self._match(path, sym_re)
            ProbeQuota.check(len(places))
        else:
            places = [self._locate(path, sym, addr, sym_off)]
        for offset in places:
            self._attach(path, offset, fn_name, pid, retprobe=retprobe)

    def _attach(self, path: str, offset: int, fn_name: Name, pid: int, *, retprobe: bool) -> None:
        ProbeQuota.check(1)
        function = self._programs.load(fn_name, "KPROBE")
        key = to_bytes(uprobe_event_name(path, offset, pid, retprobe=retprobe))
        try:
            link = self._attacher.attach_uprobe(function.program, path, offset, retprobe=retprobe, pid=pid)
        except TraplineError as error:
            kind = "uretprobe" if retprobe else "uprobe"
            raise attach_failure(error, fn_name, f"{kind} {path}:0x{offset:x}") from error
        self.probes.replace(key, to_bytes(fn_name), link)

    def attach_usdt(self, place: ActiveProbe) -> None:
        """Attach a function to a place of a USDT probe."""
        ProbeQuota.check(1)
        function = self._programs.load(place.function, "KPROBE")
        key = to_bytes(uprobe_event_name(place.path, place.offset, place.pid, retprobe=False))
        if self.probes.has(key, function.name):
            return
        try:
            link = self._attacher.attach_uprobe(
                function.program,
                place.path,
                place.offset,
                pid=place.pid,
                counter=place.semaphore,
                cookie=place.cookie,
            )
        except TraplineError as error:
            raise attach_failure(error, place.function, f"USDT probe at {place.path}:0x{place.offset:x}") from error
        self.probes.add(key, function.name, link)

    def detach(
        self,
        name: Name,
        *,
        sym: Name = b"",
        addr: int | None = None,
        pid: int = -1,
        sym_off: int = 0,
        retprobe: bool = False,
    ) -> None:
        """Undo `attach` for one place."""
        path = self._find(name, pid)
        offset = self._locate(path, sym, addr, sym_off)
        self.detach_event(uprobe_event_name(path, offset, pid, retprobe=retprobe))

    def detach_event(self, ev_name: Name) -> None:
        """Detach by event name."""
        if not self.probes.remove(to_bytes(ev_name)):
            raise AttachError(f"Uprobe {to_bytes(ev_name)!r} is not attached")

    def _find(self, name: Name, pid: int) -> str:
        path = find_binary(to_text(name), pid)
        if path is None:
            raise BccError(f"could not find library or program {to_text(name)}", hint="give the path of the file")
        return os.path.realpath(path) if not path.startswith("/proc/") else path

    def _locate(self, path: str, sym: Name, addr: int | None, sym_off: int) -> int:
        if addr is not None:
            return self._symbols.file_offset(path, addr) + sym_off
        wanted = to_text(sym)
        for offset, _, symbol in self._symbols.file_functions(path):
            if symbol == wanted:
                return offset + sym_off
        raise BccError(f"could not determine address of symbol {wanted} in {path}")

    def _match(self, path: str, sym_re: Name) -> list[int]:
        regex = re.compile(to_text(sym_re))
        return sorted({offset for offset, _, symbol in self._symbols.file_functions(path) if regex.match(symbol)})

    def close(self) -> None:
        """Detach everything."""
        self.probes.close()
