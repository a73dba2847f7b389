import ctypes as ct
from types import SimpleNamespace

import pytest
from tests.unit.bcc.fakes import FakeMap, u32, u64

from trapline.bcc.failures import BccError
from trapline.bcc.table import Array, HashTable, PerCpuArray, PerCpuHash, ProgArray, QueueStack, StackTrace
from trapline.bcc.utils import get_possible_cpus


class Key(ct.Structure):
    _fields_ = [("disk", ct.c_char * 4), ("slot", ct.c_uint32)]


@pytest.fixture
def table():
    return HashTable(FakeMap(), ct.c_uint, ct.c_ulonglong, "counts")


def test_mapping(table):
    table[ct.c_uint(1)] = ct.c_ulonglong(10)
    table[2] = 20
    assert table[ct.c_uint(1)].value == 10
    assert [(k.value, v.value) for k, v in table.items()] == [(1, 10), (2, 20)]
    assert [v.value for v in table.values()] == [10, 20]
    assert [k.value for k in table.iter()] == [1, 2]
    assert len(table) == 2
    assert ct.c_uint(1) in table
    assert ct.c_uint(9) not in table
    del table[ct.c_uint(1)]
    with pytest.raises(KeyError):
        table[ct.c_uint(1)]
    with pytest.raises(KeyError):
        del table[ct.c_uint(1)]


def test_full_table_says_so(table):
    table.handle.max_entries = 0
    with pytest.raises(BccError, match="Could not update table"):
        table[1] = 1


def test_items_skips_what_disappears(table):
    table[1] = 1
    table[2] = 2
    found = []
    for key, value in table.iteritems():
        found.append((key.value, value.value))
        table.handle.elements.pop(u32(2), None)
    assert found == [(1, 1)]


def test_a_program_array_takes_functions_and_descriptors():
    table = ProgArray(FakeMap(), ct.c_int, ct.c_int, "programs")
    for index, leaf in enumerate((7, ct.c_int(7), SimpleNamespace(fd=7))):
        table[index] = leaf
        assert table.handle.elements[u32(index)] == u32(7)


def test_clear_and_zero(table):
    table[1] = 5
    table.zero()
    assert table[1].value == 0
    table.clear()
    assert len(table) == 0


def test_batches(table):
    table.items_update_batch([1, 2, 3], [10, 20, 30])
    assert sorted((k.value, v.value) for k, v in table.items_lookup_batch()) == [(1, 10), (2, 20), (3, 30)]
    table.items_delete_batch([ct.c_uint(1)])
    assert table.handle.deleted_in_batch == [u32(1)]
    assert len(list(table.items_lookup_and_delete_batch())) == 2
    assert len(table) == 0
    with pytest.raises(ValueError, match="1 keys and 2 values"):
        table.items_update_batch([1], [1, 2])


def test_next(table):
    table[1] = 1
    assert table.next(None).value == 1
    with pytest.raises(StopIteration):
        table.next(ct.c_uint(1))


def test_array_indices():
    array = Array(FakeMap("ARRAY", max_entries=3), ct.c_int, ct.c_ulonglong, "a")
    for index in range(3):
        array[index] = index * 10
    assert array[ct.c_int(1)].value == 10
    assert array[-1].value == 20
    assert [k.value for k in array] == [0, 1, 2]
    assert len(array) == 3
    with pytest.raises(IndexError):
        array[3]
    with pytest.raises(IndexError):
        array[Key()]
    del array[1]
    assert array[1].value == 0


def test_per_cpu_values():
    cpus = len(get_possible_cpus())
    counters = PerCpuArray(FakeMap("PERCPU_ARRAY", value_size=4, max_entries=1), ct.c_int, ct.c_uint, "c")
    counters.handle.elements[u32(0)] = b"".join(u32(i + 1) + bytes(4) for i in range(cpus))
    assert list(counters[0]) == list(range(1, cpus + 1))
    assert counters.sum(0).value == sum(range(1, cpus + 1))
    assert counters.max(0).value == cpus
    assert counters.average(0) == sum(range(1, cpus + 1)) / cpus
    counters[0] = 7
    assert counters.handle.elements[u32(0)] == (u32(7) + bytes(4)) * cpus


def test_per_cpu_reducer():
    table = PerCpuHash(FakeMap("PERCPU_HASH"), ct.c_uint, ct.c_ulonglong, "c", reducer=lambda x, y: x + y)
    cpus = len(get_possible_cpus())
    table.handle.elements[u32(1)] = u64(3) * cpus
    assert table[1] == 3 * cpus
    assert list(table.getvalue(1)) == [3] * cpus


def test_stack_walk():
    class Stack(ct.Structure):
        _fields_ = [("ip", ct.c_uint64 * 127)]

    stacks = StackTrace(FakeMap("STACK_TRACE", value_size=127 * 8), ct.c_int, Stack, "stacks")
    stacks.handle.elements[u32(3)] = u64(0xFF) + u64(0xEE) + bytes(125 * 8)
    assert list(stacks.walk(3)) == [0xFF, 0xEE]
    assert list(stacks.walk(3, resolve=hex)) == ["0xff", "0xee"]
    with pytest.raises(KeyError):
        stacks.walk(-14)


def test_queue():
    queue = QueueStack(FakeMap("QUEUE", key_size=0), ct.c_uint, ct.c_ulonglong, "q")
    queue.push(5)
    assert queue.peek().value == 5
    assert queue.pop().value == 5
    with pytest.raises(KeyError):
        queue.pop()


def test_log2_hist(capsys):
    table = HashTable(FakeMap(), ct.c_uint, ct.c_ulonglong, "dist")
    table[1] = 1
    table.print_log2_hist("usecs")
    assert capsys.readouterr().out == (
        "     usecs               : count     distribution\n"
        "         0 -> 1          : 1        |****************************************|\n"
    )


def test_hist_sections(capsys):
    table = HashTable(FakeMap(key_size=8), Key, ct.c_ulonglong, "dist")
    table[Key(b"sdb", 1)] = 1
    table[Key(b"sda", 2)] = 1
    table.print_log2_hist("usecs", "disk", section_print_fn=bytes.decode, bucket_sort_fn=sorted)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "=" in line] == ["disk = sda", "disk = sdb"]
    assert lines[0] == ""
    table.print_log2_hist("usecs", "disk")
    assert "disk = b'sdb'" in capsys.readouterr().out


def test_linear_hist_out_of_range():
    table = HashTable(FakeMap(), ct.c_uint, ct.c_ulonglong, "dist")
    table[1025] = 1
    with pytest.raises(IndexError, match="1025"):
        table.print_linear_hist()
