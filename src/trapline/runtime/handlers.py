"""What to do with each kind of record: `ObjectSpec.events` compiled into functions of the record."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence

from trapline.errors import DecodeError, InternalError
from trapline.hints import Any
from trapline.ir import spec as s
from trapline.runtime.decode import make_decoder, string_bytes
from trapline.runtime.format import Printf, make_printf
from trapline.runtime.maps import MapReader
from trapline.runtime.objects import Namer
from trapline.runtime.output.protocol import Location, Output
from trapline.runtime.typed import TypedEvent, make_typed

# A record: the bytes it is in, its offset there, its length.
Handler = Callable[[bytes, int, int], object]
Locate = Callable[[tuple[int, int], Sequence[tuple[int, int]]], Location]

_MAX_CAT = 10240


class Context:
    """What handlers work with.

    Args:
        spec: the program.
        output: shows what happens.
        namer: gives names to addresses, user ids, probes.
        maps: readers of the maps that the program prints, by name.
        on_exit: called with the code of ``exit()``.
        locate: finds a span of the program's text, for messages.
        on_event: takes typed events instead of `output`.
        on_raw: takes the payload of `RawEvent` records, by the event's name.

    Attributes:
        on_unwatch: removes the watchpoints at an address.
    """

    def __init__(
        self,
        spec: s.ObjectSpec,
        output: Output,
        namer: Namer,
        maps: Mapping[str, MapReader],
        on_exit: Callable[[int], None],
        locate: Locate | None,
        on_event: Callable[[TypedEvent], object] | None,
        on_raw: Mapping[str, Callable[[bytes], object]],
    ) -> None:
        self.spec = spec
        self.output = output
        self.namer = namer
        self.maps = maps
        self.on_exit = on_exit
        self.locate = locate
        self.on_event = on_event
        self.on_raw = on_raw
        self.on_unwatch: Callable[[int], None] = lambda address: None
        self.hurried: Callable[[], bool] = lambda: False
        self.skipped = 0

    @property
    def config(self) -> dict[str, str | int | bool]:
        """The program's configuration."""
        return dict(self.spec.config)

    @property
    def trailer(self) -> bytes:
        """What marks a truncated string."""
        return str(self.config.get("str_trunc_trailer", "..")).encode()

    @property
    def probes(self) -> list[str]:
        """Each program's name as the user knows it."""
        return [program.label or program.name for program in self.spec.programs]

    def location(self, span: tuple[int, int] | None, origins: Sequence[tuple[int, int]] = ()) -> Location | None:
        """Return the place of a span and of the macro calls that it comes from."""
        return self.locate(span, origins) if span is not None and self.locate is not None else None

    def reader(self, name: str) -> MapReader:
        """Return a map's reader."""
        try:
            return self.maps[name]
        except KeyError:
            raise InternalError(f"an event names map {name}, which the program has not") from None


def make_handlers(context: Context) -> list[Handler]:
    """Compile the program's events, in their order; each handler raises `DecodeError` when its record is too short."""
    return [
        handler if getattr(handler, "checks", False) else _checked(handler, event)
        for event, handler in [(event, _MAKERS[type(event)](event, context)) for event in context.spec.events]
    ]


def _checked(handler: Handler, event: s.Event) -> Handler:
    size, kind = event.size, type(event).__name__

    def handle(data: bytes, offset: int, length: int) -> object:
        if length < size:
            raise DecodeError(f"a record of {kind} has {length} bytes instead of {size}", offset=offset)
        return handler(data, offset, length)

    return handle


def _typed(event: Any, context: Context) -> Handler | None:
    if context.on_event is None or not context.spec.typed_events:
        return None
    make, take = make_typed(event, context.probes, context.namer, context.trailer), context.on_event
    return lambda data, offset, length: take(make(data, offset))


def _printf(event: s.PrintfEvent, context: Context) -> Handler:
    show = make_printf(event.format, event.args, context.namer, context.trailer)
    output = context.output
    if event.stream == "out":
        typed = _typed(event, context)
        if typed is not None:
            return typed
        return _fast_printf(event, show, output.printf)
    if event.stream in ("error", "warn"):
        error, location = event.stream == "error", context.location(event.span, event.origins)
        return lambda data, offset, length: output.message(show(data, offset), error=error, location=location)
    if event.stream == "system":
        return lambda data, offset, length: _system(show(data, offset), context)
    if event.stream == "cat":
        limit = int(context.config.get("max_cat_bytes", _MAX_CAT))
        return lambda data, offset, length: _cat(show(data, offset), limit, output)
    raise InternalError(f"no stream {event.stream}")


def _fast_printf(event: s.PrintfEvent, show: Printf, write: Callable[[bytes], None]) -> Handler:
    """The busiest handler: checks its record itself, which saves a call."""
    size = event.size

    def handle(data: bytes, offset: int, length: int) -> None:
        if length < size:
            raise DecodeError(f"a record of PrintfEvent has {length} bytes instead of {size}", offset=offset)
        write(show(data, offset))

    handle.checks = True  # type: ignore[attr-defined]
    return handle


def _print_value(event: s.PrintValueEvent, context: Context) -> Handler:
    typed = _typed(event, context)
    if typed is not None:
        return typed
    layout, place = event.field.value, event.field.offset
    decode, write = make_decoder(layout, context.namer), context.output.value
    return lambda data, offset, length: write(layout, decode(data, offset + place))


def _print_map_element(event: s.PrintMapElementEvent, context: Context) -> Handler:
    layout, place = event.value.value, event.value.offset
    decode, write = make_decoder(layout, context.namer), context.output.value
    return lambda data, offset, length: write(layout, decode(data, offset + place))


def _print_map(event: s.PrintMapEvent, context: Context) -> Handler:
    reader, output = context.reader(event.map), context.output
    top, div = event.top, event.div
    return lambda data, offset, length: reader.show(output, top, div)


def _clear_map(event: s.ClearMapEvent, context: Context) -> Handler:
    raw = context.reader(event.map).raw
    action = raw.zero if event.zero else raw.clear
    return lambda data, offset, length: action()


def _exit(event: s.ExitEvent, context: Context) -> Handler:
    code, place = struct.Struct("<q"), event.offset
    return lambda data, offset, length: context.on_exit(code.unpack_from(data, offset + place)[0])


def _unwatch(event: s.UnwatchEvent, context: Context) -> Handler:
    address, place = struct.Struct("<Q"), event.offset
    return lambda data, offset, length: context.on_unwatch(address.unpack_from(data, offset + place)[0])


def _time(event: s.TimeEvent, context: Context) -> Handler:
    write, format = context.output.time, event.format
    return lambda data, offset, length: write(time.strftime(format).encode("utf-8", "surrogateescape"))


def _join(event: s.JoinEvent, context: Context) -> Handler:
    count_of, write = struct.Struct("<I").unpack_from, context.output.join
    separator = event.separator.encode("utf-8", "surrogateescape")
    first, slot, limit = event.offset + 8, event.slot, event.limit

    def handle(data: bytes, offset: int, length: int) -> None:
        count = min(count_of(data, offset + event.offset)[0], limit, (length - first) // slot)
        places = range(offset + first, offset + first + count * slot, slot)
        write(separator.join([string_bytes(data, place, slot) for place in places]))

    return handle


def _raw(event: s.RawEvent, context: Context) -> Handler:
    take = context.on_raw.get(event.name)
    if take is None:
        return lambda data, offset, length: None
    return lambda data, offset, length: take(data[offset + s.SHORT_HEADER : offset + length])


def _system(command: bytes, context: Context) -> None:
    if context.hurried():
        context.skipped += 1
        return
    import subprocess  # few programs need it

    output = context.output
    output.flush()  # its stderr may be the same terminal
    result = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, check=False)
    if result.stdout or not result.returncode:
        output.system(result.stdout)
    if result.returncode > 0:
        output.error(f"command exited with code {result.returncode}")
    elif result.returncode < 0:
        output.error(f"command was ended by signal {-result.returncode}")


def _cat(path: bytes, limit: int, output: Output) -> None:
    try:
        with open(path, "rb") as file:
            output.cat(file.read(limit))
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        output.error(f"failed to open file '{path.decode('utf-8', 'surrogateescape')}' ({reason})")


def _packet(event: s.PacketEvent, context: Context) -> Handler:
    def handle(data: bytes, offset: int, length: int) -> None:
        raise DecodeError(f"a packet for {event.path} came through the wrong buffer", offset=offset)

    return handle


_MAKERS: dict[type, Callable[[Any, Context], Handler]] = {
    s.PrintfEvent: _printf,
    s.PrintValueEvent: _print_value,
    s.PrintMapElementEvent: _print_map_element,
    s.PrintMapEvent: _print_map,
    s.ClearMapEvent: _clear_map,
    s.ExitEvent: _exit,
    s.UnwatchEvent: _unwatch,
    s.TimeEvent: _time,
    s.JoinEvent: _join,
    s.RawEvent: _raw,
    s.PacketEvent: _packet,
}
