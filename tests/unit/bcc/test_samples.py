"""Samples of rings on their way to BCC's callbacks: each once, in order, at an address that can be read."""

from __future__ import annotations

import ctypes as ct
import errno

import pytest

from trapline.bcc.samples import Samples, SubmitsEvents, ended_by_closed_pipe


def _read(got: list[bytes]) -> object:
    return lambda first, address, size: got.append(ct.string_at(address, size))


def _samples(*runs: tuple[bytes, int]) -> Samples:
    """Samples of one byte value each, the values one after another: (values, size) for each run."""
    data = b""
    places = []
    for values, size in runs:
        places.append((len(data), size + 3, len(values), size))
        data += b"".join(bytes([value]) * size + b"---" for value in values)
    samples = Samples()
    samples.put(data, places)
    return samples


def test_runs_are_delivered_in_order() -> None:
    got: list[bytes] = []
    samples = _samples((b"abc", 4), (b"d", 2), (b"ef", 4))
    samples.deliver(_read(got), None, 0)
    assert got == [b"aaaa", b"bbbb", b"cccc", b"dd", b"eeee", b"ffff"]
    samples.deliver(_read(got), None, 0)
    assert len(got) == 6


def test_a_short_sample_is_followed_by_zeros() -> None:
    got: list[tuple[int, bytes]] = []
    samples = _samples((b"abc", 200), (b"de", 3), (b"f", 300))
    samples.deliver(lambda first, address, size: got.append((size, ct.string_at(address, 300))), None, 300)
    assert got == [(200, bytes([v]) * 200 + bytes(100)) for v in b"abc"] + [
        (3, bytes([v]) * 3 + bytes(297)) for v in b"de"
    ] + [(300, b"f" * 300)]


@pytest.mark.parametrize("room", [0, 10])
def test_a_poll_inside_a_callback_delivers_what_follows(room: int) -> None:
    samples = _samples((b"ab", 4), (b"cd", 5))
    got: list[bytes] = []

    def callback(first: str, address: int, size: int) -> None:
        if not got:
            got.append(b"first")
            samples.deliver(callback, first, room)
            samples.put(b"e" * 8, [(0, 8, 1, 8)])
            samples.deliver(callback, first, room)
        got.append(ct.string_at(address, size))

    samples.deliver(callback, "x", room)
    assert got == [b"first", b"bbbb", b"ccccc", b"ddddd", b"eeeeeeee", b"aaaa"]


def test_what_is_left_stays_when_a_callback_raises_or_stops() -> None:
    samples = _samples((b"abc", 4), (b"d", 4))
    got: list[bytes] = []

    def callback(first: object, address: int, size: int) -> int:
        got.append(ct.string_at(address, 1))
        if got[-1] == b"a":
            raise ZeroDivisionError
        return -1 if got[-1] == b"b" else 0

    with pytest.raises(ZeroDivisionError):
        samples.deliver_until_negative(callback, None, 0)
    assert not samples.deliver_until_negative(callback, None, 0)
    assert samples.deliver_until_negative(callback, None, 0)
    assert got == [b"a", b"b", b"c", b"d"]


def test_only_a_ring_buffers_callback_can_stop() -> None:
    got: list[int] = []
    _samples((b"abc", 4)).deliver(lambda first, address, size: got.append(size) or -1, None, 0)
    assert len(got) == 3


class _Event(ct.Structure):
    _fields_ = [("pid", ct.c_uint32)]


def test_an_event_is_a_copy_and_its_address_may_be_a_pointer() -> None:
    table = SubmitsEvents()
    table.set_event(lambda: _Event)
    memory = ct.create_string_buffer(b"\x07\0\0\0", 4)
    address = ct.addressof(memory)
    events = [table.event(data) for data in (address, ct.c_void_p(address), ct.pointer(memory))]
    memory[0] = b"\x08"
    assert [event.pid for event in events] == [7, 7, 7] and table.event(address).pid == 8


def test_a_closed_pipe_ends_the_script() -> None:
    with pytest.raises(SystemExit), ended_by_closed_pipe():
        raise BrokenPipeError(errno.EPIPE, "gone")
    with pytest.raises(OSError, match="else"), ended_by_closed_pipe():
        raise OSError(errno.EIO, "else")
