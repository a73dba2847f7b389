import ctypes as ct
import os
from itertools import accumulate

import pytest
from tests.unit.bcc.fakes import FakeMap, u32

from trapline.bcc.failures import BccError
from trapline.bcc.perf import PerfBuffers, PerfEventArray
from trapline.bcc.ring import RingBuf, RingBuffers
from trapline.bcc.utils import get_online_cpus


class Event(ct.Structure):
    _fields_ = [("pid", ct.c_uint32), ("comm", ct.c_char * 8)]


def one_by_one(samples):
    """The samples' bytes, and a run for each."""
    ends = list(accumulate(map(len, samples)))
    return b"".join(samples), [(end - len(s), len(s), 1, len(s)) for end, s in zip(ends, samples, strict=True)]


class FakeRing:
    """A ring whose descriptor is an eventfd: readable when something was put in."""

    def __init__(self):
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.samples, self.lost, self.closed = [], 0, False

    def fileno(self):
        return self.fd

    def put(self, *samples, lost=0):
        self.samples.extend(samples)
        self.lost += lost
        os.eventfd_write(self.fd, 1)

    def batches(self):
        if self.samples or self.lost:
            os.eventfd_read(self.fd)
            samples, lost = self.samples, self.lost
            self.samples, self.lost = [], 0
            yield *one_by_one(samples), lost

    def close(self):
        self.closed = True
        os.close(self.fd)


@pytest.fixture
def opened():
    rings = {}
    buffers = PerfBuffers()

    def open_ring(cpu, pages, wakeup):
        rings[cpu] = FakeRing()
        return rings[cpu]

    handle = FakeMap("PERF_EVENT_ARRAY", value_size=4, max_entries=4096)
    table = PerfEventArray(
        handle,
        ct.c_int,
        ct.c_uint,
        "events",
        event=lambda: Event,
        buffers=buffers,
        open_ring=open_ring,
        open_counter=lambda *a: None,
    )
    yield table, buffers, rings
    buffers.close()


SAMPLE = u32(7) + b"bash\0\0\0\0" + bytes(4)


def test_samples_reach_the_callback(opened):
    table, buffers, rings = opened
    got = []
    table.open_perf_buffer(lambda cpu, data, size: got.append((cpu, table.event(data), size)))
    cpu = get_online_cpus()[0]
    rings[cpu].put(SAMPLE, SAMPLE)
    buffers.poll(1000)
    assert [(c, e.pid, e.comm, s) for c, e, s in got] == [(cpu, 7, b"bash", 16)] * 2
    assert table.handle.elements[u32(cpu)] == u32(rings[cpu].fd)


def test_address_can_be_cast(opened):
    table, buffers, rings = opened
    got = []
    table.open_perf_buffer(lambda cpu, data, size: got.append(ct.cast(data, ct.POINTER(Event)).contents.pid))
    rings[0].put(SAMPLE)
    buffers.consume()
    assert got == [7]


def test_short_samples_read_as_zero(opened):
    table, buffers, rings = opened
    got = []
    table.open_perf_buffer(lambda cpu, data, size: got.append(table.event(data).comm))
    rings[0].put(u32(7))
    buffers.poll(1000)
    assert got == [b""]


def test_lost_samples(opened, capsys):
    table, buffers, rings = opened
    lost = []
    table.open_perf_buffer(lambda *a: None, lost_cb=lost.append)
    rings[0].put(lost=3)
    buffers.poll(1000)
    assert lost == [3]
    table.open_perf_buffer(lambda *a: None)
    rings[0].put(lost=4)
    buffers.poll(1000)
    assert capsys.readouterr().err == "Possibly lost 4 samples\n"


def test_an_exception_leaves_the_other_samples_for_later(opened):
    table, buffers, rings = opened
    got = []

    def callback(cpu, data, size):
        got.append(table.event(data).pid)
        if len(got) == 1:
            raise ZeroDivisionError

    table.open_perf_buffer(callback)
    rings[0].put(SAMPLE, SAMPLE)
    with pytest.raises(ZeroDivisionError):
        buffers.poll(1000)
    buffers.consume()
    assert got == [7, 7]


def test_a_closed_pipe_ends_the_script(opened):
    table, buffers, rings = opened

    def callback(cpu, data, size):
        raise BrokenPipeError(32, "Broken pipe")

    table.open_perf_buffer(callback)
    rings[0].put(SAMPLE)
    with pytest.raises(SystemExit):
        buffers.poll(1000)


def test_pages_must_be_a_power_of_two(opened):
    with pytest.raises(BccError, match="power of two"):
        opened[0].open_perf_buffer(lambda *a: None, page_cnt=3)


def test_poll_returns_after_its_timeout(opened):
    table, buffers, _rings = opened
    table.open_perf_buffer(lambda *a: None)
    buffers.poll(1)


def test_close_closes_rings(opened):
    table, buffers, rings = opened
    table.open_perf_buffer(lambda *a: None)
    assert len(buffers) == len(rings) > 0
    table.close()
    assert all(ring.closed for ring in rings.values())
    assert len(buffers) == 0
    assert not table.handle.elements


def test_unknown_event_type_ends_the_script(opened, capsys):
    table, _buffers, _rings = opened
    table._make_event = None
    with pytest.raises(SystemExit) as caught:
        table.event(0)
    assert caught.value.code == 1
    assert "define the data with ctypes" in capsys.readouterr().err


class FakeRingMap(FakeMap):
    def __init__(self):
        super().__init__("RINGBUF", key_size=0, value_size=0)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.records = []
        self.unmapped = False

    def open_ring(self):
        return self

    def put(self, *records):
        self.records.extend(records)
        os.eventfd_write(self.fd, 1)

    def batches(self):
        found, self.records = self.records, []
        if found:
            os.eventfd_read(self.fd)
            yield one_by_one(found)

    def close(self):
        self.unmapped = True


def test_ring_buffer():
    handle = FakeRingMap()
    buffers = RingBuffers()
    with pytest.raises(BccError, match="No ring buffers"):
        buffers.poll(0)
    table = RingBuf(handle, ct.c_int, ct.c_int, "events", event=lambda: Event, buffers=buffers)
    got = []

    def callback(ctx, data, size):
        got.append((ctx, table.event(data).pid, size))
        return -1 if len(got) == 1 else 0

    table.open_ring_buffer(callback, ctx="context")
    handle.put(SAMPLE, SAMPLE)
    buffers.poll(1000)
    assert got == [("context", 7, 16)]
    buffers.consume()
    assert len(got) == 2
    buffers.poll(1)
    buffers.close()
    assert handle.unmapped
    os.close(handle.fd)
