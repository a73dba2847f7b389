"""/proc/kallsyms: names to addresses and back."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from trapline.errors import PrivilegeError, TargetError
from trapline.hints import NamedTuple

_PATH = "/proc/kallsyms"
_TEXT = "tTwW"


class Symbol(NamedTuple):
    """A kernel symbol: address, the kernel's type letter, name, and module (empty for the kernel proper)."""

    address: int
    type: str
    name: str
    module: str

    @property
    def is_function(self) -> bool:
        """Whether it is code."""
        return self.type in _TEXT


class SymbolTable:
    """The kernel's symbols at one moment.

    Nothing is parsed before it is asked for: looking up a single name scans the text, looking up addresses builds the
    sorted table.

    Args:
        text: contents of ``/proc/kallsyms``.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._addresses: dict[str, dict[str, int]] = {}

    @cached_property
    def restricted(self) -> bool:
        """Whether the kernel hides the addresses (``kernel.kptr_restrict``): all of them are zero then."""
        return not re.search(r"^0*[1-9a-f]", self._text, re.MULTILINE)

    def find(self, name: str, module: str | None = None) -> list[Symbol]:
        """Return the symbols called `name`, lowest address first.

        Args:
            name: the exact name.
            module: only of this module (empty or ``vmlinux``: the kernel proper); ``None`` for any.
        """
        found = [symbol for symbol in self._lines_with(name) if symbol.name == name]
        if module is not None:
            wanted = "" if module == "vmlinux" else module
            found = [s for s in found if s.module == wanted]
        return sorted(found)

    def address(self, name: str) -> int | None:
        """Return the address of symbol `name`, or ``None`` when there is none or addresses are hidden."""
        found = self.find(name)
        return found[0].address or None if found else None

    def function_addresses(self, module: str) -> dict[str, int]:
        """Return the address of every function of `module` (``vmlinux``: the kernel proper) by name; kept."""
        if module not in self._addresses:
            tail = "" if module in ("", "vmlinux") else rf"\t\[{re.escape(module)}\]"
            pattern = re.compile(rf"^([0-9a-f]+) [tTwW] ([^\t\n]+){tail}$", re.MULTILINE)
            found: dict[str, int] = {}
            for match in pattern.finditer(self._text):
                found.setdefault(match[2], int(match[1], 16))
            self._addresses[module] = found
        return self._addresses[module]

    def function_address(self, name: str, module: str) -> int | None:
        """Return the address of one function of `module`, or ``None``; quick when `function_addresses` was asked."""
        if module in self._addresses:
            return self._addresses[module].get(name) or None
        found = [s.address for s in self.find(name, module) if s.is_function]
        return found[0] or None if found else None

    @cached_property
    def names(self) -> dict[str, str]:
        """Type letter by name, for everything (the last one wins where a name repeats)."""
        result: dict[str, str] = {}
        for line in self._text.splitlines():
            parts = line.split(None, 3)
            if len(parts) >= 3:
                result[parts[2]] = parts[1]
        return result

    def functions(self) -> list[tuple[str, str]]:
        """Return the (name, module) of everything that is code."""
        pattern = re.compile(r"^[0-9a-f]+ [tTwW] ([^\t\n]+)(?:\t\[(.*)\])?$", re.MULTILINE)
        return [(m[1], m[2] or "") for m in pattern.finditer(self._text)]

    def variants(self, name: str) -> list[str]:
        """Return the compiler's variants of function `name`: ``name.isra.0``, ``name.constprop.0.cold`` and so on."""
        return sorted({symbol.name for symbol in self._lines_with(name + ".") if symbol.is_function})

    def _lines_with(self, prefix: str) -> Iterator[Symbol]:
        """Yield the symbols whose names start with `prefix`, by plain text search, which is fast."""
        text, needle = self._text, f" {prefix}"
        place = text.find(needle)
        while place >= 0:
            start = text.rfind("\n", 0, place) + 1
            end = text.find("\n", place)
            line = text[start : end if end >= 0 else len(text)]
            place = text.find(needle, place + 1)
            parts = line.split(" ", 2)
            if len(parts) == 3 and parts[2].startswith(prefix):
                name, _, module = parts[2].partition("\t")
                yield Symbol(int(parts[0], 16), parts[1], name, module[1:-1])

    @cached_property
    def _sorted(self) -> tuple[list[int], list[tuple[int, str, str]]]:
        symbols = []
        for line in self._text.splitlines():
            address, kind, name = line.split(None, 2)
            if kind in "aA":  # absolute: per-CPU offsets and the like
                continue
            name, _, module = name.partition("\t")
            symbols.append((int(address, 16), name, module[1:-1]))
        # Stable: of the names at one address the first that the kernel lists comes first.
        symbols.sort(key=lambda s: s[0])
        return [s[0] for s in symbols], symbols

    def symbolize(self, address: int) -> tuple[str, int, str] | None:
        """Return (name, offset into it, module) of the code or data at `address`; ``None`` below the first symbol."""
        found = self._in_kernel_proper(address)
        if found is not None:
            return found[0], address - found[1], ""
        addresses, symbols = self._sorted
        index = bisect_right(addresses, address) - 1
        if index < 0 or addresses[index] == 0:
            return None
        start, name, module = symbols[index]
        # Aliases share an address: the kernel's own lookup reports the first.
        while index and addresses[index - 1] == start:
            index -= 1
            _, name, module = symbols[index]
        return name, address - start, module

    @cached_property
    def _kernel_proper(self) -> tuple[int, int, int, int]:
        """Where the kernel's own symbols are, which it lists first and sorted: their text's bounds, and theirs.

        Addresses below (absolute ones) and above (modules, BPF programs) are others' business.
        """
        text = self._text
        module = text.find("\t[")
        end = len(text) if module < 0 else text.rfind("\n", 0, module) + 1
        kernel = re.compile(r"^[89a-f][0-9a-f]{15} [^aA] ", re.MULTILINE).search(text, 0, end)
        if kernel is None or end < 1:
            return 0, 0, 1, 0
        last = text.rfind("\n", 0, end - 1) + 1
        return kernel.start(), end, int(kernel[0][:16], 16), int(text[last : last + 16], 16)

    def _in_kernel_proper(self, address: int) -> tuple[str, int] | None:
        """Return name and address of the kernel's own symbol that covers `address`: a binary search in the text."""
        low, high, first, last = self._kernel_proper
        if not first <= address < last:
            return None
        text, wanted = self._text, f"{address:016x}"
        while True:  # the line at `low` is not behind the wanted address, the one at `high` is
            middle = text.rfind("\n", low, (low + high) // 2) + 1 or low
            if middle == low:
                middle = text.find("\n", low) + 1
                if middle >= high:
                    break
            if text[middle : middle + 16] > wanted:
                high = middle
            else:
                low = middle
        # Aliases share an address: the kernel's own lookup reports the first.
        start = text[low : low + 16]
        while low and text.startswith(start, before := text.rfind("\n", 0, low - 1) + 1):
            low = before
        while text[low + 17] in "aA":
            low = text.find("\n", low) + 1
        name = text[low + 19 : text.find("\n", low)]
        return (name, int(start, 16)) if text.startswith(start, low) else None

    def extent(self, address: int) -> int | None:
        """Return the bytes between the start of the symbol at `address` and the next one (its size for the kernel)."""
        addresses, _ = self._sorted
        index = bisect_right(addresses, address) - 1
        if index < 0:
            return None
        following = bisect_right(addresses, addresses[index])
        return addresses[following] - addresses[index] if following < len(addresses) else None


def read_kallsyms(path: str = _PATH) -> SymbolTable:
    """Read the kernel's symbols.

    Raises:
        TargetError: the kernel has no CONFIG_KALLSYMS.
        PrivilegeError: the file is not readable.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return SymbolTable(file.read())
    except FileNotFoundError:
        raise TargetError(
            f"{path} does not exist", hint="needs a kernel with CONFIG_KALLSYMS and /proc mounted"
        ) from None
    except PermissionError:
        raise PrivilegeError(f"cannot read {path}", hint="run as root") from None
