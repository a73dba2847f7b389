"""The scan of a BTF type section as native code, in IR: where each type starts, and its name's offset.

    count = scan_types(state)

`STATE` names the 64-bit words of `state`.  The result is -1 for bytes that are not whole types of known kinds.
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.native_builder import NativeBuilder
from trapline.ir.types import I32, I64

ENTRY = "scan_types"
STATE = ("types", "end", "sizes", "offsets", "names")
SIZE_ROW = 8  # `sizes` has for each of 32 kinds two 32-bit words: bytes of the type (0: unknown), and of each of vlen


def scan_functions() -> list[f.Function]:
    """Return the function; `ENTRY` is its name."""
    b = NativeBuilder(ENTRY, 1)
    state = b.argument(0)
    types, end, sizes, offsets, names = (b.load(I64, b.offset(state, 8 * index)) for index in range(len(STATE)))
    position, count = b.variable(types, "position"), b.variable(b.i64(0), "count")
    whole, bad = b.new_block("whole"), b.new_block("bad")

    def one(leave: f.Block) -> None:
        at = b.get(position)
        b.leave_if(b.is_("uge", at, end), leave)
        b.leave_if(b.is_("ult", b.sub(end, at), 12), bad)
        head = b.memory(at)
        info = b.word(head, 4)
        kind = b.both(b.binary("lshr", info, b.i64(24)), 31)
        row = b.memory(b.add(sizes, b.binary("mul", kind, b.i64(SIZE_ROW))))
        fixed = b.word(row, 0)
        b.leave_if(b.is_("eq", fixed, 0), bad)
        place = b.binary("mul", b.get(count), b.i64(4))
        b.put(b.word(head, 0), b.add(names, place), I32)
        b.put(b.binary("lshr", b.sub(at, types), b.i64(2)), b.add(offsets, place), I32)
        b.advance(count, 1)
        b.advance(position, b.add(fixed, b.binary("mul", b.word(row, 4), b.both(info, 0xFFFF))))

    b.repeat(one)
    b.branch(b.is_("eq", b.get(position), end), whole, bad)
    b.start(bad)
    b.ret(b.i64(-1))
    b.start(whole)
    b.ret(b.get(count))
    return [b.finish()]
