"""The hash table of a BTF type section's names as native code, in IR: what `trapline.btf.index.build_table` does.

    result = hash_names(state)

`STATE` names the 64-bit words of `state`.  The result is 0, `FULL` when the table has not enough room, or `BAD` for a
name that lies outside of the strings.
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.native_builder import NativeBuilder
from trapline.ir.types import I32, I64

ENTRY = "hash_names"
STATE = ("types", "offset", "end", "strings", "length", "crc", "slots", "mask", "room", "id", "steps")
FULL, BAD = 1, 2
_HEAD = 12  # bytes of `struct btf_type`, which the constants of an enum follow


def names_functions() -> list[f.Function]:
    """Return the function; `ENTRY` is its name.

    Of the state, `offset` and `end` bound the types' offsets in words; `crc` has the 256 words of CRC-32, `slots` is
    zero and has `mask` + 1 words, of which `room` may be used; `steps` has for each of 32 kinds the bytes of an enum's
    constant (32 bits, 0 for what is no enum).
    """
    b = NativeBuilder(ENTRY, 1)
    words = [b.load(I64, b.offset(b.argument(0), 8 * index)) for index in range(len(STATE))]
    types, offset, end, strings, length, crc, slots, mask, room, first_id, steps = words
    place, type_id, left = b.variable(offset, "place"), b.variable(first_id, "type_id"), b.variable(room, "left")
    name_at, names, stride = (b.variable(b.i64(0), name) for name in ("name_at", "names", "stride"))
    text, sum_, slot = (b.variable(b.i64(0), name) for name in ("text", "sum", "slot"))
    done, full, bad = b.new_block("done"), b.new_block("full"), b.new_block("bad")

    def index(table: f.Op, row: f.Op) -> f.Op:
        return b.memory(b.add(table, b.binary("mul", row, b.i64(4))))

    def character(leave: f.Block) -> None:
        byte = b.byte(b.get(text))
        b.leave_if(b.is_("eq", byte, 0), leave)
        b.advance(text, 1)
        row = b.both(b.binary("xor", b.get(sum_), byte), 0xFF)
        b.store(b.binary("xor", b.word(index(crc, row), 0), b.binary("lshr", b.get(sum_), b.i64(8))), sum_)

    def taken(leave: f.Block) -> None:
        b.leave_if(b.is_("eq", b.word(index(slots, b.get(slot)), 0), 0), leave)
        b.store(b.both(b.add(b.get(slot), 1), mask), slot)

    def one_name(leave: f.Block) -> None:
        b.leave_if(b.is_("eq", b.get(names), 0), leave)
        name = b.word(b.memory(b.get(name_at)), 0)
        b.advance(names, -1)
        b.advance(name_at, b.get(stride))
        b.store(b.get(step), stride)
        insert, rest = b.new_block("insert"), b.new_block("rest")
        b.branch(b.is_("eq", name, 0), rest, insert)
        b.start(insert)
        b.leave_if(b.is_("uge", name, length), bad)
        b.leave_if(b.is_("eq", b.get(left), 0), full)
        b.advance(left, -1)
        b.store(b.add(strings, name), text)
        b.store(b.i64(0xFFFFFFFF), sum_)
        b.repeat(character)
        b.store(b.both(b.binary("xor", b.get(sum_), b.i64(0xFFFFFFFF)), mask), slot)
        b.repeat(taken)
        b.put(b.get(type_id), b.add(slots, b.binary("mul", b.get(slot), b.i64(4))), I32)
        b.jump(rest)
        b.start(rest)

    def one_type(leave: f.Block) -> None:
        b.leave_if(b.is_("uge", b.get(place), end), leave)
        head = b.add(types, b.binary("mul", b.word(b.memory(b.get(place)), 0), b.i64(4)))
        b.advance(place, 4)
        info = b.word(b.memory(head), 4)
        kind = b.both(b.binary("lshr", info, b.i64(24)), 31)
        b.store(b.word(index(steps, kind), 0), step)
        b.store(head, name_at)
        b.store(b.i64(_HEAD), stride)
        b.store(b.i64(1), names)
        enum, own = b.new_block("enum"), b.new_block("own")
        b.branch(b.is_("eq", b.get(step), 0), own, enum)
        b.start(enum)
        b.advance(names, b.both(info, 0xFFFF))
        b.jump(own)
        b.start(own)
        b.repeat(one_name)
        b.advance(type_id, 1)

    step = b.variable(b.i64(0), "step")
    b.repeat(one_type)
    b.jump(done)
    for block, result in ((done, 0), (full, FULL), (bad, BAD)):
        b.start(block)
        b.ret(b.i64(result))
    return [b.finish()]
