"""What rings give, as BCC's callbacks and tables take it: an address and a size."""

from __future__ import annotations

import ctypes as ct
import errno
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat

from trapline.bcc.ctypes_types import CType
from trapline.bcc.failures import BccError
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import Run

# All of memory: ctypes copies from any address in it, without an object in between.
_MEMORY = (ct.c_char * sys.maxsize).from_address(0)


class Samples:
    """Samples that were taken out of a ring but not yet delivered.

    Each is delivered once: if a callback raises, those after it stay for the next time.  A callback may poll again,
    which delivers the samples that follow.  A sample is at its address during the call.

    A flood's samples are delivered without a step of Python's own for each: `map` calls the callback.
    """

    def __init__(self) -> None:
        self._data = b""
        self._runs: Iterator[Run] = iter(())
        self._held = b""  # where the addresses are
        self._addresses: Iterator[int] = iter(())
        self._size = 0

    def put(self, data: bytes, runs: Sequence[Run]) -> None:
        """Let these follow, when all others are delivered.

        Args:
            data: the bytes; what may be read behind the last sample is part of them.
            runs: where the samples are.
        """
        self._data = data
        self._runs = iter(runs)

    def deliver(self, callback: Callable[[Any, int, int], Any], first: Any, room: int) -> None:
        """Call back with (`first`, address, size) for each.

        Args:
            callback: the script's.
            first: its first argument.
            room: how many bytes may be read through the address; zero beyond the data.
        """
        while True:
            held, addresses, size = self._held, self._addresses, self._size
            deque(map(callback, repeat(first), addresses, repeat(size)), maxlen=0)
            del held  # not before
            if not self._next_run(room):
                return

    def deliver_until_negative(self, callback: Callable[[Any, int, int], Any], first: Any, room: int) -> bool:
        """Do what `deliver` does until the callback returns a negative number: then return ``False``."""
        while True:
            held, addresses, size = self._held, self._addresses, self._size
            for result in map(callback, repeat(first), addresses, repeat(size)):
                if result is not None and int(result) < 0:
                    return False
            del held  # not before
            if not self._next_run(room):
                return True

    def _next_run(self, room: int) -> bool:
        run = next(self._runs, None)
        if run is None:
            return False
        offset, step, count, size = run
        self._held = self._data
        if size < room:
            places = range(offset, offset + count * step, step)
            self._held = b"".join(self._data[at : at + size].ljust(room, b"\0") for at in places)
            offset, step = 0, room
        start = (ct.cast(ct.c_char_p(self._held), ct.c_void_p).value or 0) + offset
        self._addresses, self._size = iter(range(start, start + count * step, step)), size
        return True


@contextmanager
def ended_by_closed_pipe() -> Iterator[None]:
    """End the script when a callback finds that its output is a closed pipe, as under BCC."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            sys.exit()
        raise


class SubmitsEvents:
    """The part of a table that makes events of samples; `set_event` comes first."""

    def set_event(self, make: Callable[[], CType] | None) -> None:
        """Say what the C program submits.

        Args:
            make: makes its ctypes class, or ``None`` when the program submits nothing known.
        """
        self._make_event = make
        self._copy_event: Callable[[Any, Any], Any] = self._copy_first_event
        self.event_size = 0  # bytes of the event's type, 0 while it is not known

    def expect_events(self) -> None:
        """Make the event's class, if it can be made: only a script that calls `event` needs it."""
        if self._make_event is not None and not self.event_size:
            try:
                self._know_event(self._make_event())
            except BccError:
                return

    def event(self, data: Any) -> Any:
        """Return what the C program submitted, as a ctypes object of the type that it has there.

        Args:
            data: the address that the callback got.
        """
        try:
            return self._copy_event(_MEMORY, data)
        except TypeError:  # not a number, but a pointer
            return self._copy_event(_MEMORY, ct.cast(data, ct.c_void_p).value)

    def _copy_first_event(self, memory: Any, data: Any) -> Any:
        """Make the event's class first; a table whose type is not known ends the script, as under BCC."""
        try:
            if self._make_event is None:
                raise BccError("the program submits nothing to this table whose type is known")
            self._know_event(self._make_event())
        except BccError as error:
            print(f"{error.message}. Please define the data with ctypes manually.", file=sys.stderr)
            sys.exit(1)
        return self._copy_event(memory, data)

    def _know_event(self, event: CType) -> None:
        self.event_size = ct.sizeof(event)
        self._copy_event = event.from_buffer_copy
