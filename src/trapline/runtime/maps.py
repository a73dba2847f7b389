"""Maps as the runtime needs them: reading and printing them, and Python's view of one as a mapping."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView

from trapline.hints import Any, Protocol
from trapline.ir.spec import MapSpec
from trapline.ir.values import AGGREGATES, BUCKETED
from trapline.kernel.map import unpack
from trapline.runtime.aggregate import is_per_cpu, make_merge, make_reader, top_and_divide
from trapline.runtime.encode import make_encoder
from trapline.runtime.objects import Namer
from trapline.runtime.output.protocol import Output

_MANY = 1000  # elements from which on native code shows them


class RawMap(Protocol):
    """A map in the kernel; `trapline.kernel.map.Map` is the real one.

    Keys and values are bytes; a per-CPU map's value is a part for each possible CPU, padded to 8 bytes.
    """

    @property
    def spec(self) -> MapSpec:
        """What it was made from."""

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, value) pairs."""

    def packed(self) -> tuple[int, bytes, bytes] | None:
        """Return how many elements there are, their keys, and their values; ``None`` where only `items` can."""

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or ``None``."""

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of `key`."""

    def delete(self, key: bytes) -> bool:
        """Delete `key`; return whether it was there."""

    def clear(self) -> None:
        """Delete all elements."""

    def zero(self) -> None:
        """Set every value to zero bytes."""


class MapReader:
    """Reads a map in the order that bpftrace prints it.

    Args:
        raw: the map; its spec has a value layout.
        namer: gives names to addresses, user ids, probes.
    """

    def __init__(self, raw: RawMap, namer: Namer) -> None:
        self.raw = raw
        self.spec = raw.spec
        self._namer = namer
        self._read = make_reader(raw.spec, namer)

    def read(self, top: int = 0, div: int = 0) -> list[tuple[Any, Any]]:
        """Return the decoded (key, value) pairs, for ``print(@m, top, div)``."""
        return top_and_divide(self._read(self.raw.items()), self.spec.value, top, div)

    def read_shown(self, top: int = 0, div: int = 0) -> list[tuple[Any, Any]]:
        """Return what ``print(@m)`` shows: as `read`, but a scalar map that was never set has the value 0."""
        found = self.read(top, div)
        if found or not self.spec.scalar or isinstance(self.spec.value, BUCKETED):
            return found
        return self._read([(bytes(self.spec.key_size), bytes(self.spec.value_size + 7 & ~7))])

    def show(self, output: Output, top: int = 0, div: int = 0, *, unset: bool = True) -> None:
        """Write what ``print(@m, top, div)`` shows.

        Args:
            output: takes it.
            top, div: as `read`.
            unset: also write a scalar map that was never set, as 0.
        """
        packed = None if self.spec.scalar or div > 1 else self.raw.packed()
        if packed is None:
            items = self.read_shown(top, div) if unset else self.read(top, div)
        elif packed[0] >= _MANY and self._show_natively(packed, output, top):
            return
        else:
            items = top_and_divide(self._read(unpack(packed)), self.spec.value, top, div)
        if items or unset:
            output.map(self.spec, items)

    def _show_natively(self, packed: tuple[int, bytes, bytes], output: Output, top: int) -> bool:
        """Write elements by native code; return ``False``, with nothing written, where it cannot."""
        if output.framing is None or output.framing.json:
            return False
        from trapline.runtime.native.elements import element_texts, make_element_plan, open_printer

        plan = make_element_plan(self.spec, output.trailer, self._namer)
        printer = None if plan is None else open_printer()
        if plan is None or printer is None:
            return False
        try:
            for text in element_texts(printer, plan, packed, top):
                output.framed(text)
        finally:
            printer.close()
        return True


class _Items(ItemsView[Any, Any]):
    """The pairs of a `MapView`, read together: the program goes on changing the map."""

    _mapping: MapView

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self._mapping.items_sorted())


class _Values(ValuesView[Any]):
    """The values of a `MapView`, read together."""

    _mapping: MapView

    def __iter__(self) -> Iterator[Any]:
        return iter([value for _, value in self._mapping.items_sorted()])


class MapView(Mapping[Any, Any]):
    """A program's map with Python keys and values.

    Every access reads the kernel's map.  A map of several keys takes tuples; a scalar map has the one key ``None`` and
    its value is in `value`.

    Args:
        raw: the map; its spec has layouts.
        namer: gives names to addresses, user ids, probes.
    """

    def __init__(self, raw: RawMap, namer: Namer) -> None:
        self._raw = raw
        self._namer = namer
        self._reader = MapReader(raw, namer)
        spec = raw.spec
        self.spec = spec
        self._histogram = isinstance(spec.value, BUCKETED)
        self._merge: Callable[[bytes], Any] | None = None

    @property
    def name(self) -> str:
        """The name in the program's text."""
        return self.spec.name

    @property
    def value(self) -> Any:
        """The value of a scalar map; ``None`` when the program never set it."""
        items = self._reader.read()
        return items[0][1] if items else None

    def items_sorted(self, top: int = 0, div: int = 0) -> list[tuple[Any, Any]]:
        """Return all (key, value) pairs in the order that bpftrace prints them."""
        return self._reader.read(top, div)

    def __getitem__(self, key: Any) -> Any:
        try:
            # A histogram's buckets are elements of their own.
            encoded = None if self._histogram else self._encode_key(key)
        except TypeError:
            encoded = None  # a name that only decoding gives (a probe's, a user's): look for it
        if encoded is None:
            for found, value in self._reader.read():
                if found == key:
                    return value
            raise KeyError(key)
        value = self._raw.lookup(encoded)
        if value is None:
            raise KeyError(key)
        if self._merge is None:
            assert self.spec.value is not None
            self._merge = make_merge(self.spec.value, self._namer, per_cpu=is_per_cpu(self.spec))
        return self._merge(value)

    def __iter__(self) -> Iterator[Any]:
        return iter([key for key, _ in self._reader.read()])

    def __len__(self) -> int:
        return len(self._reader.read())

    def items(self) -> ItemsView[Any, Any]:
        """Return the (key, value) pairs; iterating reads the map once."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return the values; iterating reads the map once."""
        return _Values(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.spec.value is None or isinstance(self.spec.value, AGGREGATES):
            raise TypeError(f"the values of {self.name} are written by the program only")
        self._raw.update(self._encode_key(key), make_encoder(self.spec.value)(value))

    def __delitem__(self, key: Any) -> None:
        if self._histogram:
            raise TypeError(f"single elements of {self.name} cannot be deleted")
        if not self._raw.delete(self._encode_key(key)):
            raise KeyError(key)

    def clear(self) -> None:
        """Delete all elements."""
        self._raw.clear()

    def zero(self) -> None:
        """Set all values to zero; the keys stay."""
        self._raw.zero()

    def __repr__(self) -> str:
        return f"<MapView {self.name}>"

    def _encode_key(self, key: Any) -> bytes:
        if self.spec.scalar or self.spec.key is None:
            if key is not None:
                raise KeyError(key)
            return bytes(self.spec.key_size)
        return make_encoder(self.spec.key)(key).ljust(self.spec.key_size, b"\0")
