"""Frames that the launcher and the agent exchange over a virtio-serial port.

A session starts with the launcher sending ``HELLO`` and 16 random bytes; the agent answers with the same, and both
ignore everything before it, so that what an interrupted session left in the port does no harm. After that both send
frames: one byte of type, four bytes of length (big endian), and the body.
"""

import struct

HELLO = b"\x00trapline-guest\x01"
NONCE_SIZE = 16
HEADER = struct.Struct("!cI")

# From the launcher.
EXEC = b"E"  # JSON: argv, cwd, env
STDIN = b"I"  # bytes for the command's stdin; empty closes it
SIGNAL = b"S"  # the number, in decimal, for the command's process group
# From the agent.
STDOUT = b"1"
STDERR = b"2"
EXIT = b"R"  # JSON: returncode (negative: died of that signal)
REFUSED = b"F"  # text: the command cannot be started


def encode_frame(kind: bytes, body: bytes = b"") -> bytes:
    """Return one frame."""
    return HEADER.pack(kind, len(body)) + body


class Decoder:
    """Collects bytes and returns the frames that they complete."""

    def __init__(self) -> None:
        """Start empty."""
        self._data = bytearray()

    def feed(self, data: bytes) -> "list[tuple[bytes, bytes]]":
        """Add bytes; return the complete frames as (type, body)."""
        self._data += data
        frames = []
        while len(self._data) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._data)
            end = HEADER.size + length
            if len(self._data) < end:
                break
            frames.append((kind, bytes(self._data[HEADER.size : end])))
            del self._data[:end]
        return frames
