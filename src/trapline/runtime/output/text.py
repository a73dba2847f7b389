"""bpftrace's text output, byte for byte: data to stdout, everything else to stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trapline.hints import Any
from trapline.ir.spec import FaultSite, MapSpec
from trapline.ir.values import BUCKETED, Value
from trapline.runtime.display import Text, make_key_text, make_text
from trapline.runtime.output.protocol import Framing, Items, Location, fault_message
from trapline.runtime.output.sink import Sink


class TextOutput:
    """Text as people and their scripts read it.

    Args:
        out: data.
        err: notices, warnings, errors.
        quiet: no "Attached N probes".
        trailer: appended to strings that fill their field, until the program's configuration says otherwise.
        warnings: whether failures at run time are reported.
    """

    framing: Framing | None = Framing()

    def __init__(
        self, out: Sink, err: Sink, *, quiet: bool = False, trailer: bytes = b"..", warnings: bool = True
    ) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self.trailer = trailer
        self._warnings = warnings
        self._texts: dict[Value, Text] = {}
        self._key_texts: dict[Value, Text] = {}
        self.printf: Callable[[bytes], None] = out.write  # the busiest method: no call in between

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more."""
        return self._out.broken

    def framed(self, texts: bytes) -> None:
        """Write them as they are."""
        self._out.write(texts)

    def attached_probes(self, count: int) -> None:
        """``Attached 2 probes``."""
        if not self._quiet:
            self._notice(f"Attached {count} probe{'' if count == 1 else 's'}\n".encode())

    def message(self, text: bytes, *, error: bool, location: Location | None) -> None:
        """``stdin:1:9-20: ERROR: text``."""
        text = text.removesuffix(b"\n")
        word = "ERROR" if error else "WARNING"
        rest = location.expansions(word).encode("utf-8", "surrogateescape") if location is not None else b""
        self._notice(_place(location) + word.encode() + b": " + text + b"\n" + rest)

    def value(self, layout: Value, item: Any) -> None:
        """``(1, x)``."""
        self._out.write(self._text(layout)(item) + b"\n")

    def map(self, spec: MapSpec, items: Items) -> None:
        """``@x: 1``, or ``@x[key]: 1`` for each element; a histogram has its own lines and an empty one."""
        assert spec.value is not None
        text = self._text(spec.value)
        separator, end = (b":\n", b"\n") if isinstance(spec.value, BUCKETED) else (b": ", b"\n")
        name = spec.name.encode()
        if spec.scalar or spec.key is None:
            for _, item in items:
                self._out.write(name + separator + text(item) + end)
            return
        key_text = self._key_texts.get(spec.key)
        if key_text is None:
            key_text = self._key_texts[spec.key] = make_key_text(spec.key, self.trailer)
        for key, item in items:
            self._out.write(b"%b[%b]%b%b%b" % (name, key_text(key), separator, text(item), end))

    def time(self, text: bytes) -> None:
        """Write the time as it is."""
        self._out.write(text)

    def join(self, text: bytes) -> None:
        """Write a line."""
        self._out.write(text + b"\n")

    def cat(self, text: bytes) -> None:
        """Write the contents as they are."""
        self._out.write(text)

    def system(self, text: bytes) -> None:
        """Write what the command printed, and a newline."""
        self._out.write(text + b"\n")

    def lost_events(self, count: int) -> None:
        """``Lost 5 events``."""
        self._notice(f"Lost {count} events\n".encode())

    def lost_total(self, counts: Mapping[str, int]) -> None:
        """bpftrace's total, then a line for each probe that lost some."""
        lines = [f"WARNING: Total lost event count: {sum(counts.values())}\n"]
        lines += [f"WARNING: Lost events of {probe}: {count}\n" for probe, count in counts.items()]
        self._notice("".join(lines).encode("utf-8", "surrogateescape"))

    def missed_hits(self, probe: str, count: int, cause: str) -> None:
        """``WARNING: Missed hits of kprobe:x: 5 (why)``."""
        self.warning(f"Missed hits of {probe}: {count} ({cause})")

    def fault(self, site: FaultSite, count: int, result: int, location: Location | None) -> None:
        """Write a warning with the source line; it counts the failures since the last one."""
        if not self._warnings:
            return
        lines = [fault_message(site, result)]
        times = f", count: {count}" if count > 1 else ""
        if site.kind != "div_zero":
            lines.append(f"Additional Info - helper: {site.helper}, retcode: {result}{times}")
        elif times:
            lines.append(f"Additional Info - {times[2:]}")
        if location is not None and location.context:
            lines.append(location.context)
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        self._notice(_place(location) + b"WARNING: " + text + b"\n")

    def warning(self, text: str) -> None:
        """``WARNING: text``."""
        self._notice(b"WARNING: " + text.encode("utf-8", "surrogateescape") + b"\n")

    def error(self, text: str) -> None:
        """``ERROR: text``."""
        self._notice(b"ERROR: " + text.encode("utf-8", "surrogateescape") + b"\n")

    def end(self) -> None:
        """Write two empty lines."""
        self._out.write(b"\n\n")

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._out.flush()

    def close(self) -> None:
        """Pass on everything."""
        self._out.drain()
        self._err.drain()

    def _notice(self, text: bytes) -> None:
        self._out.flush()  # both may go to the same terminal
        self._err.write(text)
        self._err.drain()

    def _text(self, layout: Value) -> Text:
        text = self._texts.get(layout)
        if text is None:
            text = self._texts[layout] = make_text(layout, self.trailer)
        return text


def _place(location: Location | None) -> bytes:
    return location.text.encode("utf-8", "surrogateescape") + b": " if location else b""
