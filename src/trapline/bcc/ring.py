"""BPF ring buffers: ``BPF_RINGBUF_OUTPUT`` tables and polling them."""

from __future__ import annotations

import ctypes as ct
import select
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trapline.bcc.ctypes_types import CType
from trapline.bcc.failures import BccError
from trapline.bcc.perf import SampleBuffer, load_event_class, sample_buffer
from trapline.bcc.table_base import TableBase
from trapline.errors import TraplineError

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle, RingHandle

RecordCallback = Callable[[Any, Any, int], Any]  # (context, address of the data, its size); negative stops


class _Reader:
    def __init__(self, table: RingBuf, ring: RingHandle, callback: RecordCallback, context: Any) -> None:
        self.table = table
        self.ring = ring
        self._callback = callback
        self._context = context
        self._waiting: deque[bytes] = deque()
        self._buffer = SampleBuffer()

    def deliver(self) -> bool:
        """Hand all records to the callback; return ``False`` when it asked to stop.  What is left stays for later."""
        waiting = self._waiting
        waiting.extend(self.ring.take())
        with sample_buffer(self._buffer) as buffer:
            put, room, callback, context = buffer.put, self.table.event_size, self._callback, self._context
            while waiting:
                data = waiting.popleft()
                result = callback(context, put(data, room), len(data))
                if result is not None and int(result) < 0:
                    return False
        return True


class RingBuffers:
    """All open ring buffers of a `BPF` object."""

    def __init__(self) -> None:
        self._readers: dict[int, _Reader] = {}
        self._poll = select.epoll()

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, fd: int, reader: _Reader) -> None:
        """Start polling the ring buffer map `fd`; a reader that was there is replaced."""
        self.remove(fd)
        self._readers[fd] = reader
        self._poll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop polling a ring buffer and unmap it."""
        reader = self._readers.pop(fd, None)
        if reader is not None:
            self._poll.unregister(fd)
            reader.ring.close()

    def poll(self, timeout: int = -1) -> None:
        """Wait for records and deliver them.

        Args:
            timeout: milliseconds; negative waits without end.

        Raises:
            BccError: no ring buffer was opened.
        """
        self._require_some()
        for fd, _ in self._poll.poll(None if timeout < 0 else timeout / 1000):
            reader = self._readers.get(fd)
            if reader is not None and not reader.deliver():
                return

    def consume(self) -> None:
        """Deliver what is there, without waiting."""
        self._require_some()
        for reader in list(self._readers.values()):
            if not reader.deliver():
                return

    def _require_some(self) -> None:
        if not self._readers:
            raise BccError(
                "No ring buffers to poll", hint='call open_ring_buffer() first, as in b["events"].open_ring_buffer(f)'
            )

    def close(self) -> None:
        """Unmap all ring buffers."""
        for fd in list(self._readers):
            self.remove(fd)
        self._poll.close()


class RingBuf(TableBase):
    """``BPF_RINGBUF_OUTPUT``.

    Args:
        event: makes the ctypes class of what the program sends, or ``None`` when it sends nothing known.
        buffers: the polled buffers of the owning `BPF` object.
    """

    def __init__(
        self,
        handle: MapHandle,
        key: CType,
        leaf: CType,
        name: str,
        *,
        event: Callable[[], CType] | None,
        buffers: RingBuffers,
    ) -> None:
        super().__init__(handle, key, leaf, name)
        self._make_event = event
        self._event_class: CType | None = None
        self._buffers = buffers

    @property
    def event_size(self) -> int:
        """Bytes of the event's type, 0 while `event` was not used."""
        return ct.sizeof(self._event_class) if self._event_class is not None else 0

    def event(self, data: Any) -> Any:
        """Return what the C program sent, as a ctypes object of the type that it has there.

        Args:
            data: the address that the callback got.
        """
        if self._event_class is None:
            self._event_class = load_event_class(self._make_event, self._name)
        return self._event_class.from_buffer_copy(ct.string_at(data, ct.sizeof(self._event_class)))

    def open_ring_buffer(self, callback: RecordCallback, ctx: Any = None) -> None:
        """Map the ring buffer; records are delivered by `BPF.ring_buffer_poll`.

        Args:
            callback: called with (`ctx`, address of the data, its size in bytes); a negative result ends the poll.
            ctx: any object.
        """
        if self._make_event is not None and self._event_class is None:
            try:
                self._event_class = self._make_event()
            except BccError:
                self._event_class = None  # only a script that calls event() needs it
        try:
            ring = self.handle.open_ring()
        except TraplineError as error:
            raise BccError(f"Could not open ring buffer: {error.message}", hint=error.hint) from error
        self._buffers.add(self.map_fd, _Reader(self, ring, callback, ctx))

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0
