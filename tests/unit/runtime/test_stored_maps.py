"""Maps that the kernel holds in another shape are read and written as the text has them."""

from __future__ import annotations

from tests.unit.runtime.fakes import FakeMap

from trapline.ir import values as v
from trapline.ir.spec import MapSpec
from trapline.runtime.stored_maps import BucketArray, ScalarArray, SplitMap, as_written


def word(number: int) -> bytes:
    return number.to_bytes(8, "little")


def scalar(kind: str, value: v.Value, element: bytes) -> FakeMap:
    return FakeMap(
        MapSpec("@x", kind, 4, value.size + 8, 1, key=v.IntV(8), value=value, scalar=True), [(bytes(4), element)]
    )


def test_a_scalar_is_an_element_once_it_was_set() -> None:
    raw = scalar("ARRAY", v.IntV(8), bytes(16))
    found = as_written({"@x": raw})["@x"]
    assert isinstance(found, ScalarArray) and found.items() == [] and found.lookup(word(0)) is None
    assert (found.spec.type, found.spec.key_size, found.spec.value_size) == ("HASH", 8, 8)
    found.zero()
    assert found.items() == []
    raw.data[bytes(4)] = word(0) + word(1)
    assert found.items() == [(word(0), word(0))]
    found.update(word(0), word(7))
    assert found.items() == [(word(0), word(7))] and raw.data[bytes(4)] == word(7) + word(1)
    found.zero()
    assert found.items() == [(word(0), word(0))]
    assert found.delete(word(0)) and not found.delete(word(0)) and found.items() == []


def test_a_scalar_of_each_cpu_is_set_when_one_part_is() -> None:
    raw = scalar("PERCPU_ARRAY", v.CountV(), word(0) + word(0) + word(5) + word(1))
    found = as_written({"@x": raw})["@x"]
    assert found.spec.type == "PERCPU_HASH" and found.items() == [(word(0), word(0) + word(5))]
    found.zero()
    assert found.items() == [(word(0), word(0) + word(0))]
    found.clear()
    assert found.items() == []


def test_only_buckets_that_count_are_elements() -> None:
    spec = MapSpec("@h", "PERCPU_ARRAY", 4, 8, 3, key=v.IntV(8), value=v.HistV(), scalar=True)
    keys = [number.to_bytes(4, "little") for number in range(3)]
    raw = FakeMap(spec, [(key, bytes(16)) for key in keys])
    found = as_written({"@h": raw})["@h"]
    assert isinstance(found, BucketArray) and found.items() == []
    found.zero()
    assert found.items() == []  # there was no histogram
    raw.data[keys[1]] = word(0) + word(4)
    assert found.items() == [(keys[1], word(0) + word(4))] and found.lookup(keys[0]) is None
    found.zero()
    assert found.items() == [(keys[0], bytes(16))]  # an empty one
    found.clear()
    assert found.items() == []


def test_a_split_map_is_one() -> None:
    spec = MapSpec("@s", "HASH", 200, 8, 10, key=v.StrV(200), value=v.IntV(8), short=".short@s")
    halves = {"@s": FakeMap(spec), ".short@s": FakeMap(MapSpec(".short@s", "HASH", 64, 8, 10))}
    found = as_written(halves)
    assert list(found) == ["@s"] and isinstance(found["@s"], SplitMap)
    one = found["@s"]
    short, long = b"a".ljust(200, b"\0"), b"b" * 199 + b"\0"
    for key in (short, long):
        one.update(key, word(3))
    assert halves["@s"].data == {long: word(3)} and halves[".short@s"].data == {short[:64]: word(3)}
    assert sorted(one.items()) == [(short, word(3)), (long, word(3))]
    one.zero()
    assert one.lookup(short) == one.lookup(long) == word(0)
    assert one.delete(short) and not one.delete(short) and one.items() == [(long, word(0))]
    one.clear()
    assert one.items() == []
