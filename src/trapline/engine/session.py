"""`EngineSession`: a compiled program from load to close."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from trapline.engine.child import Child
from trapline.engine.user_symbols import make_user_symbols, prints_kernel_symbols, shows_user_symbols
from trapline.errors import ClosedError, KernelError, TargetError, VerifierError
from trapline.hints import TYPE_CHECKING
from trapline.ir.spec import (
    LOST,
    PACKETS,
    RING,
    START,
    TAI,
    WAKE,
    WALL,
    AttachPoint,
    IterAttach,
    ObjectSpec,
    PacketEvent,
    PerfAttach,
    SpecialAttach,
    UprobeMultiAttach,
)
from trapline.kernel.attach.table import choose_attach_order
from trapline.kernel.link import Link
from trapline.kernel.missed import MissedHits
from trapline.kernel.object import LoadedObject, load_object
from trapline.kernel.program import Program
from trapline.records import replace
from trapline.runtime.loop import EventLoop
from trapline.runtime.losses import LostEvents
from trapline.runtime.maps import MapView
from trapline.runtime.names import Names
from trapline.runtime.output.protocol import Location, Output
from trapline.runtime.stored_maps import as_written
from trapline.runtime.symbols import KernelSymbols
from trapline.runtime.typed import TypedEvent
from trapline.source import Sources
from trapline.syscall.process import open_pidfd
from trapline.syscall.ringbuf import RingBuffer, WakeFlag

if TYPE_CHECKING:
    from trapline.kernel.target import LiveTarget
    from trapline.runtime.native.drain import NativeReader
    from trapline.runtime.packets import Packets
    from trapline.runtime.past_mappings import PastMappings
    from trapline.syscall.fd import Fd

_LONG = 2.0  # seconds after which a run can afford to keep what it learned


class EngineSession:
    """A loaded program.  Everything that it makes in the kernel ends with `close`, or with the process.

    Args:
        spec: the compiled program.
        target: the running kernel.
        output: shows what happens.
        pid: a process whose end ends the run.
        child: a held command, owned from here on: it runs while the probes are attached; its end ends the run.
        on_event: takes printed values as typed events (the object must be compiled with ``typed_events``).
        report_faults: report all failing helper calls.
        verifier_log: keep the verifier's log of successful loads.
        keep: tells by its label whether an attach point is wanted (``--probe-filter``).

    Raises:
        TraplineError: the program could not be loaded; nothing is left behind.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        target: LiveTarget,
        output: Output,
        *,
        pid: int | None = None,
        child: Child | None = None,
        on_event: Callable[[TypedEvent], object] | None = None,
        report_faults: bool = False,
        verifier_log: bool = False,
        keep: Callable[[str], bool] | None = None,
    ) -> None:
        self.spec = spec
        self.output = output
        self.target = target
        self._keep = keep
        self._sources = Sources(spec.source_name, spec.source_text, spec.imports)
        self._missing = dict(spec.config).get("missing_probes", "error")
        self._stack = contextlib.ExitStack()
        self._links: list[Link] = []
        self._began = time.monotonic()
        self._attached = False
        self._finished = False
        self._child = child
        if child is not None:
            self._stack.callback(child.close)
        try:
            self._pidfd: Fd | None = None
            if pid is not None:
                self._pidfd = self._stack.enter_context(open_pidfd(pid))
            self._object: LoadedObject = self._load(spec, target, verifier_log)
            self._stack.callback(self._object.close)
            self._maps = as_written(self._object.maps)
            past: PastMappings | None = None
            if shows_user_symbols(spec):
                from trapline.runtime.past_mappings import PastMappings

                past = PastMappings(target.online_cpus)
                self._stack.callback(past.close)
            self._kernel_symbols = KernelSymbols(lambda: target.symbols)
            self.names = Names(
                kernel=self._kernel_symbols,
                user=make_user_symbols(lambda: target.user_files, dict(spec.config), past),
                probe_names=spec.probe_names,
            )
            self._loop = self._make_loop(on_event, report_faults)
            self._packets = self._open_packets()
            if past is not None:
                past.watch(self._loop)
                if pid is not None:
                    past.remember(pid)
            self._check_limit()
        except BaseException:
            self._stack.close()
            raise

    def _load(self, spec: ObjectSpec, target: LiveTarget, verifier_log: bool) -> LoadedObject:
        try:
            loaded = load_object(spec, target, log_level=2 if verifier_log else 0)
            if START in loaded.maps:
                now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                loaded.maps[START].update(bytes(4), now.to_bytes(8, "little"))
            if TAI in loaded.maps:
                from trapline.syscall.clock import boot_to_tai_ns  # few programs need it

                loaded.maps[TAI].update(bytes(4), boot_to_tai_ns().to_bytes(8, "little"))
            if WALL in loaded.maps:
                from trapline.syscall.clock import boot_to_realtime_ns  # few programs need it

                loaded.maps[WALL].update(bytes(4), boot_to_realtime_ns().to_bytes(8, "little"))
            return loaded
        except VerifierError as error:
            # The kernel half knows character offsets; the text that they belong to is here.
            if isinstance(error.span, tuple):
                error.span = self._sources.span(error.span)
            raise

    def _check_limit(self) -> None:
        limit, count = int(dict(self.spec.config).get("max_probes", 0)), len(self.places)
        if 0 < limit < count:
            raise TargetError(
                f"Can't attach to {count} probes because it exceeds the current limit of {limit} probes.\n"
                "You can increase the limit through the BPFTRACE_MAX_PROBES environment variable, but BE CAREFUL since "
                "a high number of probes attached can cause your system to crash."
            )

    def _make_loop(self, on_event: Callable[[TypedEvent], object] | None, report_faults: bool) -> EventLoop:
        ring: RingBuffer | None = None
        ring_fd = -1
        ring_map = self._object.maps.get(RING)
        if ring_map is not None:
            ring_fd = ring_map.fd.fileno()
            ring = RingBuffer(ring_fd, ring_map.spec.max_entries)
            self._stack.callback(ring.close)
        flag: WakeFlag | None = None
        if WAKE in self._object.maps:
            flag = WakeFlag(self._object.maps[WAKE].fd.fileno())
            self._stack.callback(flag.close)
        loop = EventLoop(
            self.spec,
            ring=ring,
            ring_fd=ring_fd,
            wake_flag=flag,
            maps=self._maps,
            output=self.output,
            namer=self.names,
            locate=self._locate,
            on_event=on_event,
            report_faults=report_faults,
            native=None if ring is None or on_event is not None else lambda: self._native_reader(ring),
        )
        self._stack.callback(loop.close)
        loop.on_unwatch(self._unwatch)
        return loop

    def _native_reader(self, ring: RingBuffer) -> NativeReader | None:
        """Return what reads records in bulk; ``None`` where it could show nothing, or does not know this machine."""
        framing = self.output.framing
        if framing is None:
            return None
        from trapline.runtime.native.drain import NativeReader
        from trapline.runtime.native.plan import make_plan

        plan = make_plan(self.spec.events, framing, self.output.trailer, self.names)
        return NativeReader.for_this_machine(plan, ring) if plan.shown else None

    def _open_packets(self) -> Packets | None:
        if PACKETS not in self._object.maps:
            return None
        from trapline.runtime.packets import PAGES, PacketFiles, Packets
        from trapline.syscall.clock import boot_to_realtime_ns

        events = {n: event for n, event in enumerate(self.spec.events) if isinstance(event, PacketEvent)}
        pages = int(dict(self.spec.config).get("perf_rb_pages") or PAGES)
        files = PacketFiles(events, boot_to_realtime_ns())
        self._stack.callback(files.close)
        packets = Packets(files, self._object.maps[PACKETS], self.target.online_cpus, pages)
        self._stack.callback(packets.close)
        packets.watch(self._loop)
        return packets

    def _unwatch(self, address: int) -> None:
        for link in self._links:
            attach = link.point.attach
            if isinstance(attach, PerfAttach) and attach.access and attach.address == address and not link.closed:
                link.close()

    def _locate(self, place: tuple[int, int], origins: Sequence[tuple[int, int]] = ()) -> Location:
        found = self._sources.span(place, origins)
        line, column = found.source.position(found.start)
        outer: list[tuple[str, str]] = []
        origin = found.origin
        while origin is not None:
            outer.append((origin.location(), "\n".join(origin.underlined())))
            origin = origin.origin
        context = "\n".join(found.underlined())
        return Location(found.location(), found.source.name, line, column, context, tuple(outer))

    # -- life

    def attach(self) -> int:
        """Run the ``begin`` probes, attach all others, and let the command go.

        Returns:
            How many probes are attached.

        Raises:
            TargetError, AttachError: a probe that is not optional cannot be attached; the others are detached again.
        """
        self._check()
        if self._attached:
            return self.attached
        self._attached = True
        places = self._in_order()
        special = any(self.specials("begin", "end", "signal", "test", "bench"))
        if not places and not special:
            raise TargetError("No probes to attach")
        self._run_special("begin")
        if prints_kernel_symbols(self.spec):
            self._kernel_symbols.prepare()
        for program, point in places:
            self._attach(program, point)
        if not self._links and not special:
            raise TargetError("Attachment failed for all probes.")
        if self._pidfd is not None:
            self._loop.watch(self._pidfd.fileno())
        if self._child is not None:
            self._loop.watch(self._child.pidfd)
        if not self._links and not any(self.specials("signal")):
            self._loop.stop()  # nothing can happen any more
        return self.attached

    def _attach(self, program: Program, point: AttachPoint) -> None:
        attach = point.attach
        if self._child is not None and isinstance(attach, UprobeMultiAttach) and attach.pid < 0:
            # Of a command, user probes see its own process, as in bpftrace; other kinds of probes see everything.
            point = replace(point, attach=replace(attach, pid=self._child.pid))
        try:
            link = self._object.attach(program, point)
        except (TargetError, KernelError) as error:
            if not point.optional:
                raise
            if self._missing != "ignore":
                self.output.warning(str(error))
            return
        self._links.append(link)
        if isinstance(attach, IterAttach) and attach.pin:
            self.output.printf(f"Program pinned to {attach.pin}\n".encode("utf-8", "surrogateescape"))
        for skipped in link.skipped:
            self.output.warning(f"{point.label}: left out {skipped.symbol}: {skipped.reason}")
        for warning in link.warnings:
            self.output.warning(warning)

    def release(self) -> None:
        """Let the command (``-c``) run."""
        if self._child is not None:
            self._child.release()

    @property
    def attached(self) -> int:
        """How many probes are attached; each function of a wildcard counts, and ``begin`` and ``end`` do."""
        special = sum(1 for _ in self.specials("begin", "end", "signal"))
        return special + sum(link.count for link in self._links if not link.point.internal)

    @property
    def places(self) -> list[str]:
        """The attach points that the session has, as written; wildcards are one."""
        return [point.label for _, point in self._points() if not point.internal]

    def _points(self) -> Iterator[tuple[Program, AttachPoint]]:
        for program in self._object.programs.values():
            for point in program.spec.attach_points:
                special = isinstance(point.attach, SpecialAttach)
                if special or self._keep is None or self._keep(point.label):
                    yield program, point

    def specials(self, *when: str) -> Iterator[tuple[Program, AttachPoint]]:
        """Yield the programs that the session runs itself, with their places; `when` as in `SpecialAttach`."""
        for program, point in self._points():
            if isinstance(point.attach, SpecialAttach) and point.attach.when in when:
                yield program, point

    def _in_order(self) -> list[tuple[Program, AttachPoint]]:
        places = [row for row in self._points() if not isinstance(row[1].attach, SpecialAttach)]
        # What an internal program prepares (a return probe's arguments) must be there before it is needed.
        internal = [row for row in places if row[1].internal]
        rest = [row for row in places if not row[1].internal]
        return internal + [rest[i] for i in choose_attach_order([row[1].attach for row in rest], self._object.target)]

    def _run_special(self, when: str) -> None:
        for program, _ in self.specials(when):
            program.run()

    def catch_up(self) -> int:
        """Handle all that was sent so far, also behind an ``exit()``; return what that one said, else 0."""
        self._loop.settle()
        code, self._loop.exit_code = self._loop.exit_code, 0
        return code

    def _iterate(self) -> Iterator[None]:
        """Run the iterators, until the ring wants to be read each; then end a run that has nothing else."""
        attaches = [link.point.attach for link in self._links]
        if not any(isinstance(attach, IterAttach) for attach in attaches):
            return
        from trapline.kernel.attach.iterator import read_to_end  # imported when needed: most programs start faster

        for link, attach in zip(tuple(self._links), attaches, strict=True):
            if isinstance(attach, IterAttach) and not attach.pin:
                with link.iterate() as fd:
                    while not read_to_end(fd.fileno()):
                        yield
        if all(isinstance(attach, IterAttach) for attach in attaches):
            self._loop.stop()

    def signal(self) -> None:
        """Run the ``self:signal`` probes."""
        self._run_special("signal")

    def run(self) -> int:
        """Handle events until the run ends, then `finish`.

        Returns:
            What the program gave to ``exit()``, else 0.
        """
        self._check()
        for _ in self._iterate():
            if not self._loop.step(0.0):
                break
        self._loop.run()
        self.finish()
        return self._loop.exit_code

    def events(self, queue: deque[TypedEvent], timeout: float | None = None) -> Iterator[TypedEvent]:
        """Yield what `on_event` put into `queue`, as it comes, until the run ends.

        Args:
            queue: where ``on_event`` puts the events.
            timeout: end the iteration (not the run) when this many seconds pass without an event.
        """
        self._check()
        iteration = self._iterate()
        quiet_since = time.monotonic()
        while True:
            while queue:
                yield queue.popleft()
                quiet_since = time.monotonic()
            if self._finished:
                return
            rest = None if timeout is None else timeout - (time.monotonic() - quiet_since)
            expired = rest is not None and rest <= 0
            next(iteration, None)
            # Events that came while this process had no CPU are there all the same: look before giving up.
            if not self._loop.step(0.0 if expired else rest):
                self.finish()
            elif expired and not queue:
                return

    def stop(self) -> None:
        """End the run soon; may be called from a signal handler or another thread."""
        self._loop.stop()

    def finish(self) -> None:
        """Detach, handle what was sent before, run the ``end`` probes, and report losses and maps."""
        if self._finished:
            return
        self._finished = True
        self._object.detach()
        self._loop.settle()
        self._run_special("end")
        self._loop.drain()
        if self._packets is not None:
            self._packets.drain()
        for missed in self.missed:
            if missed.count:
                self.output.missed_hits(missed.label, missed.count, missed.reason)
        self._loop.finish()

    def close(self) -> None:
        """Detach and free everything; closing twice is allowed."""
        self._finished = True
        self._stack.close()
        if not self._closed and time.monotonic() - self._began > _LONG:
            self.target.keep()
        self._closed = True

    _closed = False

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("the session is closed")

    # -- results

    @property
    def maps(self) -> Mapping[str, MapView]:
        """The program's maps by name (``@x``), as mappings."""
        self._check()
        return {
            name: MapView(found, self.names)
            for name, found in self._maps.items()
            if found.spec.value is not None and not name.startswith(".")
        }

    @property
    def lost(self) -> Mapping[str, int]:
        """Events that did not fit into the ring buffer, by probe; exact."""
        self._check()
        if LOST not in self._object.maps:
            return {}
        return LostEvents(self._object.maps[LOST], [p.label or p.name for p in self.spec.programs]).by_probe()

    @property
    def missed(self) -> list[MissedHits]:
        """Hits that the kernel did not pass on, by probe, as far as this kernel counts them."""
        self._check()
        return self._object.missed()

    @property
    def verifier_logs(self) -> Iterator[tuple[str, str]]:
        """(program, log) of what the verifier said, when it was asked to keep it."""
        for program in self._object.programs.values():
            yield program.name, program.log
