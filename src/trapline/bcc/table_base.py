"""Tables: BPF maps as mappings from ctypes keys to ctypes leaves, with BCC's methods."""

from __future__ import annotations

import contextlib
import ctypes as ct
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence

from trapline.abi.bpf import MAP_TYPES
from trapline.bcc import histogram
from trapline.bcc.ctypes_types import CType, decode_value, encode_value, format_value, parse_value
from trapline.bcc.failures import BccError
from trapline.errors import KernelError
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle

SectionPrinter = Callable[[Any], Any]


class TableBase(MutableMapping[Any, Any]):
    """A table of any kind.

    Keys and leaves that it gives are new ctypes objects of `Key` and `Leaf`; those that it takes may be such objects,
    bytes, or what the type can be made from.

    Args:
        handle: the map.
        key, leaf: ctypes classes.
        name: its C name.
    """

    def __init__(self, handle: MapHandle, key: CType, leaf: CType, name: str) -> None:
        self.handle = handle
        self.Key = key
        self.Leaf = leaf
        self.map_fd = handle.fd
        self.max_entries = handle.max_entries
        self.flags = handle.flags
        self.ttype = MAP_TYPES.get(handle.type, 0)
        self._name = name

    # -- bytes

    def encode_key(self, key: Any) -> bytes:
        """Return a key's bytes."""
        return encode_value(self.Key, key, self.handle.key_size)

    def encode_leaf(self, leaf: Any) -> bytes:
        """Return a leaf's bytes."""
        return encode_value(self.Leaf, leaf, ct.sizeof(self.Leaf))

    def decode_leaf(self, data: bytes) -> Any:
        """Return the leaf in the bytes of an element."""
        return decode_value(self.Leaf, data)

    # -- one element

    def __getitem__(self, key: Any) -> Any:
        data = self.handle.lookup(self.encode_key(key))
        if data is None:
            raise KeyError(key)
        return self.decode_leaf(data)

    def __setitem__(self, key: Any, leaf: Any) -> None:
        try:
            self.handle.update(self.encode_key(key), self.encode_leaf(leaf))
        except KernelError as error:
            raise BccError(f"Could not update table: {error.message}", hint=error.hint) from error

    def __delitem__(self, key: Any) -> None:
        if not self.handle.delete(self.encode_key(key)):
            raise KeyError(key)

    def clearitem(self, key: Any) -> None:
        """Zero one element."""
        self[key] = self.Leaf()

    # -- all elements

    def next(self, key: Any) -> Any:
        """Return the key after `key`, the first one for ``None``.

        Raises:
            StopIteration: there is none.
        """
        found = self.handle.next_key(None if key is None else self.encode_key(key))
        if found is None:
            raise StopIteration
        return decode_value(self.Key, found)

    def _raw_keys(self) -> Iterator[bytes]:
        # A key that is deleted under the walk makes the kernel start again from the first one: stop at a repetition.
        seen: set[bytes] = set()
        key = self.handle.next_key(None)
        while key is not None and key not in seen:
            seen.add(key)
            yield key
            key = self.handle.next_key(key)

    def __iter__(self) -> Iterator[Any]:
        for key in self._raw_keys():
            yield decode_value(self.Key, key)

    def iter(self) -> Iterator[Any]:
        """Return an iterator over the keys."""
        return iter(self)

    def keys(self) -> Any:
        """Return an iterator over the keys."""
        return iter(self)

    def __len__(self) -> int:
        return sum(1 for _ in self._raw_keys())

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        """Yield (key, leaf) pairs; an element that disappears meanwhile is left out."""
        for key in self:
            with contextlib.suppress(KeyError):
                yield key, self[key]

    def itervalues(self) -> Iterator[Any]:
        """Yield leaves; an element that disappears meanwhile is left out."""
        for _, leaf in self.iteritems():
            yield leaf

    def items(self) -> Any:
        """Return a list of (key, leaf) pairs."""
        return list(self.iteritems())

    def values(self) -> Any:
        """Return a list of the leaves."""
        return list(self.itervalues())

    def clear(self) -> None:
        """Delete every element (zero it, in an array)."""
        for key in list(self):
            with contextlib.suppress(KeyError):
                del self[key]

    def zero(self) -> None:
        """Set every element to zero, keeping its key."""
        for key in list(self):
            self[key] = self.Leaf()

    # -- many at once

    def items_lookup_batch(self) -> Iterator[tuple[Any, Any]]:
        """Yield all elements, read with as few system calls as possible."""
        for key, data in self.handle.lookup_batch():
            yield decode_value(self.Key, key), self.decode_leaf(data)

    def items_lookup_and_delete_batch(self) -> Iterator[tuple[Any, Any]]:
        """Yield all elements and take them out of the table."""
        for key, data in self.handle.lookup_batch(delete=True):
            yield decode_value(self.Key, key), self.decode_leaf(data)

    def items_delete_batch(self, ct_keys: Iterable[Any] | None = None) -> None:
        """Delete the given keys, or every element."""
        keys = list(self._raw_keys()) if ct_keys is None else [self.encode_key(key) for key in ct_keys]
        if keys:
            self.handle.delete_batch(keys)

    def items_update_batch(self, ct_keys: Iterable[Any], ct_values: Iterable[Any]) -> None:
        """Set many elements: the n-th key gets the n-th value.

        Raises:
            ValueError: there are not as many keys as values.
        """
        keys = [self.encode_key(key) for key in ct_keys]
        values = [self.encode_leaf(value) for value in ct_values]
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys and {len(values)} values")
        if keys:
            self.handle.update_batch(list(zip(keys, values, strict=True)))

    # -- text

    def key_sprintf(self, key: Any) -> bytes:
        """Return a key as text (``0x1``, ``{ 0x1 [ 0x2 0x3 ] "text" }``)."""
        return format_value(decode_value(self.Key, self.encode_key(key)))

    def leaf_sprintf(self, leaf: Any) -> bytes:
        """Return a leaf as text."""
        return format_value(leaf if isinstance(leaf, self.Leaf) else self.Leaf(leaf))

    def key_scanf(self, key_str: bytes) -> Any:
        """Return the key that `key_sprintf` shows as `key_str`."""
        return parse_value(self.Key, key_str)

    def leaf_scanf(self, leaf_str: bytes) -> Any:
        """Return the leaf that `leaf_sprintf` shows as `leaf_str`."""
        return parse_value(self.Leaf, leaf_str)

    def get_fd(self) -> int:
        """Return the map's file descriptor."""
        return self.map_fd

    # -- histograms

    def _sections(self, slots: int, bucket_fn: SectionPrinter | None) -> dict[Any, list[int]]:
        """Return the counts of each section of a table with a struct key: (section, slot)."""
        names = [field[0] for field in self.Key._fields_ if not field[0].startswith("__pad_")]
        sections: dict[Any, list[int]] = {}
        for key, leaf in self.items():
            section = getattr(key, names[0])
            if bucket_fn:
                section = bucket_fn(section)
            section = _hashable(section)
            counts = sections.setdefault(section, [0] * slots)
            _count(counts, getattr(key, names[1]), leaf.value)
        return sections

    def _plain(self, slots: int) -> list[int]:
        counts = [0] * slots
        for key, leaf in self.items():
            _count(counts, key.value, leaf.value)
        return counts

    def _histograms(
        self,
        slots: int,
        bucket_fn: SectionPrinter | None,
        bucket_sort_fn: Callable[[list[Any]], Iterable[Any]] | None,
    ) -> Iterator[tuple[Any, bool, Sequence[int]]]:
        """Yield (section, whether there are sections, counts)."""
        if not issubclass(self.Key, ct.Structure):
            yield None, False, self._plain(slots)
            return
        sections = self._sections(slots, bucket_fn)
        order: Iterable[Any] = list(sections)
        if bucket_sort_fn:
            order = bucket_sort_fn(list(sections))
        for section in order:
            yield section, True, sections[section]

    def print_log2_hist(
        self,
        val_type: str = "value",
        section_header: str = "Bucket ptr",
        section_print_fn: SectionPrinter | None = None,
        bucket_fn: SectionPrinter | None = None,
        strip_leading_zero: bool | None = None,
        bucket_sort_fn: Callable[[list[Any]], Iterable[Any]] | None = None,
    ) -> None:
        """Print the table as log2 histograms.

        Args:
            val_type: heading of the value column.
            section_header: what a section's name is called, when the key is a struct (section, slot).
            section_print_fn: makes a section's name from its key field.
            bucket_fn: maps a section's key field to another one; equal results share a histogram.
            strip_leading_zero: leave out empty rows before the first used one.
            bucket_sort_fn: puts the list of sections in order.
        """
        for section, titled, counts in self._histograms(histogram.LOG2_SLOTS, bucket_fn, bucket_sort_fn):
            if titled:
                _print_section(section_header, section, section_print_fn)
            for line in histogram.format_log2_hist(counts, val_type, bool(strip_leading_zero)):
                print(line)

    def print_linear_hist(
        self,
        val_type: str = "value",
        section_header: str = "Bucket ptr",
        section_print_fn: SectionPrinter | None = None,
        bucket_fn: SectionPrinter | None = None,
        strip_leading_zero: bool | None = None,
        bucket_sort_fn: Callable[[list[Any]], Iterable[Any]] | None = None,
    ) -> None:
        """Print the table as linear histograms of the values 0 to 1024; the arguments are `print_log2_hist`'s."""
        for section, titled, counts in self._histograms(histogram.LINEAR_SLOTS, bucket_fn, bucket_sort_fn):
            if titled:
                _print_section(section_header, section, section_print_fn)
            for line in histogram.format_linear_hist(counts, val_type, bool(strip_leading_zero)):
                print(line)

    def print_json_hist(
        self,
        val_type: str = "value",
        section_header: str = "Bucket ptr",
        section_print_fn: SectionPrinter | None = None,
        bucket_fn: SectionPrinter | None = None,
        bucket_sort_fn: Callable[[list[Any]], Iterable[Any]] | None = None,
    ) -> None:
        """Print the table's log2 histograms as Python dictionaries; the arguments are `print_log2_hist`'s."""
        for section, titled, counts in self._histograms(histogram.LOG2_SLOTS, bucket_fn, bucket_sort_fn):
            title = (section_header, section_print_fn(section) if section_print_fn else section) if titled else None
            print(histogram.build_json_hist(counts, val_type, title))


def _hashable(section: Any) -> Any:
    """Return a section as something a dict can hold: a struct by its bytes stays itself, an array becomes a tuple."""
    if isinstance(section, ct.Array):
        return tuple(section)
    return section


def _count(counts: list[int], slot: Any, count: int) -> None:
    number = slot.value if isinstance(slot, ct._SimpleCData) else slot
    if not 0 <= number < len(counts):
        raise IndexError(f"histogram index {number} is outside of 0 to {len(counts) - 1}")
    counts[number] = count


def _print_section(header: str, section: Any, section_print_fn: SectionPrinter | None) -> None:
    if section_print_fn:
        print(f"\n{header} = {section_print_fn(section)}")
    else:
        print(f"\n{header} = {section!r}")
