r"""printf: a C format and its arguments are compiled once into a function of the record.

    make_printf("%d %s\n", (Field(8, IntV(4)), Field(12, StrV(16))), namer)

becomes one `struct` unpack and one bytes ``%``:

    def printf(buffer, offset):
        a0, a1 = unpack(buffer, offset)                      # "<8xi16s"
        return b"%d %b\n" % (a0, cut(a1))
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence

from trapline.hints import Any, NamedTuple
from trapline.ir import values as v
from trapline.ir.spec import Field
from trapline.runtime.decode import Buffer, int_code, make_decoder
from trapline.runtime.display import buffer_text, make_text
from trapline.runtime.objects import Namer

Printf = Callable[[Buffer, int], bytes]

_SPEC = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?(?P<length>[hlLjzt]*)"
    r"(?P<kind>gr|rx|rh|r|[diouxXcsp%])"
)
_LENGTHS = {"hh": 1, "h": 2, "": 4}
_NUMBERS = (
    v.IntV,
    v.BoolV,
    v.EnumV,
    v.PtrV,
    v.KsymV,
    v.UsernameV,
    v.TimestampV,
    v.CgroupPathV,
    v.ProbeNameV,
    v.CountV,
    v.SumV,
    v.BitsV,
)


class Conversion(NamedTuple):
    """One conversion of a format.

    Args:
        flags: of ``-+ #0``.
        width, precision: digits, or empty; ``*`` counts as empty, as in bpftrace.
        length: ``hh h l ll j z t`` or empty.
        kind: ``d i u o x X c s p r rx rh gr``.
    """

    flags: str
    width: str
    precision: str | None
    length: str
    kind: str

    def __str__(self) -> str:
        precision = "" if self.precision is None else f".{self.precision}"
        return f"%{self.flags}{self.width}{precision}{self.length}{self.kind}"


class Number(NamedTuple):
    """How an integer argument is read for a conversion.

    Args:
        size: how many bytes of it, from the lowest on.
        signed: they are extended with their sign.
        mask: what is kept then; 0 keeps all.
    """

    size: int
    signed: bool
    mask: int = 0


def converted_number(conversion: Conversion, value: v.Value) -> Number | None:
    """Return how a value becomes the C type that the conversion names; ``None`` when it is no plain integer."""
    kind = conversion.kind
    own_signed = bool(getattr(value, "signed", False))
    if not isinstance(value, _NUMBERS) or isinstance(value, v.BitsV) or not int_code(value.size, own_signed):
        return None
    signed = kind in ("d", "i")
    width = conversion_width(conversion)
    if width <= value.size:  # little endian: the low bytes come first
        return Number(width, signed)
    return Number(value.size, own_signed, (1 << 8 * width) - 1 if own_signed and not signed else 0)


def conversion_width(conversion: Conversion) -> int:
    """Return the size of the C type that a conversion names, in bytes."""
    if conversion.kind in ("p", "c"):
        return 8 if conversion.kind == "p" else 1
    return _LENGTHS.get(conversion.length, 8)


def parse_format(format: str) -> tuple[list[bytes], list[Conversion]]:
    """Split a C format into literal text and conversions; ``%%`` is text.

    Returns:
        n + 1 pieces of text and the n conversions between them.
    """
    texts, conversions = [b""], []
    position = 0
    for match in _SPEC.finditer(format):
        texts[-1] += _raw(format[position : match.start()])
        position = match.end()
        if match["kind"] == "%":
            texts[-1] += b"%"
            continue
        width, precision = match["width"] or "", match["precision"]
        conversions.append(
            Conversion(
                match["flags"],
                "" if width == "*" else width,
                None if precision == "*" else precision,
                match["length"],
                match["kind"],
            )
        )
        texts.append(b"")
    texts[-1] += _raw(format[position:])
    return texts, conversions


def make_printf(format: str, args: Sequence[Field], namer: Namer, trailer: bytes = b"..") -> Printf:
    """Compile a format.

    Args:
        format: C's, with bpftrace's ``%r %rx %rh``.
        args: where each argument is in the record, and its layout.
        namer: gives names to addresses, user ids, probes.
        trailer: appended to strings that fill their field to the end.

    Returns:
        ``printf(buffer, offset)``: the text for the record that starts at `offset`.

    Raises:
        ValueError: the format has another number of conversions than there are arguments.
    """
    texts, conversions = parse_format(format)
    if len(conversions) != len(args):
        raise ValueError(f"the format {format!r} needs {len(conversions)} arguments, not {len(args)}")
    template = texts[0].replace(b"%", b"%%")
    compiler = _Compiler(namer, trailer)
    for conversion, field, text in zip(conversions, args, texts[1:], strict=True):
        template += compiler.add(conversion, field) + text.replace(b"%", b"%%")
    if not args:
        constant = template % ()
        return lambda buffer, offset: constant
    return compiler.finish(template)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Compiler:
    """Collects the arguments of one format: those that a single unpack reads, and expressions for all of them."""

    def __init__(self, namer: Namer, trailer: bytes) -> None:
        self._namer = namer
        self._trailer = trailer
        self._unpacked: list[tuple[int, int, str, str]] = []  # offset, size, struct code, variable
        self._expressions: list[str] = []
        self._names: dict[str, Any] = {}

    def add(self, conversion: Conversion, field: Field) -> bytes:
        """Take an argument; return its conversion for Python's bytes ``%``."""
        kind, value = conversion.kind, field.value
        flags = conversion.flags
        precision = "" if conversion.precision is None else f".{conversion.precision}"
        if kind in ("d", "i", "u", "o", "x", "X", "c", "p") and isinstance(value, _NUMBERS):
            number = self._number(conversion, field)
            if kind == "c":
                self._expressions.append(number)
                return f"%{_only(flags, '-')}{conversion.width}c".encode()
            if kind == "p" or (kind == "o" and "#" in flags):
                prefix = "0x" if kind == "p" else "0"
                digits = "x" if kind == "p" else "o"
                self._expressions.append(
                    self._bind(lambda n: f"{prefix}{n:{digits}}".encode() if n else b"0") + f"({number})"
                )
                return f"%{_only(flags, '-')}{conversion.width}b".encode()
            if kind in ("o", "x", "X", "u"):
                flags = flags.replace("+", "").replace(" ", "")
            if kind in ("x", "X") and "#" in flags:  # C writes no prefix before 0
                self._expressions.append(self._bind(_prefixed(kind)) + f"({number})")
                return f"%{_only(flags, '-')}{conversion.width}b".encode()
            if precision:
                flags = flags.replace("0", "")
            self._expressions.append(number)
            python_kind = "d" if kind in ("i", "u") else kind
            return f"%{flags.replace('#', '')}{conversion.width}{precision}{python_kind}".encode()
        self._expressions.append(self._text(conversion, field))
        return f"%{_only(flags, '-')}{conversion.width}{precision if kind == 's' else ''}b".encode()

    def finish(self, template: bytes) -> Printf:
        """Compile the function; its source has only names made here, no text of the user's."""
        lines = ["def printf(buffer, offset):"]
        code, position = "<", 0
        variables = []
        for offset, size, letter, variable in sorted(self._unpacked):
            if offset < position:  # the same bytes twice
                unpack = self._bind(struct.Struct("<" + letter).unpack_from)
                lines.append(f"    {variable}, = {unpack}(buffer, offset + {offset})")
                continue
            code += f"{offset - position}x" if offset > position else ""
            code += letter
            position = offset + size
            variables.append(variable)
        if variables:
            lines.append(f"    {', '.join(variables)}, = {self._bind(struct.Struct(code).unpack_from)}(buffer, offset)")
        lines.append(f"    return {self._bind(template)} % ({', '.join(self._expressions)},)")
        exec("\n".join(lines), self._names)
        printf: Printf = self._names["printf"]
        return printf

    def _bind(self, item: object) -> str:
        name = f"k{len(self._names)}"
        self._names[name] = item
        return name

    def _unpack(self, offset: int, size: int, letter: str) -> str:
        variable = f"a{len(self._unpacked)}"
        self._unpacked.append((offset, size, letter, variable))
        return variable

    def _number(self, conversion: Conversion, field: Field) -> str:
        """Return the expression of an integer converted to the C type that the conversion names."""
        number = converted_number(conversion, field.value)
        if number is None:
            decode = make_decoder(field.value, self._namer)
            wrap = _wrapper(8 * conversion_width(conversion), conversion.kind in ("d", "i"))
            return f"{self._bind(lambda buffer, offset: wrap(decode(buffer, offset)))}(buffer, offset + {field.offset})"
        variable = self._unpack(field.offset, number.size, int_code(number.size, number.signed))
        return f"({variable} & {number.mask})" if number.mask else variable

    def _text(self, conversion: Conversion, field: Field) -> str:
        value = field.value
        if isinstance(value, v.StrV):
            variable = self._unpack(field.offset, value.size, f"{value.size}s")
            nul, trailer = self._bind(b"\0"), self._bind(self._trailer)
            return f"({variable}.partition({nul})[0] if {nul} in {variable} else {variable} + {trailer})"
        decode = make_decoder(value, self._namer)
        if isinstance(value, v.BufV) and conversion.kind in ("rx", "rh"):
            escape = conversion.kind == "rx"

            def show(buffer: Buffer, offset: int) -> bytes:
                return buffer_text(decode(buffer, offset), ascii=False, escape=escape)
        else:
            text = make_text(value, self._trailer)

            def show(buffer: Buffer, offset: int) -> bytes:
                return text(decode(buffer, offset))

        return f"{self._bind(show)}(buffer, offset + {field.offset})"


def _only(flags: str, allowed: str) -> str:
    return "".join(c for c in flags if c in allowed)


def _prefixed(kind: str) -> Callable[[int], bytes]:
    prefix = "0" + kind
    return lambda n: f"{prefix}{n:{kind}}".encode() if n else b"0"


def _wrapper(bits: int, signed: bool) -> Callable[[int], int]:
    mask, sign = (1 << bits) - 1, 1 << (bits - 1) if signed else 0
    return lambda n: ((n & mask) ^ sign) - sign
