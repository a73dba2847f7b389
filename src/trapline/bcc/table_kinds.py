"""Tables of particular kinds: arrays, per-CPU tables, programs, cgroups, stacks, queues."""

from __future__ import annotations

import ctypes as ct
import os
from collections.abc import Callable, Iterator
from functools import reduce

from trapline.bcc.ctypes_types import CType, decode_value
from trapline.bcc.failures import BccError
from trapline.bcc.table_base import TableBase
from trapline.bcc.utils import get_possible_cpus
from trapline.errors import KernelError
from trapline.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trapline.bcc.handles import MapHandle

Reducer = Callable[[Any, Any], Any]


class HashTable(TableBase):
    """``BPF_HASH``."""


class LruHash(HashTable):
    """``BPF_TABLE("lru_hash", …)``."""


class ArrayBase(TableBase):
    """Tables whose keys are 0 to ``max_entries - 1``; negative indices count from the end."""

    def _index(self, key: Any) -> Any:
        if isinstance(key, int):
            key = self.Key(key + len(self) if key < 0 else key)
        if not isinstance(key, ct._SimpleCData):
            raise IndexError("Array index must be an integer type")
        if not 0 <= key.value < len(self):
            raise IndexError(f"Array index {key.value} is out of range: the table has {len(self)} elements")
        return key

    def __len__(self) -> int:
        return self.max_entries

    def __iter__(self) -> Iterator[Any]:
        return (self.Key(index) for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._index(key))

    def __setitem__(self, key: Any, leaf: Any) -> None:
        super().__setitem__(self._index(key), leaf)

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(self._index(key))


class Array(ArrayBase):
    """``BPF_ARRAY`` and ``BPF_HISTOGRAM`` with an int key: elements cannot be deleted, only zeroed."""

    def __delitem__(self, key: Any) -> None:
        self.clearitem(key)

    def items_delete_batch(self, ct_keys: Any = None) -> None:
        """Zero the given elements, or all."""
        for key in list(self) if ct_keys is None else ct_keys:
            self.clearitem(key)


class ProgArray(ArrayBase):
    """``BPF_PROG_ARRAY``: programs to tail-call; takes functions and file descriptors."""

    def __setitem__(self, key: Any, leaf: Any) -> None:
        super().__setitem__(key, self.Leaf(getattr(leaf, "fd", getattr(leaf, "value", leaf))))


class CgroupArray(ArrayBase):
    """``BPF_CGROUP_ARRAY``: takes paths of cgroups and file descriptors."""

    def __setitem__(self, key: Any, leaf: Any) -> None:
        if isinstance(leaf, (str, bytes)):
            fd = os.open(leaf, os.O_RDONLY | os.O_CLOEXEC)
            try:
                super().__setitem__(key, self.Leaf(fd))
            finally:
                os.close(fd)
        else:
            super().__setitem__(key, self.Leaf(getattr(leaf, "value", leaf)))


class FdArray(ArrayBase):
    """Arrays of numbers that the kernel takes for objects; takes whatever has an ``fd`` or a ``map_fd``, too."""

    def encode_leaf(self, leaf: Any) -> bytes:
        """Return a leaf's bytes."""
        return super().encode_leaf(_descriptor(leaf))

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            if self.handle.lookup(self.encode_key(key)) is not None:
                yield key


class DevMap(FdArray):
    """``BPF_DEVMAP``: numbers of network devices."""


class CpuMap(FdArray):
    """``BPF_CPUMAP``: sizes of the CPUs' queues."""


class XskMap(FdArray):
    """``BPF_XSKMAP``: descriptors of AF_XDP sockets."""


class MapInMapArray(FdArray):
    """``BPF_ARRAY_OF_MAPS``: takes descriptors of maps and tables."""


class MapInMapHash(HashTable):
    """``BPF_HASH_OF_MAPS``: takes descriptors of maps and tables."""

    def encode_leaf(self, leaf: Any) -> bytes:
        """Return a leaf's bytes."""
        return super().encode_leaf(_descriptor(leaf))


def _descriptor(leaf: Any) -> Any:
    return getattr(leaf, "map_fd", getattr(leaf, "fd", leaf))


class LpmTrie(TableBase):
    """``BPF_LPM_TRIE``."""


class _PerCpu(TableBase):
    """Tables with a leaf for each possible CPU: a ctypes array of them.

    Args:
        reducer: combines the CPUs' leaves into what indexing returns; the array itself without one.
    """

    def __init__(
        self, handle: MapHandle, key: CType, leaf: CType, name: str, *, reducer: Reducer | None = None
    ) -> None:
        self.total_cpu = len(get_possible_cpus())
        self.reducer = reducer
        self.sLeaf = leaf
        self._stride = (ct.sizeof(leaf) + 7) & ~7
        super().__init__(handle, key, leaf * self.total_cpu, name)

    def decode_leaf(self, data: bytes) -> Any:
        """Return the CPUs' leaves, of which the kernel aligns each to 8 bytes; reduced if there is a reducer."""
        leaves = self._decode_all(data)
        return reduce(self.reducer, leaves) if self.reducer else leaves

    def _decode_all(self, data: bytes) -> Any:
        size = ct.sizeof(self.sLeaf)
        parts = [data[i * self._stride : i * self._stride + size] for i in range(self.total_cpu)]
        return decode_value(self.Leaf, b"".join(parts))

    def encode_leaf(self, leaf: Any) -> bytes:
        """Return the bytes of all CPUs' leaves; a single leaf is stored on every CPU."""
        if not isinstance(leaf, (ct.Array, list, tuple)) or isinstance(leaf, self.sLeaf):
            leaf = [leaf] * self.total_cpu
        size = ct.sizeof(self.sLeaf)
        parts = []
        for part in leaf:
            data = bytes(part) if isinstance(part, (ct.Structure, ct.Union, ct.Array, ct._SimpleCData)) else None
            parts.append((bytes(self.sLeaf(part)) if data is None else data)[:size].ljust(self._stride, b"\0"))
        return b"".join(parts)

    def getvalue(self, key: Any) -> Any:
        """Return the array of the CPUs' leaves, whatever the reducer.

        Raises:
            KeyError: there is no such key.
        """
        data = self.handle.lookup(self.encode_key(key))
        if data is None:
            raise KeyError(key)
        return self._decode_all(data)

    def _numbers(self, key: Any) -> list[int]:
        if issubclass(self.sLeaf, (ct.Structure, ct.Union, ct.Array)):
            raise IndexError("sum, max and average need a table whose leaf is an integer; pass reducer= to get_table()")
        return list(self.getvalue(key))

    def sum(self, key: Any) -> Any:
        """Return the sum over the CPUs, as a leaf."""
        return self.sLeaf(sum(self._numbers(key)))

    def max(self, key: Any) -> Any:
        """Return the greatest of the CPUs' leaves, as a leaf."""
        return self.sLeaf(max(self._numbers(key)))

    def average(self, key: Any) -> float:
        """Return the sum over the CPUs divided by the number of possible CPUs."""
        return float(sum(self._numbers(key)) / self.total_cpu)


class PerCpuHash(_PerCpu, HashTable):
    """``BPF_PERCPU_HASH``."""


class LruPerCpuHash(PerCpuHash):
    """``BPF_TABLE("lru_percpu_hash", …)``."""


class PerCpuArray(_PerCpu, Array):
    """``BPF_PERCPU_ARRAY``."""


class StackWalker:
    """Iterates over the addresses of a stack, up to the first 0; see `StackTrace.walk`."""

    def __init__(self, stack: Any, build_ids: bool, resolve: Callable[[Any], Any] | None = None) -> None:
        self.stack = stack
        self.build_ids = build_ids
        self.resolve = resolve
        self.n = -1

    def __iter__(self) -> StackWalker:
        return self

    def __next__(self) -> Any:
        self.n += 1
        entries = self.stack.trace if self.build_ids else self.stack.ip
        if self.n >= len(entries):
            raise StopIteration
        entry = entries[self.n]
        if self.build_ids:
            if entry.status in (StackTrace.BPF_STACK_BUILD_ID_EMPTY, StackTrace.BPF_STACK_BUILD_ID_IP):
                raise StopIteration
        elif entry == 0:
            raise StopIteration
        return self.resolve(entry) if self.resolve else entry


class StackTrace(TableBase):
    """``BPF_STACK_TRACE``."""

    MAX_DEPTH = 127
    BPF_F_STACK_BUILD_ID = 1 << 5
    BPF_STACK_BUILD_ID_EMPTY = 0
    BPF_STACK_BUILD_ID_VALID = 1
    BPF_STACK_BUILD_ID_IP = 2

    def walk(self, stack_id: int, resolve: Callable[[Any], Any] | None = None) -> StackWalker:
        """Return an iterator over the addresses of a stack, innermost first.

        Args:
            stack_id: what ``get_stackid`` returned.
            resolve: maps an address to what is yielded for it.

        Raises:
            KeyError: there is no such stack (also for negative ids).
        """
        if stack_id < 0:
            raise KeyError(stack_id)
        return StackWalker(self[self.Key(stack_id)], bool(self.flags & self.BPF_F_STACK_BUILD_ID), resolve)

    def clear(self) -> None:
        """Do nothing, as in BCC: stacks may still be referred to."""


class QueueStack(TableBase):
    """``BPF_QUEUE`` and ``BPF_STACK``."""

    def push(self, leaf: Any, flags: int = 0) -> None:
        """Append a leaf; `flags` 2 (BPF_EXIST) drops the oldest when the table is full.

        Raises:
            BccError: the table is full.
        """
        try:
            self.handle.update(b"", self.encode_leaf(leaf), flags)
        except KernelError as error:
            raise BccError(f"Could not push to table: {error.message}") from error

    def pop(self, *_: Any) -> Any:
        """Take the next leaf out.

        Raises:
            KeyError: the table is empty.
        """
        data = self.handle.take(b"")
        if data is None:
            raise KeyError("the table is empty")
        return self.decode_leaf(data)

    def peek(self) -> Any:
        """Return the next leaf and leave it in.

        Raises:
            KeyError: the table is empty.
        """
        data = self.handle.lookup(b"")
        if data is None:
            raise KeyError("the table is empty")
        return self.decode_leaf(data)

    def itervalues(self) -> Iterator[Any]:
        """Take all leaves out, one after the other."""
        while True:
            try:
                yield self.pop()
            except KeyError:
                return

    def values(self) -> Any:
        """Take all leaves out and return them as a list."""
        return list(self.itervalues())

    def __iter__(self) -> Iterator[Any]:
        return self.itervalues()

    def __len__(self) -> int:
        raise TypeError("a queue or stack has no length: the kernel does not tell")
