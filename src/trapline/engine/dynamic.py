"""`DynamicObject`: a compiled object whose programs are loaded and attached one by one, as the embedding program asks.

BCC's API stands on this and on `trapline.engine.machine`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from trapline.errors import ClosedError, VerifierError
from trapline.hints import TYPE_CHECKING
from trapline.ir.spec import (
    Attach,
    AttachPoint,
    IterAttach,
    KprobeAttach,
    MapSpec,
    ObjectProgram,
    ObjectSpec,
    PerfAttach,
    RawTracepointAttach,
    TracepointAttach,
    TrampolineAttach,
    UprobeAttach,
)
from trapline.kernel.attach.table import ATTACH_TYPE_OF_KIND
from trapline.kernel.link import Link
from trapline.kernel.map import Map
from trapline.kernel.object import LoadedObject
from trapline.kernel.program import Program
from trapline.records import replace
from trapline.source import Source
from trapline.syscall import bpf
from trapline.syscall.machine import raise_memlock_limit
from trapline.syscall.ringbuf import RingBuffer

if TYPE_CHECKING:
    from trapline.engine.machine import Machine


class DynamicMap:
    """A map of a `DynamicObject`, by its bytes.

    Args:
        map: the map in the kernel.
    """

    def __init__(self, map: Map) -> None:
        self.map = map

    @property
    def fd(self) -> int:
        """Its file descriptor."""
        return self.map.fileno()

    @property
    def type(self) -> str:
        """The kernel's spelling of its type (``HASH``)."""
        return self.map.spec.type

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self.map.spec.key_size

    @property
    def value_size(self) -> int:
        """Bytes of a value (of one CPU's part, for per-CPU maps)."""
        return self.map.spec.value_size

    @property
    def max_entries(self) -> int:
        """Its capacity."""
        return self.map.spec.max_entries

    @property
    def flags(self) -> int:
        """``BPF_F_…`` that it was created with."""
        return self.map.spec.flags

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value (per-CPU: all CPUs' parts, 8-byte aligned), ``None`` when there is no such key."""
        return self.map.lookup(key)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set a value; an empty key pushes to a queue or stack."""
        if key or self.key_size:
            self.map.update(key, value, flags)
        else:
            bpf.update_elem(self.fd, b"", value, flags)

    def delete(self, key: bytes) -> bool:
        """Delete a key; return whether it was there."""
        return self.map.delete(key)

    def next_key(self, key: bytes | None) -> bytes | None:
        """Return the key after `key` (the first for ``None``), ``None`` at the end."""
        return bpf.get_next_key(self.fd, key, self.key_size)

    def take(self, key: bytes) -> bytes | None:
        """Look up and delete at once; an empty key pops a queue or stack."""
        return bpf.lookup_and_delete_elem(self.fd, key, self.map.read_size)

    def lookup_batch(self, *, delete: bool = False) -> Sequence[tuple[bytes, bytes]]:
        """Return all elements, taking them out of the map when `delete`."""
        return self.map.take_items() if delete else self.map.items()

    def delete_batch(self, keys: Sequence[bytes]) -> None:
        """Delete many keys."""
        for key in keys:
            self.map.delete(key)

    def update_batch(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set many values."""
        for key, value in items:
            self.map.update(key, value)

    def open_ring(self) -> RingBuffer:
        """Map a ring buffer for reading."""
        return self.map.open_ring()


class DynamicProgram:
    """A loaded program.

    Args:
        program: the program in the kernel.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name
        self.log = program.log

    @property
    def fd(self) -> int:
        """Its file descriptor."""
        return self.program.fileno()

    def close(self) -> None:
        """Close the descriptor; links keep the program."""
        self.program.close()


class DynamicObject:
    """Maps in the kernel, and programs that are loaded when asked for.  Everything ends with `close`.

    Args:
        spec: what was compiled; its programs need no attach points.
        machine: the running kernel.
        externs: maps of other objects, by the name under which this one uses them.
        pins: paths in bpffs of maps that are opened there, or created and pinned there.

    Raises:
        TraplineError: a map could not be created; nothing is left behind.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        machine: Machine,
        *,
        externs: Mapping[str, DynamicMap] | None = None,
        pins: Mapping[str, str] | None = None,
    ) -> None:
        self._machine = machine
        externs = dict(externs or {})
        self.spec = spec
        self._programs = {program.name: program for program in self.spec.programs}
        self.maps: dict[str, DynamicMap] = {}
        self._loaded = LoadedObject(self.spec, machine.target)
        self._borrowed = {name: entry.map for name, entry in externs.items()}
        self._closed = False
        raise_memlock_limit()
        try:
            for map_ in self.spec.maps:
                if map_.name in externs:
                    self.maps[map_.name] = externs[map_.name]
                else:
                    path = (pins or {}).get(map_.name)
                    created = _open_pinned_map(map_, path) if path else Map.create(map_)
                    self._loaded.maps[map_.name] = created
                    self.maps[map_.name] = DynamicMap(created)
        except BaseException:
            self.close()
            raise

    # -- programs

    def _program(self, name: str) -> ObjectProgram:
        if self._closed:
            raise ClosedError("the BPF object is closed")
        found = self._programs.get(name)
        if found is None:
            raise ValueError(f"there is no program {name!r}")
        return found

    def load(
        self, name: str, type: str, expected_attach: str = "", target: str = "", *, log_level: int = 0
    ) -> DynamicProgram:
        """Load a program; each call makes a new one.

        Args:
            name: of the function.
            type: the program type, in the kernel's spelling without prefix.
            expected_attach: the attach type that goes with it, if any.
            target: ``[module:]function`` that a TRACING or LSM program is for.
            log_level: 1 keeps the verifier's log in the program, 2 with the state at each instruction; 0 keeps none.

        Raises:
            VerifierError: the kernel refuses it.
            PrivilegeError: the process may not.
        """
        spec = replace(self._program(name), type=type, expected_attach=expected_attach)
        if target:
            spec = replace(spec, attach_points=(_typed_point(expected_attach, target),))
        try:
            borrowed = {name: found.fileno() for name, found in self._borrowed.items()}
            return DynamicProgram(self._loaded.load_program(spec, log_level=log_level, map_fds=borrowed))
        except VerifierError as error:
            # The kernel half knows character offsets; the text that they belong to is here.
            if isinstance(error.span, tuple):
                error.span = Source(self.spec.source_name, self.spec.source_text).span(*error.span)
            raise

    def bytecode(self, name: str) -> bytes:
        """Return a function's instructions, 8 bytes each, before maps are filled in."""
        return self._program(name).instructions

    def disassemble(self, name: str) -> str:
        """Return a function's instructions as text."""
        from trapline.abi.disassemble import disassemble

        return "\n".join(disassemble(self.bytecode(name)))

    def disassemble_with_source(self, name: str) -> str:
        """Return a function's instructions as text, below the lines of the source that they come from."""
        from trapline.abi.disassemble import disassemble

        program = self._program(name)
        source = Source(self.spec.source_name, self.spec.source_text)
        line_at = {first: source.position(start)[0] for first, start, _ in program.spans}
        text = self.spec.source_text.splitlines()
        names = {reference.index: reference.map for reference in program.map_refs}
        lines, shown = [f"{name}:"], 0
        for instruction in disassemble(program.instructions, names):
            line = line_at.get(int(instruction.partition(":")[0]), shown)
            if line != shown:
                shown = line
                lines.append(f"; {text[line - 1].strip()} // Line {line:3d}")
            lines.append(instruction)
        return "\n".join(lines)

    # -- attaching

    def _attach(self, program: DynamicProgram, attach: Attach, label: str, cookie: int = 0) -> Link:
        return self._loaded.attach(program.program, AttachPoint(attach, label, cookie))

    def attach_kprobe(self, program: DynamicProgram, function: str, *, offset: int = 0, retprobe: bool = False) -> Link:
        """Attach to a kernel function's entry (plus `offset`) or return; ``module:function`` narrows it to a module."""
        module, colon, symbol = function.partition(":")
        if not colon:
            module, symbol = "", function
        label = f"{'kretprobe' if retprobe else 'kprobe'}:{function}" + (f"+{offset}" if offset else "")
        attach = KprobeAttach(symbol=symbol, offset=offset, module=module, retprobe=retprobe)
        return self._attach(program, attach, label)

    def attach_tracepoint(self, program: DynamicProgram, category: str, name: str) -> Link:
        """Attach to a tracepoint."""
        return self._attach(program, TracepointAttach(category, name), f"tracepoint:{category}:{name}")

    def attach_raw_tracepoint(self, program: DynamicProgram, name: str) -> Link:
        """Attach to a raw tracepoint."""
        return self._attach(program, RawTracepointAttach(name), f"rawtracepoint:{name}")

    def attach_trampoline(self, program: DynamicProgram, kind: str, function: str, module: str = "") -> Link:
        """Attach a typed program to what it was loaded for; `kind` as in `TrampolineAttach`."""
        return self._attach(program, TrampolineAttach(kind, function, module), f"{kind}:{function}")

    def run_iterator(self, program: DynamicProgram, target: str) -> bytes:
        """Run an iterator's program over all objects of `target` (``task``); return what it wrote."""
        with self._attach(program, IterAttach(target), f"iter:{target}") as link, link.iterate() as output:
            found = b""
            while data := os.read(output.fileno(), 1 << 16):
                found += data
        return found

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
    ) -> Link:
        """Attach to a place in a file, given by its offset in the file.

        Args:
            program: what runs there.
            path: the file.
            offset: the place.
            retprobe: at the return of the function that starts there.
            pid: only in this process; -1 for all.
            counter: offset in the file of the place's reference counter (a USDT semaphore), 0 for none.
            cookie: what ``bpf_get_attach_cookie`` returns there.
        """
        attach = UprobeAttach(path, offset=offset, retprobe=retprobe, pid=pid, ref_ctr_offset=counter)
        label = f"{'uretprobe' if retprobe else 'uprobe'}:{path}:0x{offset:x}"
        return self._attach(program, attach, label, cookie)

    def attach_perf_event(
        self,
        program: DynamicProgram,
        type: int,
        config: int,
        *,
        period: int = 0,
        frequency: int = 0,
        pid: int = -1,
        cpu: int = -1,
        attr: bytes = b"",
        group_fd: int = -1,
    ) -> Link:
        """Attach to a perf event on one CPU, or on every online one (-1).

        Args:
            program: what runs at each sample.
            type, config: the event.
            period, frequency: when there is a sample; one of them.
            pid: only for this process; -1 for all.
            cpu: the CPU.
            attr: a whole ``struct perf_event_attr``, which wins over the above.
            group_fd: the event that leads the group.
        """
        attach = PerfAttach(
            type, config, period=period, frequency=frequency, cpu=cpu, pid=pid, attr=attr, group_fd=group_fd
        )
        return self._attach(program, attach, f"perf event {type}:{config}")

    def detach(self) -> None:
        """Detach everything, together: one after the other, many take long."""
        self._loaded.close_links()

    def close(self) -> None:
        """Detach, and close the maps; closing twice is allowed.  Programs are their holder's to close."""
        self._closed = True
        self._loaded.close()


_KIND_OF_ATTACH_TYPE = {kind: name for name, kind in ATTACH_TYPE_OF_KIND.items()}


def _open_pinned_map(spec: MapSpec, path: str) -> Map:
    from trapline.kernel.pinned import open_pinned_map  # few programs have one

    return open_pinned_map(spec, path)


def _typed_point(expected_attach: str, target: str) -> AttachPoint:
    """Return the attach point that tells the loader what function or iterator a TRACING or LSM program is for."""
    if expected_attach == "TRACE_ITER":
        return AttachPoint(IterAttach(target), f"iter:{target}")
    kind = _KIND_OF_ATTACH_TYPE.get(expected_attach.removeprefix("BPF_"))
    if kind is None:
        raise ValueError(f"{expected_attach!r} is no attach type of a function")
    module, _, function = target.rpartition(":")
    return AttachPoint(TrampolineAttach(kind, function, module), f"{kind}:{target}")
