"""What the native reader remembers: the texts of values that Python made, found by the value's words."""

from __future__ import annotations

import ctypes
import struct

from trapline.ir.spec import Field
from trapline.ir.values import StackV
from trapline.runtime.native import tables as t
from trapline.runtime.native.plan import Plan

_PAIR = struct.Struct("<II")


class Memo:
    """A table in memory that the reader looks up in; what it does not find, Python shows and then adds.

    When it is full it begins anew.
    """

    def __init__(self) -> None:
        self._rows = ctypes.create_string_buffer(t.MEMO_ROWS * t.MEMO.size)
        self._memory = ctypes.create_string_buffer(t.MEMO_BYTES + 8)  # whole words are read
        self.rows_address = ctypes.addressof(self._rows)
        self.memory_address = ctypes.addressof(self._memory)
        self._used = 0
        self._count = 0

    def learn(self, data: bytes, plan: Plan) -> None:
        """Remember the values of a record that are not known yet."""
        event, _ = _PAIR.unpack_from(data)
        for item in plan.remembered:
            if item.event == event and len(data) >= t.EVENT.unpack_from(plan.events, event * t.EVENT.size)[0]:
                words = _words(data, item.field)
                if not self._find(_digest(item.number, words), words)[1]:
                    text = item.show(data)
                    if text is not None and len(text) <= t.MEMO_LONGEST - t.SLACK:
                        self._add(item.number, words, text)

    def _add(self, number: int, words: tuple[int, ...], text: bytes) -> None:
        size = 8 * len(words) + (len(text) + 7 & ~7)
        if self._used + size > t.MEMO_BYTES or self._count > t.MEMO_ROWS // 2:
            ctypes.memset(self._rows, 0, len(self._rows))
            self._used = self._count = 0
        digest = _digest(number, words)
        row, _ = self._find(digest, words)
        if row is None:
            return
        key, place = self._used, self._used + 8 * len(words)
        struct.pack_into(f"<{len(words)}Q", self._memory, key, *words)
        ctypes.memmove(self.memory_address + place, text, len(text))
        self._used += size
        self._count += 1
        t.MEMO.pack_into(self._rows, row, digest, len(words), key, place, len(text))

    def _find(self, digest: int, words: tuple[int, ...]) -> tuple[int | None, bool]:
        """Return the place of a value's row or of a free one (``None``: there is none), and whether it is known."""
        for probe in range(t.MEMO_PROBES):
            row = (digest + probe) % t.MEMO_ROWS * t.MEMO.size
            found, count, key, _, length = t.MEMO.unpack_from(self._rows, row)
            if not count and not length:
                return row, False
            if (found, count) == (digest, len(words)) and words == struct.unpack_from(f"<{count}Q", self._memory, key):
                return row, True
        return None, False


def _words(data: bytes, field: Field) -> tuple[int, ...]:
    """Return what tells a value from others, as the reader's `_remembered` does."""
    value, at = field.value, field.offset
    if isinstance(value, StackV):
        return struct.unpack_from(f"<{min(_PAIR.unpack_from(data, at)[1], value.limit)}Q", data, at + 8)
    return (int.from_bytes(data[at : at + value.size], "little"),)


def _digest(number: int, words: tuple[int, ...]) -> int:
    digest = number
    for word in words:
        digest = (digest ^ word) * t.HASH_FACTOR & (1 << 64) - 1
        digest ^= digest >> 32
    return digest
