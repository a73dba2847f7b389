"""C++ names in readable form, by the demangler of the C++ library.

The grammar of mangled names is large and grows with the language; every machine that runs C++ has a library that knows
it.  Where there is none, names stay mangled.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_LIBRARIES = ("libstdc++.so.6", "libc++abi.so.1", "libc++.so.1")


@cache
def _load() -> tuple[Callable[..., int | None], Callable[[int], None]] | None:
    """Return the library's demangler, and what frees its result."""
    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).__cxa_demangle
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        free = ctypes.CDLL(None).free
        free.restype = None
        free.argtypes = [ctypes.c_void_p]
        return function, free
    return None


def demangle(name: str) -> str | None:
    """Return the readable form of a C++ symbol (``ns::f(int)`` of ``_ZN2ns1fEi``).

    Returns:
        ``None`` when it is none, or there is no C++ library.
    """
    library = _load()
    if library is None or not name.isascii():
        return None
    function, free = library
    address = function(name.encode(), None, None, None)
    if not address:
        return None
    try:
        return ctypes.string_at(address).decode("utf-8", "replace")
    finally:
        free(address)
