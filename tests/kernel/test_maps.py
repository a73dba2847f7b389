"""Maps: elements, batches, per-CPU values, freezing, and errors that name the map."""

from __future__ import annotations

import struct

import pytest

from trapline.errors import ClosedError, MapError
from trapline.ir.spec import MapSpec
from trapline.kernel.map import Map
from trapline.syscall.machine import possible_cpus


def _key(number: int) -> bytes:
    return struct.pack("<I", number)


@pytest.mark.parametrize("type", ["HASH", "LRU_HASH", "ARRAY", "PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH"])
def test_elements(type: str) -> None:
    with Map.create(MapSpec("@x", type, 4, 8, 10)) as m:
        array = "ARRAY" in type
        assert (m.lookup(_key(1)) is None) == (not array)
        m.update(_key(1), b"12345678")
        parts = m.lookup_parts(_key(1))
        assert parts == [b"12345678"] * (len(possible_cpus()) if m.per_cpu else 1)
        if array:
            assert len(m.items()) == len(m) == 10
        else:
            assert [k for k, _ in m.items()] == [_key(1)] and list(m.keys()) == [_key(1)]
            assert m.delete(_key(1)) and not m.delete(_key(1))
            assert m.items() == []


@pytest.mark.parametrize("type", ["HASH", "PERCPU_HASH", "LRU_HASH"])
@pytest.mark.parametrize("count", [0, 1, 1024, 5000])
def test_a_batch_walk_sees_every_element(type: str, count: int) -> None:
    with Map.create(MapSpec("@x", type, 4, 4, 20000)) as m:
        for number in range(count):
            m.update(_key(number), struct.pack("<I", number * 3))
        found = m.items()
        assert sorted(struct.unpack("<I", k)[0] for k, _ in found) == list(range(count))
        for key, value in found:
            assert all(struct.unpack("<I", p)[0] == struct.unpack("<I", key)[0] * 3 for p in m.parts(value))
        assert sorted(m.keys()) == sorted(k for k, _ in found)
        assert sorted(m.take_items()) == sorted(found)
        assert m.items() == []


def test_walks_without_batches_agree() -> None:
    with Map.create(MapSpec("lpm", "LPM_TRIE", 8, 4, 100, flags=1)) as m:
        for number in range(20):
            m.update(struct.pack("<II", 32, number), struct.pack("<I", number))
        assert sorted(struct.unpack("<I", v)[0] for _, v in m.items()) == list(range(20))
        assert len(m.take_items()) == 20 and m.items() == []


def test_zero_keeps_keys_and_clear_removes_them() -> None:
    with Map.create(MapSpec("@x", "PERCPU_HASH", 4, 8, 10)) as m:
        m.update(_key(1), b"12345678")
        m.zero()
        assert m.lookup_parts(_key(1)) == [bytes(8)] * len(possible_cpus())
        m.clear()
        assert len(m) == 0
    with Map.create(MapSpec("a", "ARRAY", 4, 8, 3)) as m:
        m.update(_key(1), b"12345678")
        assert m.take_items()[1] == (_key(1), b"12345678")
        assert m.lookup(_key(1)) == bytes(8)


def test_values_of_one_cpu_each() -> None:
    with Map.create(MapSpec("@x", "PERCPU_ARRAY", 4, 4, 1)) as m:
        cpus = len(possible_cpus())
        m.update(_key(0), b"".join(struct.pack("<II", cpu, 0) for cpu in range(cpus)))
        assert m.lookup_parts(_key(0)) == [struct.pack("<I", cpu) for cpu in range(cpus)]


def test_initial_contents_are_written_and_frozen() -> None:
    spec = MapSpec(".rodata", "ARRAY", 4, 16, 1, flags=1 << 7, initial=b"constant", frozen=True)
    with Map.create(spec) as m:
        assert m.lookup(_key(0)) == b"constant".ljust(16, b"\0")
        with pytest.raises(MapError, match=r"\.rodata"):
            m.update(_key(0), bytes(16))


def test_queues_and_maps_of_maps() -> None:
    with Map.create(MapSpec("q", "QUEUE", 0, 4, 2)) as m:
        assert m.pop() is None
        m.push(b"aaaa")
        m.push(b"bbbb")
        assert (m.pop(), m.pop(), m.pop()) == (b"aaaa", b"bbbb", None)
    inner = MapSpec("inner", "ARRAY", 4, 4, 1)
    with Map.create(inner) as one, Map.create(MapSpec("outer", "HASH_OF_MAPS", 4, 4, 2, inner=inner)) as outer:
        outer.update(_key(1), struct.pack("<I", one.fileno()))
        assert outer.lookup(_key(1)) is not None


def test_a_perf_event_array_gets_an_entry_per_cpu() -> None:
    with Map.create(MapSpec("events", "PERF_EVENT_ARRAY", 4, 4, 0)) as m:
        assert m.spec.max_entries >= len(possible_cpus())


def test_errors_name_the_map_and_what_to_do() -> None:
    with Map.create(MapSpec("@full", "HASH", 4, 4, 1)) as m:
        m.update(_key(1), b"aaaa")
        with pytest.raises(MapError, match="@full") as caught:
            m.update(_key(2), b"bbbb")
        assert caught.value.errno == 7 and "max_entries" in (caught.value.hint or "")
        with pytest.raises(ValueError, match="keys of 4 bytes"):
            m.lookup(b"x")
        with pytest.raises(ValueError, match="values of 4 bytes"):
            m.update(_key(1), b"x")
    with pytest.raises(ClosedError, match="@full"):
        m.lookup(_key(1))
    with pytest.raises(MapError, match="power of two"):
        Map.create(MapSpec("r", "RINGBUF", 0, 0, 5000))
    with pytest.raises(MapError, match="too large"):
        Map.create(MapSpec("@huge", "ARRAY", 4, 1 << 16, 0x7FFFFFFF))
    with pytest.raises(ValueError, match="unknown map type"):
        Map.create(MapSpec("x", "NOTHING", 4, 4, 1))
