"""Digests of what is kept on disk.

``hashlib`` loads OpenSSL, which takes as long as reading all that a warm start reads; Python has BLAKE2 of its own.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another build of Python
    from hashlib import blake2b

BYTES = 32


def digest(*parts: bytes) -> bytes:
    """Return the `BYTES` bytes of the digest of `parts`, one after the other."""
    state = blake2b(digest_size=BYTES)
    for part in parts:
        state.update(part)
    return state.digest()
