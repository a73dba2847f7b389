"""The native reader at work on a ring: what it needs in memory, and one call per batch of records."""

from __future__ import annotations

import ctypes

from trapline.hints import Protocol
from trapline.runtime.native import tables as t
from trapline.runtime.native.memo import Memo
from trapline.runtime.native.plan import Plan
from trapline.syscall.machine_code import MachineCode, shipped_code
from trapline.syscall.ringbuf import RingAddresses

_ROOM = 128 << 10  # bytes of text per call


class AddressedRing(Protocol):
    """A ring that native code can read."""

    @property
    def addresses(self) -> RingAddresses:
        """Where it is; valid until it is closed."""


class NativeReader:
    """Takes records out of a ring as text.

    Nothing is mapped before `read` is called.

    Args:
        code: the reader's machine code, and where in it it begins.
        plan: the program's tables.
        ring: where the records are; nobody else may take some out during a call.
    """

    def __init__(self, code: tuple[bytes, int], plan: Plan, ring: AddressedRing) -> None:
        self._code = code
        self._plan = plan
        self._ring = ring
        self._machine_code: MachineCode | None = None

    @classmethod
    def for_this_machine(cls, plan: Plan, ring: AddressedRing) -> NativeReader | None:
        """Return a reader with the code that comes with trapline; ``None`` when there is none for this architecture."""
        from trapline.runtime.native._generated_code import CODE

        code = shipped_code(CODE)
        return None if code is None else cls(code, plan, ring)

    def read(self) -> tuple[int, int, bytes]:
        """Take records out up to the first that needs Python, or until about 128 KiB of text are there.

        Returns:
            `tables.DONE`, `FULL` or `PYTHON`; how many records were taken out; their text.

        Raises:
            OSError, KernelError: the system does not let us run such code; nothing was taken out.
        """
        if self._machine_code is None:
            self._start()
            assert self._machine_code is not None
        state, out = self._state, self._out_address
        state[_OUT] = out
        status = self._machine_code.call(self._state_address)
        return status, state[_HANDLED], ctypes.string_at(out, state[_OUT] - out)

    def take_record(self) -> bytes:
        """Take out the record at which `read` stopped with `PYTHON`; what it shows is remembered for the next one."""
        state = self._state
        data = ctypes.string_at(state[_RECORD], state[_LENGTH])
        self._consumer.value = state[_NEXT]
        if self._plan.remembered:
            self._memo.learn(data, self._plan)
        return data

    def close(self) -> None:
        """Unmap the code."""
        if self._machine_code is not None:
            self._machine_code.close()
            self._machine_code = None

    def _start(self) -> None:
        code, entry = self._code
        machine_code = MachineCode(code, entry)
        ring, plan = self._ring.addresses, self._plan
        self._buffers = [
            ctypes.create_string_buffer(table, len(table) + 1) for table in (plan.events, plan.steps, plan.pool)
        ]
        events, steps, pool = (ctypes.addressof(buffer) for buffer in self._buffers)
        self._memo = Memo()
        self._out = ctypes.create_string_buffer(_ROOM)
        self._out_address = ctypes.addressof(self._out)
        self._state = (ctypes.c_uint64 * len(t.STATE))()
        self._state_address = ctypes.addressof(self._state)
        self._consumer = ctypes.c_uint64.from_address(ring.consumer)
        given = {
            "consumer": ring.consumer,
            "producer": ring.producer,
            "data": ring.data,
            "mask": ring.mask,
            "events": events,
            "event_count": len(plan.events) // t.EVENT.size,
            "steps": steps,
            "pool": pool,
            "memo": self._memo.rows_address,
            "memory": self._memo.memory_address,
            "out_end": self._out_address + _ROOM,
        }
        for name, value in given.items():
            self._state[t.STATE.index(name)] = value
        self._machine_code = machine_code


_OUT, _HANDLED, _RECORD, _LENGTH, _NEXT = (
    t.STATE.index(name) for name in ("out", "handled", "record", "length", "next")
)
