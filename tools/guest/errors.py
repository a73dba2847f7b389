"""What can go wrong with a guest."""


class GuestError(Exception):
    """A guest cannot be started or reached; the message says why and what to do."""


class GuestTimeoutError(GuestError):
    """A guest or a command in it took longer than its bound."""
