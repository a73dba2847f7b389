"""Events as objects: each printed value is a field, with when, where and by whom."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from trapline.hints import Any
from trapline.ir.spec import Field, PrintfEvent, PrintValueEvent
from trapline.runtime.decode import Buffer, Decoder, make_decoder
from trapline.runtime.display import make_text
from trapline.runtime.format import make_printf
from trapline.runtime.objects import Namer

_HEADER = struct.Struct("<IIQIIIIQ")


class TypedEvent:
    """One hit of a probe that printed something.

    The printed values are ``event["name"]``, ``event.name`` (where the name is an identifier) or by position
    ``event[0]``; a value's name is its expression's text (``comm``, ``args.filename``).

    Attributes:
        nsecs: CLOCK_BOOTTIME in nanoseconds.
        cpu, pid, tid: where, and by which process and thread; a printed ``pid`` is the same.
        probe: the probe's name.
        cookie: the attach point's, 0 without.
    """

    __slots__ = ("_names", "_text", "_values", "cookie", "cpu", "nsecs", "pid", "probe", "tid")

    def __init__(
        self,
        names: dict[str, int],
        values: tuple[Any, ...],
        text: Callable[[], bytes],
        header: tuple[int, int, int, int, int],
        probe: str,
    ) -> None:
        self._names = names
        self._values = values
        self._text: Callable[[], bytes] | bytes = text
        self.nsecs, self.pid, self.tid, self.cpu, self.cookie = header
        self.probe = probe

    @property
    def text(self) -> str:
        """What bpftrace would have printed; bytes that are not UTF-8 are surrogate escapes."""
        return self.raw_text.decode("utf-8", "surrogateescape")

    @property
    def raw_text(self) -> bytes:
        """What bpftrace would have printed."""
        if not isinstance(self._text, bytes):
            self._text = self._text()
        return self._text

    @property
    def fields(self) -> dict[str, Any]:
        """The printed values by name."""
        return {name: self._values[index] for name, index in self._names.items()}

    @property
    def values(self) -> tuple[Any, ...]:
        """The printed values in order."""
        return self._values

    def __getitem__(self, name: str | int) -> Any:
        return self._values[name if isinstance(name, int) else self._names[name]]

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[self._names[name]]
        except KeyError:
            raise AttributeError(f"the event has no {name}: it has {', '.join(self._names)}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"<{self.probe} nsecs={self.nsecs} cpu={self.cpu} pid={self.pid} tid={self.tid} {fields}>"


def field_names(fields: Sequence[Field]) -> dict[str, int]:
    """Return the position of each field by name; unnamed ones are ``arg0`` …, repeated names get ``_2``, ``_3`` …."""
    names: dict[str, int] = {}
    for index, field in enumerate(fields):
        base = name = field.name or f"arg{index}"
        number = 2
        while name in names:
            name = f"{base}_{number}"
            number += 1
        names[name] = index
    return names


def make_typed(
    event: PrintfEvent | PrintValueEvent, probes: Sequence[str], namer: Namer, trailer: bytes = b".."
) -> Callable[[Buffer, int], TypedEvent]:
    """Compile what makes a `TypedEvent` of a record with the typed header.

    Args:
        event: what the record means.
        probes: each program's name.
        namer: gives names to addresses, user ids, probes.
        trailer: appended to strings that fill their field, in the event's text.
    """
    fields = event.args if isinstance(event, PrintfEvent) else (event.field,)
    names = field_names(fields)
    decoders: list[tuple[int, Decoder]] = [(field.offset, make_decoder(field.value, namer)) for field in fields]
    show = _make_show(event, namer, trailer)
    size = event.size

    def make(buffer: Buffer, offset: int) -> TypedEvent:
        _, probe, nsecs, pid, tid, cpu, _, cookie = _HEADER.unpack_from(buffer, offset)
        values = tuple([decode(buffer, offset + place) for place, decode in decoders])
        record = bytes(buffer[offset : offset + size])
        name = probes[probe] if probe < len(probes) else str(probe)
        return TypedEvent(names, values, lambda: show(record, 0), (nsecs, pid, tid, cpu, cookie), name)

    return make


def _make_show(event: PrintfEvent | PrintValueEvent, namer: Namer, trailer: bytes) -> Callable[[Buffer, int], bytes]:
    if isinstance(event, PrintfEvent):
        return make_printf(event.format, event.args, namer, trailer)
    field = event.field
    decode, text = make_decoder(field.value, namer), make_text(field.value, trailer)
    return lambda buffer, offset: text(decode(buffer, offset + field.offset)) + b"\n"
