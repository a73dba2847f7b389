"""The event loop: waits for the ring, handles records in order, knows when to end.

loop = EventLoop(spec, ring=ring, ring_fd=fd, maps=maps, output=output, namer=names)
loop.run()        until exit(), stop(), the end of a watched process, or a reader that went away
…detach…
loop.settle()     what happened before the probes were gone
…END probes…
loop.finish()     their records, the losses, the maps
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence

from trapline.errors import DecodeError, KernelError
from trapline.hints import TYPE_CHECKING, Protocol
from trapline.ir.spec import FAULTS, LOST, SHORT_HEADER, ObjectSpec
from trapline.runtime.handlers import Context, Handler, Locate, make_handlers
from trapline.runtime.losses import Faults, LostEvents
from trapline.runtime.maps import MapReader, RawMap
from trapline.runtime.native.tables import PYTHON
from trapline.runtime.objects import Namer
from trapline.runtime.output.protocol import Output
from trapline.runtime.typed import TypedEvent
from trapline.syscall.poll import Poller

if TYPE_CHECKING:
    from trapline.runtime.native.drain import NativeReader

_EVENT = struct.Struct("<I").unpack_from
_CHECK = 0.1  # seconds between looks at the loss counters while records come
_FAULT_CHECK = 1.0  # and while none come, when a failure would be reported
_BUSY = 1.0  # how long to wait for a record that is still being written when the run ends
_PATIENCE = 0.3  # seconds after `stop` in which commands of system() that were sent before still run
_MOMENT = 0.02  # seconds after which a store of another CPU has certainly arrived
_FAST = 0.0005  # records that come in less than so many seconds flow: they are left to gather
_LINGER = 0.001  # for so many seconds
_GATHER = 64 << 10  # unless there are so many bytes already
_FASTEST = 256 << 20  # bytes per second at which a ring may fill meanwhile
_MUCH = 4 << 10  # bytes in the ring from which on the native reader is faster than handlers
_FEW = 16  # records that the native reader must show at a time to be worth its call
_STRIKES = 64  # if it showed fewer so many times in a row
_PATIENT = 64  # handlers get so many batches
_MIXED = 64  # of so many records
_CHUNKS = 32  # chunks between looks at other descriptors while records come


class Ring(Protocol):
    """The consumer's side of a ring buffer; `trapline.syscall.ringbuf.RingBuffer` is the real one."""

    size: int
    """Bytes of records that it holds."""

    @property
    def producer_position(self) -> int:
        """How many bytes were ever reserved."""

    @property
    def consumer_position(self) -> int:
        """How many bytes were ever taken out."""

    def take(self, limit: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
        """Take finished records out: their bytes, and (offset, length) of each."""


class Flag(Protocol):
    """A flag that the program sees; `trapline.syscall.ringbuf.WakeFlag` is the real one."""

    def set(self, sleeping: bool) -> None:
        """Say whether the reader sleeps."""


class EventLoop:
    """Handles what a running program sends.

    Args:
        spec: the program.
        ring: the ring's consumer side; ``None`` when the program sends nothing.
        ring_fd: the ring's map, for waiting.
        wake_flag: tells the program when to wake us; ``None`` when each record does.
        maps: the program's maps by name, internal ones too.
        output: shows what happens.
        namer: gives names to addresses, user ids, probes.
        locate: finds a span of the program's text, for messages.
        on_event: takes the printed values as typed events instead of `output`; needs ``spec.typed_events``.
        on_raw: takes the payload of raw records, by the event's name.
        report_faults: report sites that do not `warn` of themselves, too (``-k``).
        native: called once, when there is much in the ring: makes what reads it faster.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        *,
        ring: Ring | None,
        ring_fd: int = -1,
        wake_flag: Flag | None = None,
        maps: Mapping[str, RawMap],
        output: Output,
        namer: Namer,
        locate: Locate | None = None,
        on_event: Callable[[TypedEvent], object] | None = None,
        on_raw: Mapping[str, Callable[[bytes], object]] | None = None,
        report_faults: bool = False,
        native: Callable[[], NativeReader | None] | None = None,
    ) -> None:
        self._spec = spec
        self._ring = ring
        self._make_native = native
        self._may_be_native = native is not None
        self._native: NativeReader | None = None
        self._by_handlers = 0
        self._strikes = 0
        self._output = output
        self._report_faults = report_faults
        readers = {name: MapReader(raw, namer) for name, raw in maps.items() if raw.spec.value is not None}
        self._readers = readers
        self._context = Context(spec, output, namer, readers, self._exit, locate, on_event, on_raw or {})
        self._context.hurried = self._hurried
        output.trailer = self._context.trailer
        self._handlers: list[Handler] = make_handlers(self._context)
        self._lost = LostEvents(maps[LOST], self._context.probes) if LOST in maps else None
        self._faults = Faults(maps[FAULTS]) if FAULTS in maps and spec.faults else None
        self._checked_at = 0.0
        self._lost_any = False
        self._flag = wake_flag
        self._flowing = False
        # A small ring would be full before we come back.
        self._gather = _GATHER if ring is None else min(_GATHER, ring.size // 8)
        self._linger = _LINGER if ring is None else min(_LINGER, ring.size / _FASTEST)
        self._poller = Poller()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.add(self._wake, "wake")
        if ring is not None and ring_fd >= 0:
            self._poller.add(ring_fd, "ring")
        self._chunks = 0
        self._stopped = False
        self._stopped_at = 0.0
        self._ended = False
        self.exited = False
        self.exit_code = 0

    # -- ends of a run

    @property
    def ended(self) -> bool:
        """Whether the run is over: exit(), `stop`, a watched descriptor, or nobody reads the output."""
        return self.exited or self._stopped or self._ended or self._output.broken

    def on_unwatch(self, remove: Callable[[int], None]) -> None:
        """Let `remove` take the address of ``unwatch()``."""
        self._context.on_unwatch = remove

    def stop(self) -> None:
        """End the run soon; may be called from a signal handler or another thread."""
        if not self._stopped:
            self._stopped_at = time.monotonic()
        self._stopped = True
        self.wake()

    def _hurried(self) -> bool:
        """Tell whether the run was ended so long ago that nothing may take long any more."""
        return self._stopped and time.monotonic() - self._stopped_at > _PATIENCE

    def wake(self) -> None:
        """Make a waiting `step` return; may be called from a signal handler or another thread."""
        os.eventfd_write(self._wake, 1)

    def watch(self, fd: int) -> None:
        """End the run when `fd` becomes readable (a pidfd: when its process ends); records before that are handled."""
        self._poller.add(fd, "end")

    def on_input(self, fd: int, act: Callable[[], object]) -> None:
        """Call `act` whenever `fd` is readable and the loop looks."""
        self._poller.add(fd, act)

    def _exit(self, code: int) -> None:
        self.exit_code = code
        self.exited = True

    # -- records

    def run(self) -> None:
        """Handle records until the run ends."""
        while self.step(None):
            pass

    def step(self, timeout: float | None) -> bool:
        """Handle the records that are there; wait for some, at most `timeout` seconds, when there are none.

        Returns:
            Whether the run goes on.
        """
        if self.ended:
            return False
        position = self.position
        handled = self.process()
        if self.ended:
            return False
        if handled:
            self._chunks += 1
            if self._flowing and timeout != 0.0 and self.position - position < self._gather:
                self._output.flush()
                time.sleep(self._linger)
            elif self._chunks % _CHUNKS:
                return True
            self._look(0.0)
        else:
            self._output.flush()
            self._check(_FAULT_CHECK)
            if self._faults is not None and not self.ended:
                timeout = _FAULT_CHECK if timeout is None else min(timeout, _FAULT_CHECK)
            self._sleep(timeout)
        self._check(_CHECK)
        return not self.ended

    @property
    def position(self) -> int:
        """How many bytes were ever taken out of the ring."""
        return 0 if self._ring is None else self._ring.consumer_position

    def process(self) -> int:
        """Handle the records that are in the ring now.

        Records behind an exit() are dropped until `settle`.

        Returns:
            How many records were taken out.
        """
        if self._ring is None:
            return 0
        limit = 0
        if self._may_be_native and not self.exited:
            waiting = self._ring.producer_position - self._ring.consumer_position
            native = self._native or (self._start_native() if waiting >= _MUCH else None)
            if native is not None and waiting >= _MUCH:
                if not self._by_handlers:
                    return self._process_natively(native)
                self._by_handlers -= 1
                limit = _MIXED
        data, records = self._ring.take(limit)
        if not self.exited:
            self._handle(data, records)
        return len(records)

    def _handle(self, data: bytes, records: Sequence[tuple[int, int]]) -> None:
        handlers = self._handlers
        for offset, length in records:
            if length < SHORT_HEADER:
                raise DecodeError(f"a record of {length} bytes has no header", offset=offset)
            event = _EVENT(data, offset)[0]
            if event >= len(handlers):
                raise DecodeError(f"a record names event {event} of {len(handlers)}", offset=offset)
            handlers[event](data, offset, length)
            if self.exited:
                break

    def _start_native(self) -> NativeReader | None:
        if self._make_native is not None:
            self._native, self._make_native = self._make_native(), None
            self._may_be_native = self._native is not None
        return self._native

    def _process_natively(self, native: NativeReader) -> int:
        try:
            status, handled, text = native.read()
        except (OSError, KernelError):  # the system lets nobody run code that is not in a file
            self._native, self._may_be_native = None, False
            return self.process()
        if text:
            self._output.framed(text)
        if status == PYTHON:
            self._strikes = self._strikes + 1 if handled < _FEW else 0
            if self._strikes == _STRIKES:
                self._strikes, self._by_handlers = 0, _PATIENT
            data = native.take_record()
            self._handle(data, [(0, len(data))])
            handled += 1
        return handled

    def settle(self) -> None:
        """Handle everything that was sent before the probes were detached; behind an exit() drop it."""
        self._drain()
        self.exited = False

    def drain(self) -> None:
        """Handle everything that was sent so far."""
        self._drain()

    def finish(self) -> None:
        """End the output: remaining records, what was lost, the maps of a program that prints them."""
        self._drain()
        self._check(0.0)
        if self._context.skipped:
            self._output.warning(f"{self._context.skipped} commands of system() were not run: the run had ended")
        self._output.end()
        if self._context.config.get("print_maps_on_exit", True):
            self.print_maps()
        if self._lost is not None and self._lost_any:
            self._output.lost_total(self._lost.by_probe())
        self._output.close()

    def print_maps(self) -> None:
        """Write every map that a run prints at its end, in the order of their names; empty ones are left out."""
        for name in sorted(self._readers):
            reader = self._readers[name]
            if reader.spec.printed:
                reader.show(self._output, unset=False)

    def close(self) -> None:
        """Close what the loop waits with; the ring and the maps are the caller's."""
        if self._native is not None:
            self._native.close()
            self._native = None
        if self._wake >= 0:
            self._poller.close()
            os.close(self._wake)
            self._wake = -1

    def __enter__(self) -> EventLoop:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _drain(self) -> None:
        ring = self._ring
        if ring is None:
            return
        target = ring.producer_position
        deadline = 0.0
        while ring.consumer_position < target:
            before = ring.consumer_position
            self.process()
            if ring.consumer_position != before:
                deadline = 0.0
                continue
            # The next record is still being written: its program was interrupted, or runs on another CPU.
            now = time.monotonic()
            if not deadline:
                deadline = now + _BUSY
            elif now > deadline:
                self._output.warning("a record was still being written when the run ended; those behind it are lost")
                return
            time.sleep(0.0005)  # the ring counts as readable all the while

    def _sleep(self, timeout: float | None) -> None:
        """Wait for a record, or anything else that we look at."""
        ring, flag = self._ring, self._flag
        if ring is None or flag is None or timeout == 0.0:
            self._look(timeout)
            return
        if self._flowing:  # a moment ago records came faster than we could have fallen asleep
            self._flowing = False
            time.sleep(self._linger)
            self._look(0.0)
            return
        flag.set(True)
        if ring.producer_position != ring.consumer_position:
            # It came just now; or it is being written by a program that was interrupted.
            flag.set(False)
            time.sleep(self._linger / 10)
            return
        began = time.monotonic()
        # A program on another CPU may not have seen the flag although it reserved its record after our look: both
        # stores were on their way.  A moment later they have arrived, so we look again before we sleep for long.
        moment = _MOMENT if timeout is None else min(timeout, _MOMENT)
        if not self._look(moment) and ring.producer_position == ring.consumer_position and moment != timeout:
            self._look(None if timeout is None else timeout - moment)
        flag.set(False)
        self._flowing = time.monotonic() - began < _FAST and ring.producer_position != ring.consumer_position

    def _look(self, timeout: float | None) -> bool:
        """Wait so long for a descriptor; return whether one was ready."""
        tags = self._poller.wait(timeout)
        for tag in tags:
            if tag == "end":
                self._ended = True
            elif tag == "wake":
                os.eventfd_read(self._wake)
            elif callable(tag):
                tag()
        return bool(tags)

    def _check(self, interval: float) -> None:
        """Report losses and failures, unless they were looked at less than `interval` seconds ago."""
        if self._lost is None and self._faults is None:
            return
        now = time.monotonic()
        if now - self._checked_at < interval:
            return
        self._checked_at = now
        if self._lost is not None:
            lost = self._lost.new()
            if lost:
                self._lost_any = True
                self._output.lost_events(lost)
        if self._faults is not None:
            for index, count, result in self._faults.new():
                if index < len(self._spec.faults):
                    site = self._spec.faults[index]
                    if site.warn or self._report_faults:
                        self._output.fault(site, count, result, self._context.location(site.span))
