"""The exception tree: plain data, no behaviour beyond carrying what happened.

Everything that trapline raises on purpose is a `TraplineError`.  Misuse of the Python API is `ValueError` or
`TypeError`.  Only `InternalError` (our bug) is ever shown with a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

from trapline.hints import Protocol


class DiagnosticLike(Protocol):
    """What `SourceError` needs of a diagnostic; `trapline.source.Diagnostic` is the real one."""

    @property
    def message(self) -> str:
        """The message in the user's terms, without position."""

    def render(self) -> str:
        """The complete text: position, source line, underline and hints."""


class TraplineError(Exception):
    """Base of everything that trapline raises on purpose.

    Args:
        message: one line in the user's terms: the cause and the place.
        hint: what to do about it, or ``None``.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}" if self.hint else self.message


class SourceError(TraplineError):
    """The user's program is wrong: carries every diagnostic of the phase that found it.

    Args:
        diagnostics: all errors (and warnings) of one phase, in source order; at least one.
    """

    def __init__(self, diagnostics: Sequence[DiagnosticLike]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(d.message for d in self.diagnostics))

    def __str__(self) -> str:
        return "\n".join(d.render() for d in self.diagnostics)


class ParseError(SourceError):
    """The text is not a program of the language."""


class SemanticError(SourceError):
    """The text parses, but has no meaning: wrong types, unknown names, misplaced constructs."""


class UnsupportedError(SourceError):
    """A construct of the language that trapline does not implement yet; the message names it."""


class TargetError(TraplineError):
    """This machine cannot do what was asked."""


class FeatureMissingError(TargetError):
    """The running kernel lacks a feature (a CONFIG option, a helper, an attach mechanism)."""


class PrivilegeError(TargetError):
    """The process may not do it: the message names the capability, sysctl or lockdown mode in the way."""


class NoSuchProbeError(TargetError):
    """No such probe, function, tracepoint, symbol or field on this machine.

    Args:
        message: what was looked for.
        near: similar names that do exist, best first.
        hint: what to do about it, or ``None``.
    """

    def __init__(self, message: str, *, near: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.near = tuple(near)


class KernelError(TraplineError, OSError):
    """A system call failed; ``errno`` is kept.

    Args:
        message: what was being done, in the user's terms.
        errno: the error number of the system call.
        hint: what to do about it, or ``None``.
    """

    errno: int

    def __init__(self, message: str, *, errno: int = 0, hint: str | None = None) -> None:
        TraplineError.__init__(self, message, hint=hint)
        self.errno = errno


class VerifierError(KernelError):
    """The kernel's verifier rejected a program.

    Args:
        message: the summary in the user's terms.
        log: the verifier's complete log.
        program: the name of the program.
        instruction: index of the offending instruction, or ``None``.
        span: the place in the user's source that the instruction came from (a `trapline.source.Span`), or ``None``.
        errno: the error number of bpf(2).
    """

    def __init__(
        self,
        message: str,
        *,
        log: str,
        program: str,
        instruction: int | None = None,
        span: object | None = None,
        errno: int = 0,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.log = log
        self.program = program
        self.instruction = instruction
        self.span = span


class AttachError(KernelError):
    """A loaded program could not be attached to its probe."""


class MapError(KernelError):
    """An operation on a BPF map failed."""


class ClosedError(KernelError):
    """The object was closed by its owner before this call."""


class DecodeError(TraplineError):
    """Malformed BTF, ELF or record bytes.

    Args:
        message: what was expected and what was found.
        offset: byte offset of the trouble in the input.
    """

    def __init__(self, message: str, *, offset: int = 0) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class InternalError(TraplineError):
    """A bug in trapline."""
