"""Go through the types of a large BTF with native code: 20 times as fast as `trapline.btf.index` does."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from zlib import crc32

from trapline.btf.index import EXTRA_WORDS, NameTable, room_in, slots_for
from trapline.btf.types import BTF_KIND_ENUM, BTF_KIND_ENUM64
from trapline.errors import KernelError
from trapline.kernel import _generated_names, _generated_scan
from trapline.kernel.type_names_ir import FULL
from trapline.syscall.machine_code import MachineCode, shipped_code

_WORTH_IT = 1 << 16  # bytes of types from which on it is faster to map code


class TypeScanner:
    """A `trapline.btf.reader.Scanner`.

    It leaves to Python a machine without code or that does not let us run some, a few types, and malformed ones.

    Args:
        scan_code: machine code of `trapline.kernel.type_scan_ir` and where it begins, if not what comes with trapline.
        names_code: the same of `trapline.kernel.type_names_ir`.
    """

    def __init__(self, scan_code: tuple[bytes, int] | None = None, names_code: tuple[bytes, int] | None = None) -> None:
        self._scan_code = scan_code
        self._names_code = names_code

    def scan(self, source: bytes, types: range) -> tuple[array[int], bytes] | None:
        """Return the word offset of each type, and the types' first words."""
        code = self._scan_code or _code_for(types, _generated_scan.CODE)
        if code is None:
            return None
        sizes = array("I", bytes(256))
        for kind, (fixed, each) in EXTRA_WORDS.items():
            sizes[2 * kind : 2 * kind + 2] = array("I", (12 + 4 * fixed, 4 * each))
        room = len(types) // 12 * 4 or 1
        offsets, names = ctypes.create_string_buffer(room), ctypes.create_string_buffer(room)
        start = _address_in(source)
        count = _run(
            code,
            *(start + types.start, start + types.stop, _address(sizes)),
            *(ctypes.addressof(offsets), ctypes.addressof(names)),
        )
        if count is None or count < 0:
            return None
        return array("I", memoryview(offsets)[: 4 * count].tobytes()), memoryview(names)[: 4 * count].tobytes()

    def hash_names(
        self, source: bytes, types: range, strings: range, offsets: Sequence[int], first_id: int
    ) -> NameTable | None:
        """Return the table of the names of types and of enums' constants."""
        code = self._names_code or _code_for(types, _generated_names.CODE)
        if code is None or not isinstance(offsets, array):
            return None
        steps = array("I", bytes(128))
        for kind in (BTF_KIND_ENUM, BTF_KIND_ENUM64):
            steps[kind] = 4 * EXTRA_WORDS[kind][1]
        # The table of CRC-32, of what zlib makes of single bytes.
        crc = array("I", (crc32(bytes((byte ^ 0xFF,))) ^ 0xFF000000 for byte in range(256)))
        start, first = _address_in(source), _address(offsets)
        end = first + 4 * len(offsets)
        count = slots_for(len(offsets))
        while True:
            slots = array("I", bytes(4 * count))
            result = _run(
                code,
                *(start + types.start, first, end, start + strings.start, len(strings), _address(crc)),
                *(_address(slots), count - 1, room_in(count), first_id, _address(steps)),
            )
            if result == 0:
                return NameTable(slots)
            if result != FULL:
                return None
            count *= 2


def _code_for(types: range, codes: dict[str, tuple[int, str]]) -> tuple[bytes, int] | None:
    return shipped_code(codes) if len(types) >= _WORTH_IT else None


def _address_in(source: bytes) -> int:
    """Return where bytes are in memory; they stay there as long as they live."""
    return ctypes.cast(ctypes.c_char_p(source), ctypes.c_void_p).value or 0


def _address(words: array[int]) -> int:
    return words.buffer_info()[0]


def _run(code: tuple[bytes, int], *state: int) -> int | None:
    """Call native code; ``None`` where none may run."""
    words = (ctypes.c_uint64 * len(state))(*state)
    try:
        machine_code = MachineCode(*code)
    except (OSError, KernelError):
        return None
    try:
        return int(machine_code.call(ctypes.addressof(words)))
    finally:
        machine_code.close()
