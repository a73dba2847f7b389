"""BPF ring buffers: ``BPF_RINGBUF_OUTPUT`` tables and polling them."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator

from trapline.bcc.ctypes_types import CType
from trapline.bcc.failures import BccError
from trapline.bcc.samples import Samples, SubmitsEvents, ended_by_closed_pipe
from trapline.bcc.table_base import TableBase
from trapline.errors import TraplineError
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle, RingHandle

RecordCallback = Callable[[Any, Any, int], Any]  # (context, address of the data, its size); negative stops


class _Reader:
    def __init__(self, table: RingBuf, ring: RingHandle, callback: RecordCallback, context: Any) -> None:
        self.table = table
        self.ring = ring
        self._callback = callback
        self._context = context
        self._samples = Samples()

    def deliver(self) -> bool:
        """Hand all records to the callback; return ``False`` when it asked to stop.  What is left stays for later."""
        samples, callback, context, room = self._samples, self._callback, self._context, self.table.event_size
        with ended_by_closed_pipe():
            if not samples.deliver_until_negative(callback, context, room):
                return False
            for data, runs in self.ring.batches():
                samples.put(data, runs)
                if not samples.deliver_until_negative(callback, context, room):
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


class RingBuf(SubmitsEvents, TableBase):
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
        self.set_event(event)
        self._buffers = buffers

    def open_ring_buffer(self, callback: RecordCallback, ctx: Any = None) -> None:
        """Map the ring buffer; records are delivered by `BPF.ring_buffer_poll`.

        Args:
            callback: called with (`ctx`, address of the data, its size in bytes); a negative result ends the poll.
            ctx: any object.
        """
        self.expect_events()
        try:
            ring = self.handle.open_ring()
        except TraplineError as error:
            raise BccError(f"Could not open ring buffer: {error.message}", hint=error.hint) from error
        self._buffers.add(self.map_fd, _Reader(self, ring, callback, ctx))

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0
