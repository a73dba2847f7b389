"""USDT probes: the ELF notes that name them, and the text that says where their arguments are.

``-4@%edi 8@16(%rsp,%rax,8) 4@$42``   →   three `Operand`s
"""

from __future__ import annotations

import re
from struct import Struct

from trapline.abi.elf import Elf
from trapline.debuginfo.x86 import SUBREGISTERS
from trapline.errors import DecodeError
from trapline.records import record, replace

NT_STAPSDT = 3
_NOTE = Struct("<QQQ")  # location, base and semaphore, as addresses
_X86_64 = "x86_64"


@record(frozen=True)
class Operand:
    """Where an argument of a USDT probe is.

    Args:
        kind: ``constant``, ``register``, ``memory``, or ``unknown`` for a form that cannot be read.
        size: bytes: 1, 2, 4 or 8.
        signed: whether it is extended by its sign.
        value: the constant, or the displacement in memory.
        register: a name of `trapline.abi.arch`; the base of a memory operand, empty for none.
        index: the index register of a memory operand, empty for none.
        scale: what the index is multiplied with.
        shift: bits below the value in the register (``%ah``).
        text: as the note has it.
    """

    kind: str
    size: int
    signed: bool
    value: int = 0
    register: str = ""
    index: str = ""
    scale: int = 1
    shift: int = 0
    text: str = ""


@record(frozen=True)
class UsdtLocation:
    """One place of a probe: offsets in the file (the semaphore's is 0 without one), and its arguments as text."""

    offset: int
    semaphore: int
    arguments: str


@record(frozen=True)
class UsdtProbe:
    """A USDT probe with all its places."""

    provider: str
    name: str
    locations: tuple[UsdtLocation, ...]


def read_usdt_probes(elf: Elf) -> tuple[UsdtProbe, ...]:
    """Return the USDT probes of a file, sorted by provider and name.

    Raises:
        DecodeError: a note contradicts itself.
    """
    places: dict[tuple[str, str], list[UsdtLocation]] = {}
    base_section = elf.section(".stapsdt.base")
    for note in elf.notes(".note.stapsdt"):
        if note.owner != "stapsdt" or note.type != NT_STAPSDT:
            continue
        if len(note.payload) < _NOTE.size:
            raise DecodeError(f"a stapsdt note of {len(note.payload)} bytes")
        location, base, semaphore = _NOTE.unpack_from(note.payload)
        texts = note.payload[_NOTE.size :].split(b"\0")
        if len(texts) < 3:
            raise DecodeError("a stapsdt note whose texts have no end")
        # prelink(8) moves the code but not what the notes say: the base section tells by how much.
        moved = base_section.address - base if base_section is not None and base else 0
        offset = elf.file_offset(location + moved)
        if offset is None:
            continue
        counter = elf.file_offset(semaphore + moved) if semaphore else 0
        provider, name, arguments = (text.decode("utf-8", "replace") for text in texts[:3])
        places.setdefault((provider, name), []).append(UsdtLocation(offset, counter or 0, arguments))
    return tuple(UsdtProbe(*key, tuple(dict.fromkeys(places[key]))) for key in sorted(places))


def parse_operands(text: str, arch: str) -> tuple[Operand, ...]:
    """Parse the arguments of a probe's place.

    Args:
        text: as the note has it.
        arch: ``x86_64`` or ``aarch64``.
    """
    return tuple(_parse_operand(word, arch) for word in _split(text))


def _split(text: str) -> list[str]:
    """Cut at white space that is outside of brackets: ``8@[sp, 16]`` is one argument."""
    words = [""]
    depth = 0
    for character in text.strip():
        depth += (character in "[(") - (character in "])")
        if character.isspace() and depth <= 0:
            words.append("")
        else:
            words[-1] += character
    return [word for word in words if word]


_SIZED = re.compile(r"(-?)([1248])(f?)@(.+)")


def _parse_operand(word: str, arch: str) -> Operand:
    match = _SIZED.fullmatch(word)
    if match and match[3]:
        return Operand("unknown", int(match[2]), True, text=word)  # floating point
    size, signed, place = 8, True, word.rpartition("@")[2]
    if match:
        size, signed, place = int(match[2]), match[1] == "-", match[4]
    found = (_parse_x86 if arch == _X86_64 else _parse_arm)(place.strip(), size, signed)
    return replace(found, text=word) if found is not None else Operand("unknown", size, signed, text=word)


_NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+)"
_X86_MEMORY = re.compile(
    rf"(?P<disp>(?:{_NUMBER})(?:{_NUMBER})*)?"
    r"\(\s*(?:%(?P<base>[a-z0-9]+))?\s*(?:,\s*%(?P<index>[a-z0-9]+)\s*(?:,\s*(?P<scale>[1248])?\s*)?)?\)"
)


def _number(text: str) -> int:
    """Return the sum of the numbers in ``-8+16``."""
    return sum(int(part, 16 if "x" in part.lower() else 10) for part in re.findall(_NUMBER, text))


def _parse_x86(place: str, size: int, signed: bool) -> Operand | None:
    if re.fullmatch(rf"\${_NUMBER}", place):
        return Operand("constant", size, signed, _number(place[1:]))
    if place.startswith("%"):
        known = SUBREGISTERS.get(place[1:])
        return None if known is None else Operand("register", size, signed, register=known[0], shift=known[1])
    if re.fullmatch(_NUMBER, place):
        return Operand("memory", size, signed, _number(place))
    memory = _X86_MEMORY.fullmatch(place)
    if not memory:
        return None
    base, index = (SUBREGISTERS.get(memory[part] or "", ("", 0))[0] for part in ("base", "index"))
    if (memory["base"] and not base) or (memory["index"] and not index):
        return None
    return Operand("memory", size, signed, _number(memory["disp"] or ""), base, index, int(memory["scale"] or 1))


_ARM_REGISTER = r"(?:[xw](?:[12]?[0-9]|30)|sp|wsp|fp|lr|xzr|wzr)"
_ARM_MEMORY = re.compile(
    rf"\[\s*(?P<base>{_ARM_REGISTER})\s*(?:,\s*(?:#?(?P<disp>{_NUMBER})|(?P<index>{_ARM_REGISTER})"
    rf"(?:\s*,\s*(?P<extend>lsl|uxtw|sxtw|sxtx)\s*(?:#?(?P<scale>[0-4]))?)?))?\s*\]"
)


def _arm_register(name: str) -> str:
    return {"wsp": "sp"}.get(name, f"x{name[1:]}" if name[0] == "w" else name)


def _parse_arm(place: str, size: int, signed: bool) -> Operand | None:
    if re.fullmatch(rf"#?{_NUMBER}", place):
        return Operand("constant", size, signed, _number(place.lstrip("#")))
    if place in ("xzr", "wzr"):
        return Operand("constant", size, signed, 0)
    if re.fullmatch(_ARM_REGISTER, place):
        return Operand("register", size, signed, register=_arm_register(place))
    memory = _ARM_MEMORY.fullmatch(place)
    if not memory or memory["extend"] in ("uxtw", "sxtw"):
        return None
    index = _arm_register(memory["index"]) if memory["index"] else ""
    return Operand(
        "memory",
        size,
        signed,
        _number(memory["disp"] or ""),
        _arm_register(memory["base"]),
        index,
        1 << int(memory["scale"] or 0),
    )
