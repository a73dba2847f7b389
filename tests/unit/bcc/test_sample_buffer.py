"""The memory that BCC's callbacks read their samples from."""

from __future__ import annotations

import ctypes as ct
import errno

import pytest

from trapline.bcc.perf import SampleBuffer, sample_buffer


def test_a_short_sample_is_followed_by_zeros() -> None:
    buffer = SampleBuffer()
    for size in (200, 3, 64, 500):
        data = bytes(range(1, 256))[: size % 256] + b"x" * (size // 256 * 256)
        address = buffer.put(data, 300)
        assert ct.string_at(address, max(len(data), 300)) == data.ljust(300, b"\0")


def test_a_poll_inside_a_callback_has_memory_of_its_own() -> None:
    kept = SampleBuffer()
    with sample_buffer(kept) as outer:
        address = outer.put(b"outer", 0)
        with sample_buffer(kept) as inner:
            inner.put(b"inner", 0)
        assert ct.string_at(address, 5) == b"outer"
        assert outer is kept is not inner
    with sample_buffer(kept) as again:
        assert again is kept


def test_a_closed_pipe_ends_the_script() -> None:
    kept = SampleBuffer()
    with pytest.raises(SystemExit), sample_buffer(kept):
        raise BrokenPipeError(errno.EPIPE, "gone")
    with pytest.raises(OSError, match="else"), sample_buffer(kept):
        raise OSError(errno.EIO, "else")
    assert not kept.busy
