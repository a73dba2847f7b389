"""Take attach points apart: ``kprobe:mod:func+0x10``, ``uprobe:/bin/sh:"f"``, ``interval:s:1`` …"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trapline.frontends.bpftrace.ast import AttachPoint
from trapline.frontends.bpftrace.suggestions import near_hint
from trapline.records import record
from trapline.source import Diagnostics, Source, Span

_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DURATIONS = {**_UNITS, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000}
_NAME_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(?=[A-Za-z])")
_MINIMUM_PERIOD_NS = 1000


class _Invalid(Exception):
    """The attach point is wrong: message and hints.  Never leaves this module."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


@record(frozen=True)
class _Parts:
    """An attach point cut at its colons."""

    provider: str
    fields: tuple[str, ...]
    span: Span
    text: str
    name: str

    def point(
        self,
        *,
        target: str = "",
        event: str = "",
        namespace: str = "",
        offset: int = 0,
        address: int | None = None,
        number: int = 0,
        mode: str = "",
        column: int = 0,
    ) -> AttachPoint:
        return AttachPoint(
            self.span,
            self.provider,
            self.text,
            target,
            event,
            namespace,
            offset,
            address,
            number,
            mode,
            column,
            self.name,
        )

    def require(self, *counts: int) -> None:
        """Refuse another number of fields."""
        if len(self.fields) not in counts:
            wanted = " or ".join(map(str, counts))
            noun = "argument" if counts == (1,) else "arguments"
            raise _Invalid(f"{self.provider} probe type requires {wanted} {noun}, found {len(self.fields)}")
        if any(not f for f in self.fields):
            raise _Invalid(f"empty part in the attach point '{self.text}'")


def scan_attach_point(source: Source, position: int) -> int:
    """Return the end of the attach point that starts at `position`.

    It ends at white space, a comma, a brace, or the slash of a predicate, none of them in quotes; a slash belongs to
    it where a path stands.
    """
    text = source.text
    head = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*=)?([A-Za-z_]*):").match(text, position)
    path_section = _PATH_SECTIONS.get(_canonical(head[1]), 0) if head else 0
    section = 0
    quoted = False
    at = position
    while at < len(text):
        c = text[at]
        if c == '"':
            quoted = not quoted
        elif quoted:
            at += c == "\\"
        elif c == ":":
            section += 1
        elif c in " \t\r\n,{};" or (c == "/" and (section != path_section or section == 0)):
            break
        at += 1
    return min(at, len(text))


def is_wildcard(text: str) -> bool:
    """Tell whether a part of an attach point is a glob: ``*`` any text, ``?`` a character, ``[abc]`` one of a set."""
    return "*" in text or "?" in text or "[" in text


def parse_attach_point(span: Span, positional: Sequence[str], diagnostics: Diagnostics) -> AttachPoint | None:
    """Parse the attach point that `span` covers.

    Args:
        span: the whole attach point.
        positional: what ``$1``, ``$2`` … stand for.
        diagnostics: receives what is wrong with it.

    Returns:
        The attach point, or ``None`` when it is malformed.
    """
    try:
        name, fields = _split(span.text, positional)
        text = span.text[len(name) + 1 if name else 0 :]
        if "$" in text:
            text = ":".join(fields)
        word, rest = fields[0], tuple(fields[1:])
        provider = _canonical(word)
        if provider not in PROVIDERS:
            raise _Invalid(f"Invalid probe type: {word}", *near_hint(word.lower(), [*PROVIDERS, *_ALIASES]))
        return PROVIDERS[provider](_Parts(provider, rest, span, text, name))
    except _Invalid as invalid:
        diagnostics.error(invalid.message, span, *invalid.hints)
        return None


def _split(text: str, positional: Sequence[str]) -> tuple[str, list[str]]:
    prefix = _NAME_PREFIX.match(text)
    at = prefix.end() if prefix else 0
    fields = [""]
    quoted = False
    while at < len(text):
        c = text[at]
        if c == '"':
            quoted = not quoted
        elif quoted and c == "\\" and at + 1 < len(text):
            at += 1
            fields[-1] += text[at]
        elif not quoted and c == ":":
            fields.append("")
        elif not quoted and c == "$":
            digits = re.compile(r"[0-9]{1,9}").match(text, at + 1)
            if not digits:
                raise _Invalid("an attach point may only name positional parameters: $1, $2 …")
            index = int(digits[0])
            if not 1 <= index <= len(positional):
                raise _Invalid(
                    f"positional parameter ${digits[0]} is not given", "Give it behind the program, after the options."
                )
            fields[-1] += positional[index - 1]
            at = digits.end() - 1
        else:
            fields[-1] += c
        at += 1
    if quoted:
        raise _Invalid("unterminated quotes in an attach point")
    return (prefix[1] if prefix else ""), fields


def _number(text: str, what: str) -> int:
    match = re.fullmatch(r"0[xX][0-9a-fA-F_]+|[0-9][0-9_]*", text)
    digits = text.replace("_", "")
    if not match or len(digits) > 20 or digits.lower() == "0x":
        raise _Invalid(f"Invalid {what}: '{text}' is not a number")
    if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX":
        value = int(digits, 10)
    else:
        value = int(digits, 0)
    if value >= 2**64:
        raise _Invalid(f"Invalid {what}: '{text}' is too large")
    return value


def _function(parts: _Parts, text: str) -> tuple[str, int]:
    """Split ``func+offset``."""
    name, plus, offset = text.partition("+")
    if not plus:
        return name, 0
    if is_wildcard(name):
        raise _Invalid("an offset needs one function, not a wildcard")
    if not name:
        raise _Invalid("the function before '+' is missing")
    return name, _number(offset, "offset")


def _parse_bare(parts: _Parts) -> AttachPoint:
    if parts.fields:
        raise _Invalid(f"{parts.provider} probe type requires 0 arguments, found {len(parts.fields)}")
    return parts.point()


def _parse_self(parts: _Parts) -> AttachPoint:
    parts.require(2)
    if parts.fields[0] != "signal":
        raise _Invalid(f"Invalid self probe: {parts.fields[0]}", "The self probe is self:signal:SIGUSR1.")
    if parts.fields[1] != "SIGUSR1":
        raise _Invalid(f"Invalid signal: {parts.fields[1]}", "Only SIGUSR1 is supported.")
    return parts.point(target="signal", event="SIGUSR1")


def _parse_named(parts: _Parts) -> AttachPoint:
    parts.require(1)
    return parts.point(event=parts.fields[0])


def _parse_kprobe(parts: _Parts) -> AttachPoint:
    parts.require(1, 2)
    text = parts.fields[-1]
    module = parts.fields[0] if len(parts.fields) == 2 else ""
    if re.match(r"0[xX]|[0-9]+$", text):
        if module:
            raise _Invalid("an absolute address takes no module")
        return parts.point(address=_number(text, "address"))
    function, offset = _function(parts, text)
    if "+" in text and parts.provider == "kretprobe":
        raise _Invalid("Offset not allowed for kretprobes", "A kretprobe fires when the whole function returns.")
    return parts.point(target=module, event=function, offset=offset)


def _parse_fentry(parts: _Parts) -> AttachPoint:
    if parts.fields and parts.fields[0] == "bpf":
        parts.require(2, 3)
        program_id = parts.fields[1] if len(parts.fields) == 3 else "*"
        return parts.point(target="bpf", namespace=program_id, event=parts.fields[-1])
    parts.require(1, 2)
    return parts.point(target=parts.fields[0] if len(parts.fields) == 2 else "", event=parts.fields[-1])


def _parse_tracepoint(parts: _Parts) -> AttachPoint:
    if len(parts.fields) == 1 and is_wildcard(parts.fields[0]):
        return parts.point(target="*", event=parts.fields[0])
    parts.require(2)
    return parts.point(target=parts.fields[0], event=parts.fields[1])


def _parse_raw_tracepoint(parts: _Parts) -> AttachPoint:
    parts.require(1, 2)
    return parts.point(target=parts.fields[0] if len(parts.fields) == 2 else "", event=parts.fields[-1])


def _parse_timer(parts: _Parts) -> AttachPoint:
    parts.require(1, 2)
    if len(parts.fields) == 2:
        unit, rate = parts.fields
        value = _number(rate, "rate")
        if unit == "hz":
            if value == 0:
                raise _Invalid(f"{parts.provider} frequency should be a positive integer")
            return parts.point(number=value, mode="hz", target=f"hz:{value}")
        if unit not in _UNITS:
            raise _Invalid(f"Invalid unit: {unit}", "Units are hz, s, ms and us, or a duration such as 100ms.")
        if value == 0:
            raise _Invalid(f"{parts.provider} frequency should be a positive integer")
        written = f"{unit}:{value}"
        value *= _UNITS[unit]
    else:
        match = re.fullmatch(r"(0[xX][0-9a-fA-F_]+|[0-9][0-9_]*?)([a-z]*)", parts.fields[0])
        if not match or (match[2] and match[2] not in _DURATIONS):
            raise _Invalid(
                f"Invalid duration: '{parts.fields[0]}'", f"Write {parts.provider}:100ms or {parts.provider}:ms:100."
            )
        value = _number(match[1], "duration") * _DURATIONS.get(match[2], 1)
        written = f"us:{value // 1000}"
    if value < _MINIMUM_PERIOD_NS:
        raise _Invalid(
            f"Invalid rate of {parts.provider} probe. Minimum is {_MINIMUM_PERIOD_NS} or 1us. "
            f"Found: {value} nanoseconds"
        )
    return parts.point(number=value, mode="ns", target=written)


def _parse_counter(parts: _Parts) -> AttachPoint:
    parts.require(1, 2)
    count = _number(parts.fields[1], "count") if len(parts.fields) == 2 else 0
    return parts.point(event=parts.fields[0], number=count)


def _parse_watchpoint(parts: _Parts) -> AttachPoint:
    parts.require(3)
    address, length, mode = parts.fields
    if set(mode) - set("rwx") or len(set(mode)) != len(mode):
        raise _Invalid("watchpoint mode must be combination of (r,w,x)")
    size = _number(length, "length")
    if size not in (1, 2, 4, 8):
        raise _Invalid("watchpoint length must be one of (1,2,4,8)")
    return parts.point(address=_number(address, "address"), number=size, mode="".join(sorted(mode)))


def _parse_uprobe(parts: _Parts) -> AttachPoint:
    parts.require(1, 2, 3)
    fields = parts.fields
    target, at_sign, file = fields[0].rpartition("@")
    if at_sign and len(fields) >= 2 and fields[1].isdigit():
        column = _number(fields[2], "column") if len(fields) == 3 else 0
        return parts.point(target=target, event=file, number=_number(fields[1], "line"), column=column, mode="line")
    if len(fields) == 1:
        function, offset = _function(parts, fields[0])
        return parts.point(event=function, offset=offset)
    language = fields[1] if len(fields) == 3 else ""
    text = fields[-1]
    if not language and re.match(r"0[xX]|[0-9]+$", text):
        return parts.point(target=fields[0], address=_number(text, "offset"))
    function, offset = (text, 0) if language else _function(parts, text)
    if offset and parts.provider == "uretprobe":
        raise _Invalid("Offset not allowed for uretprobes", "A uretprobe fires when the whole function returns.")
    return parts.point(target=fields[0], event=function, offset=offset, namespace=language)


def _parse_usdt(parts: _Parts) -> AttachPoint:
    if len(parts.fields) not in (1, 2, 3):
        parts.require(1, 2, 3)
    fields = parts.fields
    if not fields[-1]:
        raise _Invalid("the name of the USDT probe is missing")
    return parts.point(
        target=fields[0] if len(fields) > 1 else "", namespace=fields[1] if len(fields) == 3 else "", event=fields[-1]
    )


def _parse_iter(parts: _Parts) -> AttachPoint:
    parts.require(1, 2)
    if is_wildcard(parts.fields[0]):
        raise _Invalid("iter probe type does not support wildcards")
    return parts.point(event=parts.fields[0], mode=parts.fields[1] if len(parts.fields) == 2 else "")


PROVIDERS: dict[str, Callable[[_Parts], AttachPoint]] = {
    "begin": _parse_bare,
    "end": _parse_bare,
    "self": _parse_self,
    "test": _parse_named,
    "bench": _parse_named,
    "kprobe": _parse_kprobe,
    "kretprobe": _parse_kprobe,
    "fentry": _parse_fentry,
    "fexit": _parse_fentry,
    "tracepoint": _parse_tracepoint,
    "rawtracepoint": _parse_raw_tracepoint,
    "profile": _parse_timer,
    "interval": _parse_timer,
    "software": _parse_counter,
    "hardware": _parse_counter,
    "watchpoint": _parse_watchpoint,
    "uprobe": _parse_uprobe,
    "uretprobe": _parse_uprobe,
    "usdt": _parse_usdt,
    "iter": _parse_iter,
}

_ALIASES = {
    "k": "kprobe",
    "kr": "kretprobe",
    "f": "fentry",
    "fr": "fexit",
    "kfunc": "fentry",
    "kretfunc": "fexit",
    "t": "tracepoint",
    "rt": "rawtracepoint",
    "p": "profile",
    "i": "interval",
    "s": "software",
    "h": "hardware",
    "w": "watchpoint",
    "u": "uprobe",
    "ur": "uretprobe",
    "it": "iter",
}

# The section (counted in colons) of an attach point in which a slash is part of a path.
_PATH_SECTIONS = {"uprobe": 1, "uretprobe": 1, "usdt": 1, "iter": 2}


def _canonical(word: str) -> str:
    if word == "U":  # the only alias whose case matters
        return "usdt"
    word = word.lower()
    return _ALIASES.get(word, word)
