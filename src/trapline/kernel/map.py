"""BPF maps: create, look up, update, iterate, empty."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from trapline.abi import bpf as abi
from trapline.errors import ClosedError, FeatureMissingError, KernelError, MapError, PrivilegeError
from trapline.ir.spec import MapSpec
from trapline.kernel.storage_types import STORAGE_TYPES, load_storage_types
from trapline.records import replace
from trapline.syscall import bpf
from trapline.syscall.fd import Fd
from trapline.syscall.machine import online_cpus, possible_cpus
from trapline.syscall.privilege import missing_capabilities
from trapline.syscall.ringbuf import RingBuffer

PER_CPU_TYPES = frozenset({"PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH", "PERCPU_CGROUP_STORAGE"})
_ARRAYS = frozenset({"ARRAY", "PERCPU_ARRAY"})
_HASHES = frozenset({"HASH", "PERCPU_HASH", "LRU_HASH", "LRU_PERCPU_HASH"})
_KEYLESS = frozenset({"RINGBUF", "QUEUE", "STACK", "BLOOM_FILTER", "USER_RINGBUF"})
_BATCH = 1024
_SPARSE_RETRIES = 3


class Map:
    """A BPF map in the kernel; closes its descriptor with `close`.

    Keys and values are bytes.  A per-CPU map's value is one part for each possible CPU, each padded to 8 bytes;
    `parts` splits it.

    Args:
        spec: what it was made from.
        fd: its descriptor, owned from here on.
    """

    def __init__(self, spec: MapSpec, fd: Fd) -> None:
        self.spec = spec
        self.name = spec.name
        self.fd = fd
        self.per_cpu = spec.type in PER_CPU_TYPES
        self.slot_size = (spec.value_size + 7) & ~7 if self.per_cpu else spec.value_size
        self.read_size = self.slot_size * len(possible_cpus()) if self.per_cpu else spec.value_size
        self._inner: Map | None = None

    @classmethod
    def create(cls, spec: MapSpec) -> Map:
        """Create the map that `spec` describes; write and freeze its initial contents.

        Raises:
            MapError: the kernel refused; the message says for what limit.
            PrivilegeError: the process lacks CAP_BPF.
            FeatureMissingError: the kernel has no such map type.
        """
        number = abi.MAP_TYPES.get(spec.type)
        if number is None:
            raise ValueError(f"unknown map type {spec.type!r}")
        spec = _complete(spec)
        inner = cls.create(spec.inner) if spec.inner is not None else None
        types = load_storage_types(spec) if spec.type in STORAGE_TYPES else None
        try:
            fd = bpf.create_map(
                number,
                spec.key_size,
                spec.value_size,
                spec.max_entries,
                spec.flags,
                spec.name.lstrip("@."),
                inner.fileno() if inner is not None else -1,
                None if types is None else (types[0].fileno(), types[1], types[2]),
            )
        except KernelError as error:
            if inner is not None:
                inner.close()
            raise _explain_creation(spec, error.errno) from None
        finally:
            if types is not None:
                types[0].close()
        result = cls(spec, fd)
        result._inner = inner
        try:
            if spec.initial:
                value = spec.initial.ljust(spec.value_size, b"\0")
                bpf.update_elem(fd.fileno(), bytes(4), value)
            if spec.frozen:
                bpf.freeze_map(fd.fileno())
        except KernelError as error:
            result.close()
            raise MapError(f"cannot fill map {spec.name}: {error.message}", errno=error.errno) from None
        return result

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.fd.fileno()

    # ---- single elements

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of `key` (all CPUs' parts for a per-CPU map), or ``None`` when it is not in the map."""
        self._check_key(key)
        with _mapped_errors(self.name):
            return bpf.lookup_elem(self.fileno(), key, self.read_size)

    def lookup_parts(self, key: bytes) -> list[bytes] | None:
        """Return the value of `key` on each possible CPU; ``None`` when it is not in the map."""
        value = self.lookup(key)
        return None if value is None else self.parts(value)

    def parts(self, value: bytes) -> list[bytes]:
        """Split a per-CPU value as `lookup` and `items` return it; other maps have one part."""
        if not self.per_cpu:
            return [value]
        size, slot = self.spec.value_size, self.slot_size
        return [value[i : i + size] for i in range(0, len(value), slot)]

    def update(self, key: bytes, value: bytes, flags: int = abi.BPF_ANY) -> None:
        """Set the value of `key`.

        Args:
            key: ``key_size`` bytes.
            value: ``value_size`` bytes; for a per-CPU map all parts (``read_size`` bytes), or one that every CPU gets.
            flags: ``BPF_ANY``, ``BPF_NOEXIST`` or ``BPF_EXIST``.

        Raises:
            MapError: the map is full (E2BIG), or the flags do not fit (EEXIST, ENOENT).
        """
        self._check_key(key)
        if self.per_cpu and len(value) == self.spec.value_size != self.read_size:
            value = value.ljust(self.slot_size, b"\0") * len(possible_cpus())
        if len(value) != self.read_size:
            raise ValueError(f"map {self.name} has values of {self.read_size} bytes, not {len(value)}")
        with _mapped_errors(self.name):
            bpf.update_elem(self.fileno(), key, value, flags)

    def delete(self, key: bytes) -> bool:
        """Delete `key`; return whether it was there."""
        self._check_key(key)
        with _mapped_errors(self.name):
            return bpf.delete_elem(self.fileno(), key)

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.spec.key_size:
            raise ValueError(f"map {self.name} has keys of {self.spec.key_size} bytes, not {len(key)}")

    # ---- all elements

    def keys(self) -> Iterator[bytes]:
        """Yield the keys.

        Keys that are added or deleted meanwhile may be missed or seen; the walk ends even while programs delete keys.
        """
        fd, size = self.fileno(), self.spec.key_size
        with _mapped_errors(self.name):
            key = bpf.get_next_key(fd, None, size)
        # A key that was deleted under us makes the kernel start over: what was seen is not yielded again.
        seen: set[bytes] = set()
        budget = 4 * self.spec.max_entries + 16
        while key is not None and budget:
            budget -= 1
            if key not in seen:
                seen.add(key)
                yield key
            with _mapped_errors(self.name):
                key = bpf.get_next_key(fd, key, size)

    def packed(self) -> tuple[int, bytes, bytes] | None:
        """Return how many elements there are, their keys, and their values, one behind the other.

        Returns:
            A snapshot; elements that change while it is taken appear in one of their states.  ``None`` when the kernel
            gives no batches of this map.
        """
        return self._batched(abi.BPF_MAP_LOOKUP_BATCH)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, value) pairs, in batches where the kernel can: a snapshot, as `packed`."""
        found = self.packed()
        if found is not None:
            return unpack(found)
        pairs = ((key, self.lookup(key)) for key in list(self.keys()))
        return [(key, value) for key, value in pairs if value is not None]

    def take_items(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, value) pairs and remove them, each atomically where the kernel can.

        An array's elements cannot be removed: they are read and set to zero.
        """
        if self.spec.type in _ARRAYS:
            pairs = self.items()
            self.zero()
            return pairs
        found = self._batched(abi.BPF_MAP_LOOKUP_AND_DELETE_BATCH)
        if found is not None:
            return unpack(found)
        taken = []
        for key in list(self.keys()):
            value = self.lookup(key)
            if value is not None and self.delete(key):
                taken.append((key, value))
        return taken

    def clear(self) -> None:
        """Delete all elements; an array's are set to zero."""
        if self.spec.type in _ARRAYS:
            self.zero()
        elif self._batched(abi.BPF_MAP_LOOKUP_AND_DELETE_BATCH) is None:
            for key in list(self.keys()):
                self.delete(key)

    def zero(self) -> None:
        """Set the value of every key to zero bytes; the keys stay."""
        value = bytes(self.read_size)
        for key in list(self.keys()):
            try:
                self.update(key, value, abi.BPF_ANY if self.spec.type in _ARRAYS else abi.BPF_EXIST)
            except MapError as error:
                if error.errno != errno.ENOENT:  # deleted meanwhile
                    raise

    def __len__(self) -> int:
        """How many elements there are (an array always has all of them)."""
        return self.spec.max_entries if self.spec.type in _ARRAYS else sum(1 for _ in self.keys())

    def _batched(self, command: int) -> tuple[int, bytes, bytes] | None:
        """Walk the map by batches; ``None`` when this map or kernel cannot."""
        if self.spec.type not in _HASHES and (
            self.spec.type not in _ARRAYS or command == abi.BPF_MAP_LOOKUP_AND_DELETE_BATCH
        ):
            return None
        key_size, value_size = self.spec.key_size, self.read_size
        count = max(1, min(_BATCH, self.spec.max_entries))
        token: ctypes.Array[ctypes.c_char] | None = None
        total = 0
        all_keys, all_values = bytearray(), bytearray()
        while True:
            keys = ctypes.create_string_buffer(count * key_size)
            values = ctypes.create_string_buffer(count * value_size)
            following = ctypes.create_string_buffer(max(key_size, 8))
            result, handled = bpf.batch(command, self.fileno(), token, following, keys, values, count)
            if result == -errno.ENOSPC and handled == 0 and count < 2 * self.spec.max_entries + _BATCH:
                count *= 2  # one bucket alone holds more than the buffer
                continue
            if result not in (0, -errno.ENOENT):
                if token is None and not total:
                    return None
                raise MapError(f"cannot read map {self.name}: {os.strerror(-result)}", errno=-result)
            total += handled
            all_keys += memoryview(keys)[: handled * key_size]
            all_values += memoryview(values)[: handled * value_size]
            if result == -errno.ENOENT:
                return total, bytes(all_keys), bytes(all_values)
            token = following

    # ---- particular kinds

    def freeze(self) -> None:
        """Forbid changes by system calls from now on."""
        with _mapped_errors(self.name):
            bpf.freeze_map(self.fileno())

    def push(self, value: bytes) -> None:
        """Append to a queue or stack."""
        with _mapped_errors(self.name):
            bpf.update_elem(self.fileno(), b"", value)

    def pop(self) -> bytes | None:
        """Take the next value of a queue or stack; ``None`` when it is empty."""
        with _mapped_errors(self.name):
            return bpf.lookup_and_delete_elem(self.fileno(), b"", self.spec.value_size)

    def open_ring(self) -> RingBuffer:
        """Map a RINGBUF for reading; the caller closes it."""
        if self.spec.type != "RINGBUF":
            raise ValueError(f"map {self.name} is no ring buffer")
        return RingBuffer(self.fileno(), self.spec.max_entries)

    def close(self) -> None:
        """Close its descriptor; closing twice is allowed.  Programs that use the map keep it."""
        self.fd.close()
        if self._inner is not None:
            self._inner.close()

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Map {self.name} {self.spec.type}{' closed' if self.fd.closed else ''}>"


def unpack(packed: tuple[int, bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the (key, value) pairs of what `Map.packed` returned."""
    count, keys, values = packed
    return list(zip(_slices(keys, count), _slices(values, count), strict=True))


def _slices(data: bytes, count: int) -> list[bytes]:
    """Return `count` pieces of the same size."""
    return [piece for (piece,) in struct.iter_unpack(f"{len(data) // count}s", data)] if count else []


class _mapped_errors:
    """Turns a failed call into a `MapError` that names the map."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClosedError):
            raise ClosedError(f"map {self._name} is closed") from None
        if isinstance(error, KernelError) and not isinstance(error, MapError):
            hint = "the map is full; raise its max_entries" if error.errno == errno.E2BIG else None
            raise MapError(f"map {self._name}: {error.message}", errno=error.errno, hint=hint) from None


def _complete(spec: MapSpec) -> MapSpec:
    """Fill in what depends on the machine."""
    if spec.type == "PERF_EVENT_ARRAY" and not spec.max_entries:
        spec = replace(spec, max_entries=max(*possible_cpus(), *online_cpus(), 0) + 1)
    return spec


def _explain_creation(spec: MapSpec, number: int) -> Exception:
    if number in (errno.EPERM, errno.EACCES):
        missing = missing_capabilities("CAP_BPF")
        if missing:
            return PrivilegeError(
                "creating BPF maps needs CAP_BPF", hint="run as root, or with CAP_BPF and CAP_PERFMON"
            )
        return PrivilegeError(
            f"the kernel does not let this process create BPF maps ({spec.name})",
            hint="RLIMIT_MEMLOCK may be exhausted (kernels before 5.11), or a security module forbids it",
        )
    if number in (errno.E2BIG, errno.ENOMEM):
        size = spec.max_entries * (spec.key_size + spec.value_size)
        return MapError(
            f"map {spec.name} is too large: {spec.max_entries} entries of {spec.key_size}+{spec.value_size} bytes"
            f" ({size >> 20} MB)",
            errno=number,
            hint="lower its max_entries",
        )
    if number == errno.EINVAL and spec.type == "RINGBUF":
        size = spec.max_entries
        if size & (size - 1) or size % os.sysconf("SC_PAGE_SIZE"):
            return MapError(
                f"ring buffer {spec.name} has {size} bytes: it must be a power of two and a multiple of the page size",
                errno=number,
            )
        return FeatureMissingError("this kernel has no BPF ring buffer", hint="needs Linux 5.8 or newer")
    return MapError(f"cannot create map {spec.name} ({spec.type}): {os.strerror(number)}", errno=number)
