"""bpftrace's JSON output: one object per line on stdout."""

from __future__ import annotations

import os
from collections.abc import Mapping

from trapline.hints import Any
from trapline.ir.spec import FaultSite, MapSpec
from trapline.ir.values import AvgV, HistV, LhistV, SeriesV, StatsV, Value
from trapline.runtime.display import Json, json_string, make_json, make_key_json
from trapline.runtime.output.protocol import Framing, Items, Location, fault_message
from trapline.runtime.output.sink import Sink


class JsonOutput:
    """One JSON object per line.

    Bytes that are not UTF-8 become the escapes ``\\udc80`` to ``\\udcff``, which Python's ``json`` reads back.

    Args:
        out: where everything goes, warnings too.
        quiet: no ``attached_probes``.
        trailer: appended to strings that fill their field, until the program's configuration says otherwise.
        warnings: whether failures at run time are reported.
    """

    framing: Framing | None

    def __init__(self, out: Sink, *, quiet: bool = False, trailer: bytes = b"..", warnings: bool = True) -> None:
        self._out = out
        self._quiet = quiet
        self.trailer = trailer
        self._warnings = warnings
        self._values: dict[Value, Json] = {}
        self._keys: dict[Value, Json] = {}
        self.framing = Framing(b'{"type": "printf", "data": "', b'"}\n', json=True, escape=_escape)

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more."""
        return self._out.broken

    def framed(self, texts: bytes) -> None:
        """Write them as they are."""
        self._out.write(texts)

    def attached_probes(self, count: int) -> None:
        """Write ``attached_probes``."""
        if not self._quiet:
            self._line(f'{{"type": "attached_probes", "count": {count}, "data": {{"probes": {count}}}}}')

    def printf(self, text: bytes) -> None:
        """Write ``printf``."""
        self._data("printf", _string(text))

    def message(self, text: bytes, *, error: bool, location: Location | None) -> None:
        """Write ``errorf`` or ``warnf``."""
        kind = "errorf" if error else "warnf"
        self._line(f'{{"type": "{kind}", "msg": {_string(text)}{_place(location)}}}')

    def value(self, layout: Value, item: Any) -> None:
        """Write ``value``."""
        self._data("value", self._value(layout)(item))

    def map(self, spec: MapSpec, items: Items) -> None:
        """Write ``map``, ``hist`` or ``stats``; nothing for an empty map."""
        if not items:
            return
        assert spec.value is not None
        show = self._value(spec.value)
        kind = "map"
        if isinstance(spec.value, HistV | LhistV):
            kind = "hist"
        elif isinstance(spec.value, SeriesV):
            kind = "tseries"
        elif isinstance(spec.value, AvgV | StatsV):
            kind = "stats"
        if spec.scalar or spec.key is None:
            data = show(items[0][1])
        else:
            key = self._keys.get(spec.key)
            if key is None:
                key = self._keys[spec.key] = make_key_json(spec.key, self.trailer)
            data = "{" + ", ".join([f"{key(name)}: {show(item)}" for name, item in items]) + "}"
        self._data(kind, f"{{{json_string(spec.name)}: {data}}}")

    def time(self, text: bytes) -> None:
        """Write ``time``."""
        self._data("time", _string(text))

    def join(self, text: bytes) -> None:
        """Write ``join``."""
        self._data("join", _string(text))

    def cat(self, text: bytes) -> None:
        """Write ``cat``."""
        self._data("cat", _string(text))

    def system(self, text: bytes) -> None:
        """Write ``syscall``, as bpftrace calls it."""
        self._data("syscall", _string(text))

    def lost_events(self, count: int) -> None:
        """Write ``lost_events``."""
        self._line(f'{{"type": "lost_events", "count": {count}, "data": {{"events": {count}}}}}')

    def lost_total(self, counts: Mapping[str, int]) -> None:
        """Write ``lost_events_total``, which bpftrace has not."""
        probes = ", ".join([f"{json_string(probe)}: {count}" for probe, count in counts.items()])
        total = sum(counts.values())
        self._line(f'{{"type": "lost_events_total", "count": {total}, "data": {{"events": {{{probes}}}}}}}')

    def missed_hits(self, probe: str, count: int, cause: str) -> None:
        """Write ``missed_hits``, which bpftrace has not."""
        data = f'{{"probe": {json_string(probe)}, "cause": {json_string(cause)}}}'
        self._line(f'{{"type": "missed_hits", "count": {count}, "data": {data}}}')

    def fault(self, site: FaultSite, count: int, result: int, location: Location | None) -> None:
        """Write ``runtime_error`` for a division by zero, ``helper_error`` for the rest."""
        if not self._warnings:
            return
        times = f', "count": {count}' if count > 1 else ""
        if site.kind == "div_zero":
            head = f'"type": "runtime_error", "msg": {json_string(fault_message(site, result))}'
        else:
            words = json_string(os.strerror(abs(result)))
            head = f'"type": "helper_error", "msg": {words}, "helper": {json_string(site.helper)}, "retcode": {result}'
        self._line(f"{{{head}{times}{_place(location)}}}")

    def warning(self, text: str) -> None:
        """Write ``warning``, which bpftrace has not."""
        self._line(f'{{"type": "warning", "msg": {json_string(text)}}}')

    def error(self, text: str) -> None:
        """Write ``error``, which bpftrace has not."""
        self._line(f'{{"type": "error", "msg": {json_string(text)}}}')

    def end(self) -> None:
        """Write nothing."""

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._out.flush()

    def close(self) -> None:
        """Pass on everything."""
        self._out.drain()

    def _data(self, kind: str, data: str) -> None:
        self._line(f'{{"type": "{kind}", "data": {data}}}')

    def _line(self, text: str) -> None:
        self._out.write(text.encode() + b"\n")

    def _value(self, layout: Value) -> Json:
        show = self._values.get(layout)
        if show is None:
            show = self._values[layout] = make_json(layout, self.trailer)
        return show


def _escape(text: bytes) -> bytes | None:
    try:
        return json_string(text.decode()).encode()[1:-1]
    except UnicodeDecodeError:
        return None


def _string(text: bytes) -> str:
    return json_string(text.decode("utf-8", "surrogateescape"))


def _place(location: Location | None) -> str:
    if location is None:
        return ""
    return f', "filename": {json_string(location.filename)}, "line": {location.line}, "col": {location.column}'
