"""Cut program text into tokens, on demand: the parser reads attach points and C text without it."""

from __future__ import annotations

import re
from enum import Enum

from trapline.records import record
from trapline.source import Diagnostics, Source, Span


class Kind(Enum):
    """What a token is; the value is how messages call it."""

    END = "end of file"
    INTEGER = "integer"
    STRING = "string"
    NAME = "identifier"
    VARIABLE = "variable"
    PARAMETER = "positional parameter"
    COUNT = "$#"
    MAP = "map"
    PUNCTUATION = "punctuation"
    BAD = "invalid text"


@record(frozen=True)
class Token:
    """A token: `text` as written, `value` what a literal means."""

    kind: Kind
    text: str
    span: Span
    value: int | bytes = 0
    unsigned: bool = False

    def is_(self, *texts: str) -> bool:
        """Tell whether this is one of these punctuations or words."""
        return self.text in texts and self.kind in (Kind.PUNCTUATION, Kind.NAME)


_BLANK = re.compile(r"(?:[ \t\r\n\f\v]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PUNCTUATION = re.compile(
    r"<<=|>>=|\.\.\.|<<|>>|&&|\|\||==|!=|<=|>=|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|->|\.\.|[{}()\[\];,.+\-*/%&|^~!<>=?:#]"
)
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f_]+|[0-9][0-9_]*")
_SUFFIX = re.compile(r"[A-Za-z0-9_]+")
_DURATIONS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_INTEGER_SUFFIXES = {"u", "l", "ul", "ll", "ull", "lu", "llu"}
_ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, '"': 34, "'": 39}
_U64_MAX = 2**64 - 1


def read_integer(text: str) -> int | None:
    """Return the number that `text` is, written as in a program but for a sign before it; ``None`` if it is not one."""
    digits = text.removeprefix("-")
    if not digits[:1].isdigit() or not digits.isascii():
        return None
    diagnostics = Diagnostics()
    token = Lexer(Source("", digits), diagnostics).token(0)
    if diagnostics.items or token.kind is not Kind.INTEGER or token.span.end != len(digits):
        return None
    assert isinstance(token.value, int)
    return -token.value if text.startswith("-") else token.value


class Lexer:
    """Reads tokens of `source` from any position; what is malformed goes to `diagnostics` and yields a BAD token."""

    def __init__(self, source: Source, diagnostics: Diagnostics) -> None:
        self._source = source
        self._text = source.text
        self._diagnostics = diagnostics

    def skip_blank(self, position: int) -> int:
        """Return the position of the next character that is neither white space nor comment."""
        match = _BLANK.match(self._text, position)
        end = match.end() if match else position
        if self._text.startswith("/*", end):
            self._diagnostics.error("unterminated comment", self._source.span(end, end + 2), "Close it with '*/'.")
            return len(self._text)
        return end

    def token(self, position: int) -> Token:
        """Return the first token at or after `position`."""
        start = self.skip_blank(position)
        text = self._text
        if start >= len(text):
            return Token(Kind.END, "", self._source.span(len(text), len(text)))
        first = text[start]
        if first.isascii() and (first.isalpha() or first == "_"):
            return self._make(Kind.NAME, start, self._end(_NAME, start))
        if first.isascii() and first.isdigit():
            return self._number(start)
        if first == '"':
            return self._string(start)
        if first == "$":
            return self._dollar(start)
        if first == "@":
            return self._make(Kind.MAP, start, self._end(_NAME, start + 1))
        end = self._end(_PUNCTUATION, start)
        if end > start:
            return self._make(Kind.PUNCTUATION, start, end)
        hints = ['Strings stand in double quotes: "…".'] if first == "'" else []
        return self._bad(f"syntax: unexpected character {first!r}", start, start + 1, *hints)

    def _end(self, pattern: re.Pattern[str], start: int) -> int:
        match = pattern.match(self._text, start)
        return match.end() if match else start

    def _make(self, kind: Kind, start: int, end: int, value: int | bytes = 0, unsigned: bool = False) -> Token:
        return Token(kind, self._text[start:end], self._source.span(start, end), value, unsigned)

    def _bad(self, message: str, start: int, end: int, *hints: str) -> Token:
        self._diagnostics.error(message, self._source.span(start, end), *hints)
        return self._make(Kind.BAD, start, end)

    def _dollar(self, start: int) -> Token:
        text = self._text
        if text.startswith("$#", start):
            return self._make(Kind.COUNT, start, start + 2)
        end = start + 1
        while end < len(text) and text[end].isascii() and text[end].isdigit():
            end += 1
        if end > start + 1:
            digits = text[start + 1 : end]
            if len(digits) > 9 or int(digits) == 0:
                return self._bad(f"param {text[start:end]} is out of integer range [1, 999999999]", start, end)
            return self._make(Kind.PARAMETER, start, end, int(digits))
        end = self._end(_NAME, start + 1)
        if end == start + 1:
            return self._bad("syntax: unexpected '$'", start, end, "A variable's name follows the '$'.")
        return self._make(Kind.VARIABLE, start, end)

    def _number(self, start: int) -> Token:
        end = self._end(_NUMBER, start)
        suffix_end = self._end(_SUFFIX, end)
        digits = self._text[start:end].replace("_", "")
        suffix = self._text[end:suffix_end]
        if len(digits) > 40:
            return self._bad("integer is too large for 64 bits", start, suffix_end)
        if digits[:2] in ("0x", "0X"):
            value = int(digits, 16)
        elif len(digits) > 1 and digits[0] == "0":
            if set(digits) & {"8", "9"}:
                return self._bad(f"invalid octal integer '{digits}'", start, suffix_end)
            value = int(digits, 8)
        else:
            value = int(digits)
        exponent = re.match(r"[eE]([0-9]{1,3})", suffix) if not digits.startswith(("0x", "0X")) else None
        if exponent:
            if int(exponent[1]) > 19:
                return self._bad("integer is too large for 64 bits", start, suffix_end)
            value *= 10 ** int(exponent[1])
            suffix = suffix[exponent.end() :]
        unsigned = False
        if suffix:
            if suffix in _DURATIONS:
                value *= _DURATIONS[suffix]
            elif suffix.lower() in _INTEGER_SUFFIXES:
                unsigned = "u" in suffix.lower()
            else:
                return self._bad(
                    f"invalid suffix '{suffix}' of an integer",
                    start,
                    suffix_end,
                    "Suffixes are: ns us ms s m h d (durations), u l ul ll ull.",
                )
        if value > _U64_MAX:
            return self._bad("integer is too large for 64 bits", start, suffix_end)
        return self._make(Kind.INTEGER, start, suffix_end, value, unsigned)

    def _string(self, start: int) -> Token:
        text = self._text
        out = bytearray()
        at = start + 1
        while at < len(text):
            c = text[at]
            if c == '"':
                return self._make(Kind.STRING, start, at + 1, bytes(out))
            if c != "\\":
                # Bytes that are not UTF-8 arrive as lone surrogates DC80..DCFF (PEP 383).
                out += c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "replace")
                at += 1
                continue
            at = self._escape(at, out)
        return self._bad("unterminated string", start, min(len(text), start + 1), "Close it with '\"'.")

    def _escape(self, at: int, out: bytearray) -> int:
        """Append what the escape at `at` means; return the position behind it."""
        text = self._text
        c = text[at + 1 : at + 2]
        if c in _ESCAPES and c:
            out.append(_ESCAPES[c])
            return at + 2
        octal = re.compile(r"[0-7]{1,3}").match(text, at + 1)
        if octal:
            if int(octal[0], 8) > 255:
                self._diagnostics.error(
                    f"octal escape '\\{octal[0]}' is out of range", self._source.span(at, octal.end())
                )
            out.append(int(octal[0], 8) & 255)
            return octal.end()
        hexadecimal = re.compile(r"x([0-9A-Fa-f]{1,2})").match(text, at + 1)
        if hexadecimal:
            out.append(int(hexadecimal[1], 16))
            return hexadecimal.end()
        self._diagnostics.error(f"invalid escape '\\{c}' in a string", self._source.span(at, at + 2))
        return at + 2
