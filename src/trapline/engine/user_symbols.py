"""Symbols for a run: which kinds a program shows, and those of user programs, as its settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from trapline.hints import TYPE_CHECKING
from trapline.ir.values import KsymV, StackV, UsymV
from trapline.runtime.symbols import FileSymbol, SourcePlace, UserSymbols

if TYPE_CHECKING:
    from trapline.ir.spec import ObjectSpec
    from trapline.ir.target import UserFiles
    from trapline.runtime.past_mappings import PastMappings


def shows_user_symbols(spec: ObjectSpec) -> bool:
    """Return whether a program shows addresses of processes as symbols: in an event, a key or a value."""
    roots = [*spec.events, *((m.key, m.value) for m in spec.maps)]
    return any(isinstance(item, UsymV) or (isinstance(item, StackV) and not item.kernel) for item in _parts(roots))


def prints_kernel_symbols(spec: ObjectSpec) -> bool:
    """Return whether a program shows addresses of the kernel as symbols while it runs."""
    return any(isinstance(item, KsymV) or (isinstance(item, StackV) and item.kernel) for item in _parts(spec.events))


def _parts(roots: Iterable[object]) -> Iterator[object]:
    """Yield records and all that they are made of."""
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, (tuple, list)):
            waiting += item
        elif hasattr(item, "__record__"):
            waiting += vars(item).values()  # asking for the fields would load dataclasses


def read_file_functions(files: UserFiles, path: str) -> Sequence[FileSymbol]:
    """Return the functions of an ELF file and of its debug file; of several names of one the best known comes first."""
    binary = files.open(path)
    if binary is None:
        return ()
    # The one with the fewest underscores is what people call it.
    found = [(f.offset, binary.extent(f), f.name) for f in binary.functions]
    return sorted(found, key=lambda row: (len(row[2]) - len(row[2].lstrip("_")), row[2]))


def make_user_symbols(
    files: Callable[[], UserFiles], config: Mapping[str, str | int | bool], past: PastMappings | None = None
) -> UserSymbols:
    """Return what finds the symbols of processes.

    Args:
        files: gives what opens executables; called only when there is an address to resolve.
        config: the run's settings: ``cache_user_symbols``, ``cpp_demangle``, ``show_debug_info``.
        past: knows what ended processes had mapped.
    """

    def read(path: str) -> Sequence[FileSymbol]:
        return read_file_functions(files(), path)

    def places(path: str, offset: int) -> Sequence[SourcePlace]:
        binary = files().open(path)
        address = binary.address_of(offset) if binary is not None else None
        if binary is None or address is None or binary.places is None:
            return ()
        return binary.places.find(address)

    return UserSymbols(
        read,
        keep=config.get("cache_user_symbols") not in ("NONE", "0"),
        demangle=(lambda name: files().demangle(name)) if config.get("cpp_demangle", True) else None,
        past=past,
        find_places=places if config.get("show_debug_info", True) else None,
    )
