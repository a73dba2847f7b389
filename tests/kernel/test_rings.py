"""Both rings: what a program writes arrives, across the wrap, discarded records left out, losses counted."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.kernel.tiny_objects import record_code, target

from trapline.abi.assembler import R0, R1, R2, R3, R4, R5, R6, R7, R10, Assembler
from trapline.errors import ClosedError
from trapline.ir.spec import MapRef, MapSpec, ObjectProgram, ObjectSpec
from trapline.kernel.object import LoadedObject, load_object
from trapline.syscall.alike import Run
from trapline.syscall.perfring import PerfRing
from trapline.syscall.poll import Poller

PAGE = os.sysconf("SC_PAGE_SIZE")


def _load(*codes: bytes, ring: MapSpec) -> LoadedObject:
    programs = tuple(
        ObjectProgram(f"p{i}", "RAW_TRACEPOINT", code, (MapRef(0, ring.name),)) for i, code in enumerate(codes)
    )
    return load_object(ObjectSpec("test", "", programs, (ring,)), target())


def _discarding() -> bytes:
    asm = Assembler().load_imm64(R1, 0).mov(R2, 40).mov(R3, 0).call("ringbuf_reserve").jump("eq", R0, 0, "out")
    return asm.mov_reg(R1, R0).mov(R2, 0).call("ringbuf_discard").label("out").mov(R0, 0).exit().assemble()


def _counting(size: int) -> bytes:
    """Write a record of `size` bytes that starts with how much was ever reserved; return whether it fitted."""
    asm = Assembler()
    asm.load_imm64(R6, 0).mov_reg(R1, R6).mov(R2, 3).call("ringbuf_query").mov_reg(R7, R0)
    asm.mov_reg(R1, R6).mov(R2, size).mov(R3, 0).call("ringbuf_reserve").jump("eq", R0, 0, "full")
    asm.store(8, R0, 0, R7).mov_reg(R1, R0).mov(R2, 0).call("ringbuf_submit").mov(R0, 1).exit()
    return asm.label("full").mov(R0, 0).exit().assemble()


def test_records_arrive_in_order_across_many_wraps() -> None:
    size = 40
    with (
        _load(_counting(size), ring=MapSpec(".ring", "RINGBUF", 0, 0, PAGE)) as loaded,
        loaded.maps[".ring"].open_ring() as ring,
    ):
        positions = []
        for _ in range(30):
            for _ in range(7):
                assert loaded.programs["p0"].run() == 1
            chunk = ring.take()
            assert [length for _, length in chunk.records] == [size] * 7
            positions += [struct.unpack_from("<Q", chunk.data, offset)[0] for offset, _ in chunk.records]
        assert positions == [i * (size + 8) for i in range(210)]
        assert ring.consumer_position == ring.producer_position == 210 * (size + 8) > 2 * PAGE


def test_a_full_ring_refuses_and_recovers() -> None:
    with (
        _load(_counting(1000), ring=MapSpec(".ring", "RINGBUF", 0, 0, PAGE)) as loaded,
        loaded.maps[".ring"].open_ring() as ring,
    ):
        assert [loaded.programs["p0"].run() for _ in range(5)] == [1, 1, 1, 1, 0]
        assert len(list(ring.records(limit=1))) == 1
        assert loaded.programs["p0"].run() == 1
        assert len(list(ring.records())) == 4 and not ring.pending()


def test_a_large_ring_is_mapped_as_far_as_records_come() -> None:
    size, ring_bytes = 8000, 1 << 20

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    with _load(_counting(size), ring=MapSpec(".ring", "RINGBUF", 0, 0, ring_bytes)) as loaded:
        before = resident()
        with loaded.maps[".ring"].open_ring() as ring:
            assert resident() - before < ring_bytes
            positions: list[int] = []
            for batch in (1, 20, 100, 120, 120, 90):
                assert sum(loaded.programs["p0"].run() for _ in range(batch)) == batch
                positions += [struct.unpack_from("<Q", raw)[0] for raw in ring.records()]
            assert positions == [i * (size + 8) for i in range(451)]
            assert ring.producer_position > 3 * ring_bytes and resident() - before > ring_bytes


def test_discarded_records_are_skipped() -> None:
    with (
        _load(_discarding(), record_code(7), ring=MapSpec(".ring", "RINGBUF", 0, 0, PAGE)) as loaded,
        loaded.maps[".ring"].open_ring() as ring,
    ):
        for name in ("p0", "p1", "p0", "p0", "p1", "p0"):
            loaded.programs[name].run()
        found = [struct.unpack_from("<Q", raw)[0] for raw in ring.records()]
        assert found == [7, 7]
        assert not ring.pending()


def _in_runs(data: bytes, runs: Sequence[Run]) -> list[bytes]:
    return [data[o + i * step : o + i * step + length] for o, step, number, length in runs for i in range(number)]


# How often each program runs, in turn: runs of one size, single records, discarded ones between.
_MIXED = ((0, 100), (1, 3), (0, 1), (1, 1), (2, 2), (0, 40), (2, 1), (0, 60), (1, 200), (0, 1))


def test_batches_are_what_is_taken_at_once() -> None:
    def fill() -> None:
        for program, times in _MIXED:
            for _ in range(times):
                loaded.programs[f"p{program}"].run()

    ring_bytes = 1 << 19
    spec = MapSpec(".ring", "RINGBUF", 0, 0, ring_bytes)
    with _load(_counting(40), _counting(1001), _discarding(), ring=spec) as loaded:
        with loaded.maps[".ring"].open_ring() as ring:
            for _ in range(3):
                start = ring.producer_position
                fill()
                found = [raw for batch in ring.batches() for raw in _in_runs(*batch)]
                assert not ring.pending() and [len(raw) for raw in found] == [
                    (40, 1001)[program] for program, times in _MIXED if program < 2 for _ in range(times)
                ]
                positions = [struct.unpack_from("<Q", raw)[0] for raw in found]
                assert positions[0] == start and positions == sorted(set(positions))
                fill()
                limited: list[bytes] = []
                while chunk := list(ring.records(limit=57)):
                    assert len(chunk) <= 57
                    limited += chunk
                assert [len(raw) for raw in limited] == [len(raw) for raw in found]
            fill()
            batches = ring.batches()
            data, runs = next(batches)
            assert data[-4096:] == bytes(4096) and len(runs) < 50 < len(found)
        assert list(batches) == []  # closed meanwhile


def test_waiting_readers_are_woken() -> None:
    with (
        _load(record_code(1), ring=MapSpec(".ring", "RINGBUF", 0, 0, PAGE)) as loaded,
        loaded.maps[".ring"].open_ring() as ring,
        Poller() as poller,
    ):
        poller.add(loaded.maps[".ring"].fileno(), "ring")
        assert poller.wait(0) == [] and not ring.pending()
        loaded.programs["p0"].run()
        assert poller.wait(5) == ["ring"] and ring.pending()
        ring.take()
        assert poller.wait(0) == []


def test_addresses_are_those_of_the_ring() -> None:
    import ctypes

    with _load(record_code(9), ring=MapSpec(".ring", "RINGBUF", 0, 0, PAGE)) as loaded:
        ring = loaded.maps[".ring"].open_ring()
        loaded.programs["p0"].run()
        where = ring.addresses
        assert ctypes.c_uint64.from_address(where.producer).value == 32
        assert ctypes.c_uint64.from_address(where.consumer).value == 0
        assert ctypes.c_uint32.from_address(where.data).value == 24
        assert ctypes.c_uint64.from_address(where.data + PAGE + 8).value == 9  # the second mapping
        assert where.mask == PAGE - 1
        ring.close()
        ring.close()
        with pytest.raises(ClosedError):
            ring.take()


def _perf_output(size: int) -> bytes:
    asm = Assembler().load_imm64(R2, 0).mov_reg(R6, R1)
    for offset in range(0, size, 8):
        asm.store_imm(8, R10, -size + offset, offset)
    asm.load_imm64(R3, 0xFFFFFFFF).mov_reg(R4, R10).alu("add", R4, -size).mov(R5, size)
    return asm.mov_reg(R1, R6).call("perf_event_output").mov(R0, 0).exit().assemble()


@pytest.mark.parametrize("size", [8, 56, 200])
def test_perf_rings_deliver_samples_across_the_wrap(size: int) -> None:
    cpu = target().online_cpus[0]
    spec = MapSpec("events", "PERF_EVENT_ARRAY", 4, 4, 0)
    expected = b"".join(struct.pack("<q", offset) for offset in range(0, size, 8))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        with _load(_perf_output(size), ring=spec) as loaded, PerfRing(cpu, 1) as ring:
            loaded.maps["events"].update(struct.pack("<I", cpu), struct.pack("<I", ring.fileno()))
            for _ in range(40):
                for _ in range(5):
                    loaded.programs["p0"].run()
                batch = ring.take()
                assert [s[:size] for s in batch.samples] == [expected] * 5 and batch.lost == 0
                assert not ring.pending()
    finally:
        os.sched_setaffinity(0, before)


def test_batches_of_perf_rings_are_what_is_taken_at_once() -> None:
    cpu = target().online_cpus[0]
    sizes = (16, 200)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        with (
            _load(*map(_perf_output, sizes), ring=MapSpec("events", "PERF_EVENT_ARRAY", 4, 4, 0)) as loaded,
            PerfRing(cpu, 256) as ring,
        ):
            loaded.maps["events"].update(struct.pack("<I", cpu), struct.pack("<I", ring.fileno()))
            plan = [(program, times) for program, times in _MIXED * 10 if program < 2]
            expected = [sizes[program] for program, times in plan for _ in range(times)]

            def fill() -> None:
                for program, times in plan:
                    for _ in range(times):
                        loaded.programs[f"p{program}"].run()

            for _ in range(3):
                fill()
                at_once = ring.take()
                assert [len(raw) // 8 * 8 for raw in at_once.samples] == expected and at_once.lost == 0
                fill()
                batches = list(ring.batches())
                assert len(batches) > 1 and sum(batch.lost for batch in batches) == 0
                found = [raw for data, runs, _ in batches for raw in _in_runs(data, runs)]
                # The kernel does not write the bytes up to the next multiple of eight.
                assert [raw[:size] for raw, size in zip(found, expected, strict=True)] == [
                    raw[:size] for raw, size in zip(at_once.samples, expected, strict=True)
                ]
            fill()
            parts = ring.batches()
            next(parts)
            ring.close()
            assert list(parts) == []
    finally:
        os.sched_setaffinity(0, before)


def test_perf_rings_count_what_was_lost() -> None:
    cpu = target().online_cpus[0]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        with (
            _load(_perf_output(200), ring=MapSpec("events", "PERF_EVENT_ARRAY", 4, 4, 0)) as loaded,
            PerfRing(cpu, 1) as ring,
        ):
            loaded.maps["events"].update(struct.pack("<I", cpu), struct.pack("<I", ring.fileno()))
            for _ in range(100):
                loaded.programs["p0"].run()
            first = ring.take()
            loaded.programs["p0"].run()  # the kernel reports a loss with the next record that fits
            second = ring.take()
            got = len(first.samples) + len(second.samples)
            assert first.lost + second.lost + got == 101 and first.lost + second.lost > 50
    finally:
        os.sched_setaffinity(0, before)
    with pytest.raises(ClosedError):
        ring.take()
    with pytest.raises(ValueError, match="power of two"):
        PerfRing(cpu, 3)
