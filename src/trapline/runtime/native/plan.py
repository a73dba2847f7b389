"""Which events the native reader can show, and the tables that tell it how.

An event that it cannot show (a user's stack, a flag of printf that hardly anybody uses) has an empty row, and its
records are left to `trapline.runtime.handlers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trapline.ir import values as v
from trapline.ir.spec import Event, Field, PrintfEvent, PrintValueEvent
from trapline.records import record
from trapline.runtime.format import Conversion, converted_number, make_printf, parse_format
from trapline.runtime.native import tables as t
from trapline.runtime.objects import Namer
from trapline.runtime.output.protocol import Framing

_ALL = (1 << 64) - 1
_NUMBER_ROOM = 20  # digits of a u64, or 0x and its hexadecimal digits
_KINDS = {"d": t.DECIMAL, "i": t.DECIMAL, "u": t.DECIMAL, "x": t.HEX, "X": t.HEX, "p": t.HEX, "c": t.CHAR}
_MOST_ROOM = 64 << 10  # an event that may write more is left to Python


@record(frozen=True)
class Remembered:
    """A value whose text Python makes once: a symbol, a stack, a name.

    Args:
        number: of the step, from 1 on.
        event: the event that has it.
        field: where it is in the record.
        show: makes the text from the record, as it is written; ``None`` when it cannot stand alone.
    """

    number: int
    event: int
    field: Field
    show: Callable[[bytes], bytes | None]


@record(frozen=True)
class Plan:
    """The reader's tables as bytes; `shown` is the number of events that it shows, `remembered` what it asks for."""

    events: bytes
    steps: bytes
    pool: bytes
    shown: int
    remembered: tuple[Remembered, ...] = ()


def _is_named(value: v.Value) -> bool:
    """Tell whether a value's text is the same as long as the program runs, and worth to be remembered."""
    if isinstance(value, v.StackV):
        return value.kernel and value.mode != "build_id"
    return isinstance(value, v.KsymV | v.UsernameV | v.ProbeNameV | v.EnumV | v.BoolV)


class Unsuited(Exception):
    """Native code cannot show this."""


def make_plan(events: Sequence[Event], framing: Framing, trailer: bytes, namer: Namer) -> Plan:
    """Make the tables.

    Args:
        events: the program's.
        framing: what the output writes around a text.
        trailer: marks a string that fills its field.
        namer: gives names to addresses, user ids, probes.
    """
    planner = _Planner(framing, trailer, namer)
    for event in events:
        planner.add(event)
    # The reader copies whole words.
    tables = b"".join(planner.events), b"".join(planner.steps), bytes(planner.pool) + bytes(8)
    return Plan(*tables, planner.shown, tuple(planner.remembered))


def plan_element(
    name: str, key: v.Value, at: int, signed: bool, trailer: bytes, namer: Namer
) -> tuple[bytes, bytes, bytes]:
    """Make the tables of a map's element, ``@name[key]: value``.

    Args:
        name: of the map.
        key: its layout.
        at: where it is behind the value, a word.
        signed: how the value is shown.
        trailer: marks a string that fills its field.
        namer: gives names to addresses, user ids, probes.

    Returns:
        The row of the event, the steps, and the texts.

    Raises:
        Unsuited: there is no step for such a key.
    """
    planner = _Planner(Framing(), trailer, namer)
    planner.element(name.encode(), key, at, v.IntV(8, signed))
    return planner.events[0], b"".join(planner.steps), bytes(planner.pool) + bytes(8)


class _Planner:
    def __init__(self, framing: Framing, trailer: bytes, namer: Namer) -> None:
        self.framing = framing
        self.namer = namer
        self.remembered: list[Remembered] = []
        self.trailer = trailer
        self.events: list[bytes] = []
        self.steps: list[bytes] = []
        self.pool = bytearray()
        self.shown = 0
        self._room = 0

    def add(self, event: Event) -> None:
        """Add the row of an event."""
        first, known, self._room = len(self.steps), len(self.remembered), t.SLACK
        size = 0
        try:
            if isinstance(event, PrintfEvent) and event.stream == "out":
                self._printf(event)
                size = event.size
            elif isinstance(event, PrintValueEvent) and not self.framing.json:
                self._value(event.field.value, event.field.offset)
                self._text(b"\n")
                size = event.size
            if self._room > _MOST_ROOM:
                raise Unsuited
        except Unsuited:
            size = 0
        if not size:
            del self.steps[first:]
            del self.remembered[known:]
        self.shown += bool(size)
        self.events.append(t.EVENT.pack(size, first, len(self.steps), self._room))

    def element(self, name: bytes, key: v.Value, at: int, value: v.IntV) -> None:
        """Add the row of a map's element."""
        self._room = t.SLACK
        self._text(name + b"[")
        if isinstance(key, v.TupleV):
            self._elements(key, at)
        else:
            self._value(key, at)
        self._text(b"]: ")
        self._value(value, 0)
        self._text(b"\n")
        if self._room > _MOST_ROOM:
            raise Unsuited
        self.events.append(t.EVENT.pack(at + key.size, 0, len(self.steps), self._room))

    def _printf(self, event: PrintfEvent) -> None:
        texts, conversions = parse_format(event.format)
        self._text(self.framing.before + self._escaped(texts[0]))
        for index, (conversion, field) in enumerate(zip(conversions, event.args, strict=True)):
            self._convert(conversion, field)
            last = index == len(conversions) - 1
            self._text(self._escaped(texts[index + 1]) + (self.framing.after if last else b""))
        if not conversions:
            self._text(self.framing.after)

    def _convert(self, conversion: Conversion, field: Field) -> None:
        kind, value = conversion.kind, field.value
        width = int(conversion.width or 0)
        flags = t.LEFT if "-" in conversion.flags else 0
        if _is_named(value) and kind == "s":
            self._remember(conversion, field)
            return
        if conversion.precision is not None:
            raise Unsuited
        if isinstance(value, v.StrV) and kind == "s":
            self._string(field.offset, value.size, width, flags)
            return
        number = converted_number(conversion, value)
        if number is None or kind not in _KINDS or set(conversion.flags) & set("+ "):
            raise Unsuited
        if kind == "c" and self.framing.json:  # it may need an escape
            raise Unsuited
        prefix = kind == "p" or (kind in "xX" and "#" in conversion.flags)
        if "0" in conversion.flags and not flags and not prefix and kind != "c":
            flags |= t.ZEROS
        flags |= t.SIGNED if number.signed else 0
        flags |= t.NEGATIVE if number.signed and not number.mask else 0
        flags |= (t.PREFIX if prefix else 0) | (t.UPPER if kind == "X" else 0)
        self._step(_KINDS[kind], field.offset, number.size, width, flags, mask=number.mask or _ALL)
        self._room += max(_NUMBER_ROOM, width)

    def _value(self, value: v.Value, at: int) -> None:
        """Show a value as ``print()`` does."""
        if isinstance(value, v.IntV) and value.size in (1, 2, 4, 8):
            self._step(t.DECIMAL, at, value.size, 0, t.SIGNED | t.NEGATIVE if value.signed else 0)
            self._room += _NUMBER_ROOM
        elif isinstance(value, v.StrV):
            self._string(at, value.size, 0, 0)
        elif isinstance(value, v.TupleV):
            self._text(b"(")
            self._elements(value, at)
            self._text(b")")
        else:
            raise Unsuited

    def _elements(self, value: v.TupleV, at: int) -> None:
        for index, (place, element) in enumerate(value.elements):
            if index:
                self._text(b", ")
            self._value(element, at + place)

    def _remember(self, conversion: Conversion, field: Field) -> None:
        show, number = make_printf(str(conversion), (field,), self.namer, self.trailer), len(self.remembered) + 1
        escape = self.framing.escape
        event = len(self.events)
        self.remembered.append(Remembered(number, event, field, lambda record: escape(show(record, 0))))
        value = field.value
        size, flags = (value.limit, t.COUNTED) if isinstance(value, v.StackV) else (value.size, 0)
        self._step(t.REMEMBERED, field.offset, size, 0, flags, mask=number)
        self._room += t.MEMO_LONGEST

    def _string(self, at: int, size: int, width: int, flags: int) -> None:
        trailer = self._escaped(self.trailer)
        kind = t.JSON_STRING if self.framing.json else t.STRING
        self._step(kind, at, size, width, flags, (self._keep(trailer), len(trailer)))
        self._room += max(size + len(trailer), width)

    def _text(self, text: bytes) -> None:
        if text:
            self._step(t.TEXT, self._keep(text), len(text), 0, 0)
            self._room += len(text)

    def _keep(self, text: bytes) -> int:
        place = len(self.pool)
        self.pool += text
        return place

    def _step(
        self,
        kind: int,
        at: int,
        size: int,
        width: int,
        flags: int,
        trailer: tuple[int, int] = (0, 0),
        mask: int = _ALL,
    ) -> None:
        self.steps.append(t.STEP.pack(kind, at, size, width, flags, *trailer, 0, mask))

    def _escaped(self, text: bytes) -> bytes:
        escaped = self.framing.escape(text)
        if escaped is None:
            raise Unsuited
        return escaped
