"""The printer of a map's elements, as IR: adds up the CPUs' parts, sorts, and writes a text for each element.

    status = show_elements(state)

The first call makes a record of each element, {u64 value; key}, and sorts them by the bytes that the columns name, the
least significant first; every call then writes texts until the output has no room.
"""

from __future__ import annotations

from trapline.ir import function as f
from trapline.ir.native_builder import NativeBuilder
from trapline.ir.types import I64
from trapline.runtime.native import tables as t
from trapline.runtime.native.steps import read_number, step_functions, write_steps

ENTRY = "show_elements"
_WORD = 8
_BYTES = 256


def element_functions() -> list[f.Function]:
    """Return the printer's functions; `ENTRY` is called from outside."""
    return [_show_elements(), _gather(), _sort(), *step_functions(for_maps=True)]


class _ElementsBuilder(NativeBuilder):
    """A builder of a function of the state."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)
        state = self.argument(0)
        self.field = {
            field: self.load(I64, self.offset(state, _WORD * index)) for index, field in enumerate(t.ELEMENTS)
        }

    def keep(self, field: str, value: f.Op) -> None:
        """Change a word of the state."""
        self.store(value, self.offset(self.argument(0), _WORD * t.ELEMENTS.index(field)))

    def word_at(self, base: f.Op, index: f.Op) -> f.Op:
        """Return the address of one of many words."""
        return self.add(base, self.binary("mul", index, self.i64(_WORD)))


def _show_elements() -> f.Function:
    b = _ElementsBuilder(ENTRY)
    field = b.field
    with b.when(b.is_("eq", field["order"], 0)):
        b.call("gather", b.argument(0))
        b.keep("order", b.call("sort", b.argument(0)))
    order = b.load(I64, b.offset(b.argument(0), _WORD * t.ELEMENTS.index("order")))
    row, room = b.memory(field["events"]), b.word(b.memory(field["events"]), t.EVENT_ROOM)
    position, out = b.variable(field["next"], "position"), b.variable(field["out"], "out")
    status = b.variable(b.i64(t.FULL), "status")
    done = b.new_block("done")

    def one(leave: f.Block) -> None:
        at = b.get(position)
        b.leave_if(b.is_("uge", at, field["count"]), done)
        b.leave_if(b.is_("ult", b.sub(field["out_end"], b.get(out)), room), leave)
        record = b.load(I64, b.memory(b.word_at(order, at)))
        write_steps(b, row, record, field, out)
        b.advance(position, 1)

    finish = b.new_block("finish")
    b.repeat(one)
    b.jump(finish)
    b.start(done)
    b.store(b.i64(t.DONE), status)
    b.jump(finish)
    b.start(finish)
    b.keep("next", b.get(position))
    b.keep("out", b.get(out))
    b.ret(b.get(status))
    return b.finish()


def _gather() -> f.Function:
    """gather(state): make the records, and their order as they come."""
    b = _ElementsBuilder("gather")
    field = b.field

    def one(index: f.Op) -> None:
        record = b.add(field["records"], b.binary("mul", index, field["record_size"]))
        source = b.add(field["values"], b.binary("mul", index, field["stride"]))
        total = b.variable(read_number(b, source, field["value_size"], field["value_flags"]), "total")
        part = b.variable(b.add(source, _WORD), "part")
        end = b.add(source, b.binary("mul", field["parts"], b.i64(_WORD)))

        def add_part(leave: f.Block) -> None:
            address = b.get(part)
            b.leave_if(b.is_("uge", address, end), leave)
            b.advance(total, b.load(I64, b.memory(address)))
            b.advance(part, _WORD)

        b.repeat(add_part)
        b.put(b.get(total), record, I64)
        key = b.add(field["keys"], b.binary("mul", index, field["key_size"]))
        b.call("copy", b.memory(b.add(record, _WORD)), key, field["key_size"])
        b.put(record, b.word_at(field["spare"], index), I64)

    b.each(field["count"], one)
    return b.finish()


def _sort() -> f.Function:
    """sort(state): the address of the records' addresses in their order; a radix sort, which keeps that of equals."""
    b = _ElementsBuilder("sort")
    field, count = b.field, b.field["count"]
    order, spare = b.variable(field["spare"], "order"), b.variable(field["other"], "spare")
    counts = b.to_integer(b.local(_WORD * _BYTES, "counts"))

    def by_column(number: f.Op) -> None:
        column = b.element(b.memory(field["columns"]), number, t.COLUMN.size)
        at, flip = b.word(column, t.COLUMN_AT), b.word(column, t.COLUMN_FLIP)

        def place_of(record: f.Op) -> f.Op:
            return b.word_at(counts, b.binary("xor", b.byte(b.add(record, at)), flip))

        def record_at(index: f.Op) -> f.Op:
            return b.load(I64, b.memory(b.word_at(b.get(order), index)))

        def count_one(index: f.Op) -> None:
            place = b.memory(place_of(record_at(index)))
            b.store(b.add(b.load(I64, place), 1), place)

        def move_one(index: f.Op) -> None:
            record = record_at(index)
            place = b.memory(place_of(record))
            target = b.load(I64, place)
            b.store(b.add(target, 1), place)
            b.put(record, b.word_at(b.get(spare), target), I64)

        begin = b.variable(b.i64(0), "begin")

        def begin_at(byte: f.Op) -> None:
            place = b.memory(b.word_at(counts, byte))
            found = b.load(I64, place)
            b.store(b.get(begin), place)
            b.advance(begin, found)

        b.each(_BYTES, lambda byte: b.put(b.i64(0), b.word_at(counts, byte), I64))
        b.each(count, count_one)
        # Most columns are the same in all records.
        first = b.load(I64, b.memory(place_of(record_at(b.i64(0)))))
        with b.when(b.compare("ne", first, count)):
            b.each(_BYTES, begin_at)
            b.each(count, move_one)
            swapped = b.get(order)
            b.store(b.get(spare), order)
            b.store(swapped, spare)

    b.each(field["column_count"], by_column)
    b.ret(b.get(order))
    return b.finish()
