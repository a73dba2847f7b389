"""What goes wrong, as BCC scripts catch it: every failure is an `Exception` with BCC's wording first."""

from __future__ import annotations

from trapline.errors import TraplineError


class BccError(TraplineError):
    """A failure reported to a BCC script.

    Scripts catch plain `Exception` and some look at the text, so the message starts as BCC's does; what BCC does not
    say (the cause, what to do) follows as the hint.
    """


class CompileError(BccError):
    """The C text does not compile; the diagnostics were printed to stderr, as clang does."""


class LoadError(BccError):
    """The kernel refused a program."""


class AttachError(BccError):
    """A program could not be attached, or what should be detached is not attached."""


class NotOfferedError(BccError, NotImplementedError):
    """A part of BCC's interface that trapline does not offer (yet); the message names it and what to use instead."""


def cause_of(error: TraplineError) -> str:
    """Return an error's own text on one line and its hint, for use as another error's hint."""
    cause = error.message.rstrip(".")
    return f"{cause}. {error.hint}" if error.hint else cause
