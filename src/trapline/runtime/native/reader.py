"""The native reader's code, as IR: takes records out of the ring and writes their text.

    status = read_ring(state)

It ends at a record that needs Python, when the output has no room, or when no finished record is left; the consumer
position is behind the last record that it wrote.  It calls nothing, so that it is plain bytes that run anywhere.
"""

from __future__ import annotations

from trapline.abi.bpf import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ
from trapline.ir import function as f
from trapline.ir.native_builder import NativeBuilder
from trapline.ir.spec import SHORT_HEADER
from trapline.ir.types import I32, I64
from trapline.runtime.native import tables as t
from trapline.runtime.native.steps import step_functions, write_steps

ENTRY = "read_ring"
_RELEASE_EVERY = 16 << 10  # bytes of the ring between two stores of the consumer position


def reader_functions() -> list[f.Function]:
    """Return the reader's functions; `ENTRY` is called from outside."""
    return [_read_ring(), *step_functions()]


def _read_ring() -> f.Function:
    b = NativeBuilder(ENTRY, 1)
    state = b.argument(0)
    field = {name: b.load(I64, b.offset(state, 8 * index)) for index, name in enumerate(t.STATE)}

    def keep(name: str, value: f.Op) -> None:
        b.store(value, b.offset(state, 8 * t.STATE.index(name)))

    consumer = b.memory(field["consumer"])
    start = b.load(I64, consumer)
    end = b.load(I64, b.memory(field["producer"]), acquire=True)
    position, released = b.variable(start, "position"), b.variable(start, "released")
    out = b.variable(field["out"], "out")
    handled, status = b.variable(b.i64(0), "handled"), b.variable(b.i64(0), "status")
    done, full, python = b.new_block("done"), b.new_block("full"), b.new_block("python")
    record_at, length_of, next_at = (b.variable(b.i64(0), name) for name in ("record", "length", "next"))

    def one(_leave: f.Block) -> None:
        at = b.get(position)
        b.leave_if(b.is_("uge", at, end), done)
        place = b.add(field["data"], b.both(at, field["mask"]))
        head = b.resize(b.load(I32, b.memory(place), acquire=True), I64, signed=False)
        b.leave_if(b.is_("ne", b.both(head, BPF_RINGBUF_BUSY_BIT), 0), done)
        length = b.both(head, ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT) & 0xFFFFFFFF)
        following = b.add(at, b.both(b.add(length, BPF_RINGBUF_HDR_SZ + 7), ~7))
        record = b.add(place, BPF_RINGBUF_HDR_SZ)
        written = b.new_block("written")
        b.leave_if(b.is_("ne", b.both(head, BPF_RINGBUF_DISCARD_BIT), 0), written)
        for variable, value in ((record_at, record), (length_of, length), (next_at, following)):
            b.store(value, variable)
        b.leave_if(b.is_("ult", length, SHORT_HEADER), python)
        event = b.word(b.memory(record), 0)
        b.leave_if(b.is_("uge", event, field["event_count"]), python)
        row = b.element(b.memory(field["events"]), event, t.EVENT.size)
        size = b.word(row, t.EVENT_SIZE)
        b.leave_if(b.is_("eq", size, 0), python)
        b.leave_if(b.is_("ult", length, size), python)
        b.leave_if(b.is_("ult", b.sub(field["out_end"], b.get(out)), b.word(row, t.EVENT_ROOM)), full)
        text = b.variable(b.get(out), "text")
        write_steps(b, row, record, field, text, python)
        b.store(b.get(text), out)
        b.advance(handled, 1)
        b.jump(written)
        b.start(written)
        b.store(following, position)
        with b.when(b.is_("ugt", b.sub(following, b.get(released)), _RELEASE_EVERY)):
            b.store(following, consumer, release=True)
            b.store(following, released)

    b.repeat(one)
    # The loop is left by jumps to these blocks alone.
    b.jump(done)
    finish = b.new_block("finish")
    for block, value in ((done, t.DONE), (full, t.FULL), (python, t.PYTHON)):
        b.start(block)
        b.store(b.i64(value), status)
        b.jump(finish)
    b.start(finish)
    b.store(b.get(position), consumer, release=True)
    for name, variable in (
        ("out", out),
        ("handled", handled),
        ("record", record_at),
        ("length", length_of),
        ("next", next_at),
    ):
        keep(name, b.get(variable))
    b.ret(b.get(status))
    return b.finish()
