"""Symbols of user programs for a run: as its settings say, from the files of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trapline.runtime.symbols import FileSymbol, SourcePlace, UserSymbols

if TYPE_CHECKING:
    from trapline.ir.target import UserFiles


def make_user_symbols(files: UserFiles, config: Mapping[str, str | int | bool]) -> UserSymbols:
    """Return what finds the symbols of processes.

    Args:
        files: opens executables.
        config: the run's settings: ``cache_user_symbols``, ``cpp_demangle``, ``show_debug_info``.
    """

    def read(path: str) -> Sequence[FileSymbol]:
        binary = files.open(path)
        if binary is None:
            return ()
        # Of several names of one function the one with the fewest underscores is what people call it.
        found = [(f.offset, f.size, f.name) for f in binary.functions]
        return sorted(found, key=lambda row: (len(row[2]) - len(row[2].lstrip("_")), row[2]))

    def places(path: str, offset: int) -> Sequence[SourcePlace]:
        binary = files.open(path)
        address = binary.address_of(offset) if binary is not None else None
        if binary is None or address is None or binary.places is None:
            return ()
        return binary.places.find(address)

    return UserSymbols(
        read,
        keep=config.get("cache_user_symbols") not in ("NONE", "0"),
        demangle=files.demangle if config.get("cpp_demangle", True) else None,
        find_places=places if config.get("show_debug_info", True) else None,
    )
