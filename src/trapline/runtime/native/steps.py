"""The steps that write a record as text, as IR: what the native reader and the printer of maps share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trapline.ir import function as f
from trapline.ir.native_builder import NativeBuilder
from trapline.ir.types import I8, I16, I32, I64
from trapline.runtime.native import tables as t

_LOW_BITS = 0x0101010101010101
_DIGITS = 24  # room for a number's digits


def step_functions(*, for_maps: bool = False) -> list[f.Function]:
    """Return the functions that `write_steps` calls; `for_maps` leaves out those that may need Python."""
    common = [_decimal(), _hexadecimal(), _string(), _copy(), _pad()]
    return common if for_maps else [*common, _json_string(), _recall()]


def write_steps(
    b: NativeBuilder, row: f.Op, record: f.Op, field: Mapping[str, f.Op], text: f.Op, python: f.Block | None = None
) -> None:
    """Write all steps of a record at the address in `text`, which moves behind them.

    Args:
        b: writes them.
        row: the record's `EVENT`.
        record: its address.
        field: the words of the state.
        text: a variable.
        python: where to jump when a step needs Python; without it there are no steps that may.
    """
    steps, pool = field["steps"], field["pool"]
    step_at = b.variable(b.add(steps, b.binary("mul", b.word(row, t.EVENT_FIRST), b.i64(t.STEP.size))), "step")
    end = b.add(steps, b.binary("mul", b.word(row, t.EVENT_END), b.i64(t.STEP.size)))

    def one(leave: f.Block) -> None:
        step_address = b.get(step_at)
        b.leave_if(b.is_("eq", step_address, end), leave)
        step = b.memory(step_address)
        b.store(b.add(step_address, t.STEP.size), step_at)
        kind, at, size = b.word(step, t.STEP_KIND), b.word(step, t.STEP_AT), b.word(step, t.STEP_SIZE)
        begin = b.get(text)
        target = b.memory(begin)
        pad = b.new_block("pad")
        names = ("copy", "number", "char", "string", "json", "recall")
        copy, number, char, string, json, recall = (b.new_block(name) for name in names)
        cases = [(t.TEXT, copy), (t.CHAR, char), (t.STRING, string)]
        if python is not None:
            cases += [(t.JSON_STRING, json), (t.REMEMBERED, recall)]
        b.switch(kind, number, cases)

        b.start(copy)
        b.store(b.call("copy", target, b.add(pool, at), size), text)
        b.jump(pad)

        b.start(char)
        b.put(b.byte(b.add(record, at)), begin)
        b.store(b.add(begin, 1), text)
        b.jump(pad)

        b.start(string)
        b.store(b.call("string", target, b.add(record, at), size, step_address, pool), text)
        b.jump(pad)

        if python is not None:
            b.start(json)
            found = b.call("json_string", target, b.add(record, at), size, step_address, pool)
            b.leave_if(b.is_("eq", found, 0), python)
            b.store(found, text)
            b.jump(pad)

            b.start(recall)
            row = _remembered(b, b.add(record, at), size, step, field)
            b.leave_if(b.is_("eq", row, 0), python)
            place = b.add(field["memory"], b.word(b.memory(row), t.MEMO_TEXT))
            b.store(b.call("copy", target, place, b.word(b.memory(row), t.MEMO_LENGTH)), text)
            b.jump(pad)

        b.start(number)
        flags = b.word(step, t.STEP_FLAGS)
        value = b.both(read_number(b, b.add(record, at), size, flags), b.load(I64, b.offset(step, t.STEP_MASK)))
        decimal, hexadecimal = b.new_block("decimal"), b.new_block("hexadecimal")
        b.branch(b.is_("eq", kind, t.DECIMAL), decimal, hexadecimal)
        b.start(decimal)
        b.store(b.call("decimal", target, value, flags), text)
        b.jump(pad)
        b.start(hexadecimal)
        b.store(b.call("hexadecimal", target, value, flags), text)
        b.jump(pad)

        b.start(pad)
        width = b.word(step, t.STEP_WIDTH)
        with b.when(b.is_("ult", b.sub(b.get(text), begin), width)):
            b.store(b.call("pad", target, b.get(text), width, b.word(step, t.STEP_FLAGS)), text)

    b.repeat(one)


def _remembered(b: NativeBuilder, address: f.Op, size: f.Op, step: f.Op, field: Mapping[str, f.Op]) -> f.Op:
    """Return the address of the row that remembers the value at `address`; 0 when there is none."""
    key, words = b.variable(b.i64(0), "key"), b.variable(b.i64(1), "words")
    source = b.variable(b.to_integer(key), "source")
    stack, scalar, known = b.new_block("stack"), b.new_block("scalar"), b.new_block("known")
    b.branch(b.flag(b.word(step, t.STEP_FLAGS), t.COUNTED), stack, scalar)
    b.start(stack)
    count = b.word(b.memory(address), 4)
    b.store(b.select(b.is_("ult", count, size), count, size), words)
    b.store(b.add(address, 8), source)
    b.jump(known)
    b.start(scalar)
    b.store(read_number(b, address, size, b.i64(0)), key)
    b.jump(known)
    b.start(known)
    number = b.load(I64, b.offset(step, t.STEP_MASK))
    return b.call("recall", b.memory(b.get(source)), b.get(words), number, field["memo"], field["memory"])


def _recall() -> f.Function:
    """recall(key, words, number, memo, memory): the address of the row with this key, or 0."""
    b = NativeBuilder("recall", 5)
    key, words, number, memo, memory = b.to_integer(b.argument(0)), *(b.argument(index) for index in range(1, 5))
    digest = b.variable(number, "digest")
    size = b.binary("shl", words, b.i64(3))
    found, nothing = b.new_block("found"), b.new_block("nothing")

    def mix(done: f.Op) -> None:
        word = b.load(I64, b.memory(b.add(key, done)))
        product = b.binary("mul", b.binary("xor", b.get(digest), word), b.i64(t.HASH_FACTOR - (1 << 64)))
        b.store(b.binary("xor", product, b.binary("lshr", product, b.i64(32))), digest)

    b.each(size, mix, step=8)
    wanted = b.get(digest)
    probe, row = b.variable(b.i64(0), "probe"), b.variable(b.i64(0), "row")

    def look(leave: f.Block) -> None:
        b.leave_if(b.is_("uge", b.get(probe), t.MEMO_PROBES), nothing)
        index = b.both(b.add(wanted, b.get(probe)), t.MEMO_ROWS - 1)
        b.store(b.add(memo, b.binary("mul", index, b.i64(t.MEMO.size))), row)
        b.advance(probe, 1)
        place = b.memory(b.get(row))
        same = b.binary(
            "and",
            b.is_("eq", b.load(I64, b.offset(place, t.MEMO_HASH)), wanted),
            b.is_("eq", b.word(place, t.MEMO_WORDS), words),
        )
        other = b.new_block("other")
        b.leave_if(b.invert(same), other)
        kept = b.add(memory, b.word(place, t.MEMO_KEY))

        def compare(done: f.Op) -> None:
            left, right = (b.load(I64, b.memory(b.add(base, done))) for base in (key, kept))
            b.leave_if(b.compare("ne", left, right), other)

        b.each(size, compare, step=8)
        b.jump(found)
        b.start(other)

    b.repeat(look)
    b.jump(nothing)
    b.start(nothing)
    b.ret(b.i64(0))
    b.start(found)
    b.ret(b.get(row))
    return b.finish()


def read_number(b: NativeBuilder, address: f.Op, size: f.Op, flags: f.Op) -> f.Op:
    """Read an integer of 1, 2, 4 or 8 bytes, extended as `flags` say."""
    result = b.variable(b.i64(0), "number")
    done, wide = b.new_block("read"), b.new_block("eight")
    cases = []
    for type_ in (I8, I16, I32):
        cases.append((type_.size, type_, b.new_block(f"bytes{type_.size}")))
    b.switch(size, wide, tuple((key, block) for key, _, block in cases))
    for _, type_, block in cases:
        b.start(block)
        raw = b.load(type_, b.memory(address))
        signed, unsigned = b.resize(raw, I64, signed=True), b.resize(raw, I64, signed=False)
        b.store(b.select(b.flag(flags, t.SIGNED), signed, unsigned), result)
        b.jump(done)
    b.start(wide)
    b.store(b.load(I64, b.memory(address)), result)
    b.jump(done)
    b.start(done)
    return b.get(result)


def _digits(b: NativeBuilder, value: f.Op, base: int, digit: Callable[[f.Op], f.Op]) -> tuple[f.Op, f.Op]:
    """Write a number's digits at the end of a buffer; return the variables with its end and the first digit's place."""
    buffer = b.local(2 * _DIGITS, "digits", zero=True)
    end = b.add(b.to_integer(buffer), _DIGITS)
    place, rest = b.variable(end, "place"), b.variable(value, "rest")

    def one(leave: f.Block) -> None:
        number = b.get(rest)
        quotient = b.binary("udiv", number, b.i64(base))
        b.advance(place, -1)
        b.put(digit(b.sub(number, b.binary("mul", quotient, b.i64(base)))), b.get(place))
        b.store(quotient, rest)
        b.leave_if(b.is_("eq", quotient, 0), leave)

    b.repeat(one)
    return end, b.get(place)


def _decimal() -> f.Function:
    """decimal(out, value, flags): the address behind the text."""
    b = NativeBuilder("decimal", 3)
    out, value, flags = b.variable(b.to_integer(b.argument(0)), "out"), b.argument(1), b.argument(2)
    number = b.variable(value, "value")
    negative = b.is_("slt", value, 0)
    with b.when(b.binary("and", negative, b.flag(flags, t.NEGATIVE))):
        b.put(b.i64(ord("-")), b.get(out))
        b.advance(out, 1)
        b.store(b.sub(b.i64(0), value), number)
    end, first = _digits(b, b.get(number), 10, lambda digit: b.add(digit, ord("0")))
    _copy_words(b, b.get(out), first, 3)
    b.ret(b.add(b.get(out), b.sub(end, first)))
    return b.finish()


def _hexadecimal() -> f.Function:
    """hexadecimal(out, value, flags): the address behind the text."""
    b = NativeBuilder("hexadecimal", 3)
    out, value, flags = b.variable(b.to_integer(b.argument(0)), "out"), b.argument(1), b.argument(2)
    letters = b.select(b.flag(flags, t.UPPER), b.i64(ord("A") - 10), b.i64(ord("a") - 10))
    with b.when(b.binary("and", b.flag(flags, t.PREFIX), b.is_("ne", value, 0))):
        b.put(b.i64(ord("0")), b.get(out))
        b.put(b.select(b.flag(flags, t.UPPER), b.i64(ord("X")), b.i64(ord("x"))), b.add(b.get(out), 1))
        b.advance(out, 2)

    def letter(digit: f.Op) -> f.Op:
        return b.add(digit, b.select(b.is_("ult", digit, 10), b.i64(ord("0")), letters))

    end, first = _digits(b, value, 16, letter)
    _copy_words(b, b.get(out), first, 2)
    b.ret(b.add(b.get(out), b.sub(end, first)))
    return b.finish()


def _copy_words(b: NativeBuilder, target: f.Op, source: f.Op, words: int) -> None:
    """Copy whole words: what is behind the text is overwritten by the next step."""
    for index in range(words):
        b.put(b.load(I64, b.memory(b.add(source, 8 * index))), b.add(target, 8 * index), I64)


def _copy() -> f.Function:
    """copy(out, source, size): copy a text of the pool, by words; the address behind it."""
    b = NativeBuilder("copy", 3)
    out, source, size = b.to_integer(b.argument(0)), b.argument(1), b.argument(2)

    def one(done: f.Op) -> None:
        b.put(b.load(I64, b.memory(b.add(source, done))), b.add(out, done), I64)

    b.each(size, one, step=8)
    b.ret(b.add(out, size))
    return b.finish()


def _string() -> f.Function:
    """string(out, source, size, step, pool): copy up to the first NUL; the address behind it."""
    b = NativeBuilder("string", 5)
    out, source, size = b.to_integer(b.argument(0)), b.argument(1), b.argument(2)
    at = b.variable(b.i64(0), "at")
    tail, ended = b.new_block("tail"), b.new_block("ended")

    def words(leave: f.Block) -> None:
        done = b.get(at)
        b.leave_if(b.is_("ugt", b.add(done, 8), size), leave)
        word = b.load(I64, b.memory(b.add(source, done)))
        b.put(word, b.add(out, done), I64)
        # A byte is 0 where subtracting 1 borrows into its top bit, which was not set.
        zeros = b.both(b.sub(word, _LOW_BITS), b.both(b.binary("xor", word, b.i64(-1)), _LOW_BITS << 7))
        b.leave_if(b.is_("ne", zeros, 0), tail)
        b.store(b.add(done, 8), at)

    b.repeat(words)
    b.jump(tail)
    b.start(tail)

    def rest(done: f.Op) -> None:
        byte = b.byte(b.add(source, done))
        b.leave_if(b.is_("eq", byte, 0), ended)
        b.put(byte, b.add(out, done))

    b.each(size, rest, index=at)
    _end_with_trailer(b, out, size)
    b.start(ended)
    b.ret(b.add(out, b.get(at)))
    return b.finish()


def _end_with_trailer(b: NativeBuilder, out: f.Op, size: f.Op) -> None:
    """Return from a string that fills its field: its end is marked."""
    step, pool = b.memory(b.argument(3)), b.argument(4)
    trailer = b.add(pool, b.word(step, t.STEP_TRAILER))
    b.ret(b.call("copy", b.memory(b.add(out, size)), trailer, b.word(step, t.STEP_TRAILER_SIZE)))


def _json_string() -> f.Function:
    """json_string(out, source, size, step, pool): the same, but 0 when a byte needs an escape."""
    b = NativeBuilder("json_string", 5)
    out, source, size = b.to_integer(b.argument(0)), b.argument(1), b.argument(2)
    at = b.variable(b.i64(0), "at")
    ended, special = b.new_block("ended"), b.new_block("special")

    def one(done: f.Op) -> None:
        byte = b.byte(b.add(source, done))
        b.leave_if(b.is_("eq", byte, 0), ended)
        b.leave_if(b.is_("uge", b.sub(byte, 0x20), 0x7F - 0x20), special)
        for other in b'"\\':
            b.leave_if(b.is_("eq", byte, other), special)
        b.put(byte, b.add(out, done))

    b.each(size, one, index=at)
    _end_with_trailer(b, out, size)
    b.start(ended)
    b.ret(b.add(out, b.get(at)))
    b.start(special)
    b.ret(b.i64(0))
    return b.finish()


def _pad() -> f.Function:
    """pad(begin, end, width, flags): fill a text up to its width; the address behind it."""
    b = NativeBuilder("pad", 4)
    begin, end, width, flags = b.to_integer(b.argument(0)), b.argument(1), b.argument(2), b.argument(3)
    goal = b.add(begin, width)
    behind, before = b.new_block("behind"), b.new_block("before")
    b.branch(b.flag(flags, t.LEFT), behind, before)

    b.start(behind)
    at = b.variable(end, "at")

    def spaces(leave: f.Block) -> None:
        b.leave_if(b.is_("uge", b.get(at), goal), leave)
        b.put(b.i64(ord(" ")), b.get(at))
        b.advance(at, 1)

    b.repeat(spaces)
    b.ret(goal)

    b.start(before)
    first = b.variable(begin, "first")
    zeros = b.flag(flags, t.ZEROS)
    with b.when(b.binary("and", zeros, b.is_("eq", b.byte(begin), ord("-")))):
        b.advance(first, 1)
    fill = b.select(zeros, b.i64(ord("0")), b.i64(ord(" ")))
    source, target = b.variable(end, "source"), b.variable(goal, "target")

    def move(leave: f.Block) -> None:
        b.leave_if(b.is_("eq", b.get(source), b.get(first)), leave)
        b.advance(source, -1)
        b.advance(target, -1)
        b.put(b.byte(b.get(source)), b.get(target))

    b.repeat(move)

    def lead(leave: f.Block) -> None:
        b.leave_if(b.is_("eq", b.get(target), b.get(first)), leave)
        b.advance(target, -1)
        b.put(fill, b.get(target))

    b.repeat(lead)
    b.ret(goal)
    return b.finish()
