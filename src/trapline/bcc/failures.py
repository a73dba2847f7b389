"""What goes wrong, as BCC scripts catch it: every failure is an `Exception` with BCC's wording first."""

from __future__ import annotations

from trapline.errors import TraplineError


class BccError(TraplineError):
    """A failure reported to a BCC script.

    Scripts catch plain `Exception` and some look at the text, so the message starts as BCC's does; the cause follows
    it, and what to do is the hint.
    """


class CompileError(BccError):
    """The C text does not compile; the diagnostics were printed to stderr, as clang does."""


class LoadError(BccError):
    """The kernel refused a program."""


class AttachError(BccError):
    """A program could not be attached, or what should be detached is not attached."""


class NotOfferedError(BccError, NotImplementedError):
    """A part of BCC's interface that trapline does not offer (yet); the message names it and what to use instead."""
