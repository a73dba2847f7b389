"""Starts the native reader when a program sends much: its code comes from the cache, or is compiled on the side.

A program that prints now and then never gets here, so it pays nothing for it: neither time nor memory.
"""

from __future__ import annotations

import os
import threading

from trapline.engine.cache import Cache
from trapline.engine.compile import sources_key
from trapline.ir.spec import Event
from trapline.runtime.native.drain import NativeReader
from trapline.runtime.native.plan import make_plan
from trapline.runtime.output.protocol import Framing
from trapline.syscall.ringbuf import RingBuffer


class _Code:
    """The reader's machine code, which is the same for all programs; compiled at most once per process."""

    def __init__(self) -> None:
        self._found: tuple[bytes, int] | None = None
        self._thread: threading.Thread | None = None

    def poll(self) -> tuple[bytes, int] | None:
        """Return the code and where in it it begins; ``None`` while it is being compiled."""
        if self._found is not None or self._thread is not None:
            return self._found
        cache, key = Cache.default(), "\0".join(("native reader", sources_key(), os.uname().machine))
        blob = cache.get(key)
        if blob is not None:
            self._found = blob[8:], int.from_bytes(blob[:8], "little")
        else:
            self._thread = threading.Thread(target=self._compile, args=(cache, key), name="compile")
            self._thread.start()
        return self._found

    def wait(self) -> None:
        """Wait until the code is there."""
        self.poll()
        if self._thread is not None:
            self._thread.join()

    def _compile(self, cache: Cache, key: str) -> None:
        from trapline.codegen.jit import compile_position_independent
        from trapline.runtime.native.reader import ENTRY, reader_functions

        code, entry = compile_position_independent(reader_functions(), ENTRY)
        cache.put(key, entry.to_bytes(8, "little") + code)
        self._found = code, entry


READER_CODE = _Code()


class NativeStart:
    """Makes the reader of one session.

    Args:
        events: the program's.
        framing, trailer: of its output.
        ring: where its records are.
    """

    def __init__(self, events: tuple[Event, ...], framing: Framing, trailer: bytes, ring: RingBuffer) -> None:
        self._plan = make_plan(events, framing, trailer)
        self._ring = ring
        self.reader: NativeReader | None = None

    def poll(self) -> bool:
        """Return whether it is decided what `reader` is; ``None`` stays where it could show nothing."""
        if not self._plan.shown:
            return True
        code = READER_CODE.poll()
        if code is not None:
            self.reader = NativeReader(code, self._plan, self._ring)
        return code is not None
