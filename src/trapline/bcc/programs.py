"""The functions of a `BPF` object: loaded when first asked for, once for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from trapline.bcc.constants import DEBUG_BPF, DEBUG_BPF_REGISTER_STATE, DEBUG_SOURCE, PROGRAM_TYPES
from trapline.bcc.failures import BccError, LoadError
from trapline.bcc.names import Name, to_bytes, to_text
from trapline.errors import PrivilegeError, TraplineError, VerifierError
from trapline.hints import TYPE_CHECKING, Any, Protocol
from trapline.source import Diagnostic, Span

if TYPE_CHECKING:
    from trapline.bcc.handles import LinkHandle
    from trapline.engine.dynamic import DynamicProgram
    from trapline.frontends.bcc_c.result import ProgramInfo


class ProgramSource(Protocol):
    """Loads single functions of a compiled object; `trapline.engine.dynamic.DynamicObject` does."""

    def load(
        self, name: str, type: str, expected_attach: str = "", target: str = "", *, log_level: int = 0
    ) -> DynamicProgram:
        """Load function `name` as a program of `type`, for `target` (``[module:]function``) if it is typed by it."""

    def bytecode(self, name: str) -> bytes:
        """Return a function's instructions, before maps are filled in."""

    def disassemble(self, name: str) -> str:
        """Return a function's instructions as text."""

    def disassemble_with_source(self, name: str) -> str:
        """Return them below the lines of the source that they come from."""


class Function:
    """A loaded function, as ``load_func`` returns it.

    Args:
        bpf: the `BPF` object that it belongs to.
        name: its C name.
        program: the program in the kernel.

    Attributes:
        fd: its descriptor.
        sock: the socket that `BPF.attach_raw_socket` opened.
        links: what holds it attached; closed with the `BPF` object.
    """

    def __init__(self, bpf: Any, name: str, program: DynamicProgram) -> None:
        self.bpf = bpf
        self.name = to_bytes(name)
        self.program = program
        self.fd = program.fd
        self.sock = -1
        self.links: list[LinkHandle] = []


class Programs:
    """Loads and keeps the functions of one C text.

    Args:
        owner: the `BPF` object.
        source: loads them.
        infos: descriptions of the functions that there are, by name.
        debug: BCC's debug flags.
    """

    def __init__(self, owner: Any, source: ProgramSource, infos: Mapping[str, ProgramInfo], debug: int = 0) -> None:
        self._owner = owner
        self._source = source
        self._infos = infos
        self._log_level = 2 if debug & DEBUG_BPF_REGISTER_STATE else 1 if debug & DEBUG_BPF else 0
        if debug & DEBUG_SOURCE:
            for name in infos:
                print(source.disassemble_with_source(name), file=sys.stderr)
        self.loaded: dict[bytes, Function] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The functions' names, in the order of their definition."""
        return tuple(self._infos)

    def info(self, name: Name) -> ProgramInfo:
        """Return a function's description.

        Raises:
            LoadError: there is no such function.
        """
        found = self._infos.get(to_text(name))
        if found is None:
            known = ", ".join(self._infos) or "none"
            raise LoadError(f"Unknown program {to_bytes(name)!r}", hint=f"functions of this BPF text: {known}")
        return found

    def load(self, name: Name, type: int | str, expected_attach: str = "", target: str = "") -> Function:
        """Return a function, loaded as a program of `type`; the first call decides the type.

        Args:
            name: its C name.
            type: BCC's number or the kernel's spelling.
            expected_attach: the attach type, for program types that need one.
            target: ``[module:]function`` that a typed program is for.

        Raises:
            LoadError: there is no such function, or the kernel refuses it.
        """
        key = to_bytes(name)
        if key in self.loaded:
            return self.loaded[key]
        info = self.info(name)
        spelled = type if isinstance(type, str) else _spell_type(type)
        attach = info.attach
        if not target and info.expected_attach and attach is not None and spelled == info.type:
            expected_attach = expected_attach or info.expected_attach  # its name says what it is for
            target = f"{attach.module}:{attach.event}" if attach.module else attach.event
        try:
            program = self._source.load(info.name, spelled, expected_attach, target, log_level=self._log_level)
        except PrivilegeError as error:
            raise LoadError(f"Need super-user privileges to run: {error.message}", hint=error.hint) from error
        except VerifierError as error:
            print(error.log.rstrip(), file=sys.stderr)
            if isinstance(error.span, Span):
                print(Diagnostic(error.message, error.span).render(), file=sys.stderr)
            raise LoadError(f"Failed to load BPF program {key!r}: {error}") from error
        except TraplineError as error:
            raise LoadError(f"Failed to load BPF program {key!r}: {error.message}", hint=error.hint) from error
        if self._log_level:
            print(f"{self._source.disassemble(info.name)}\n{program.log.rstrip()}", file=sys.stderr)
        function = Function(self._owner, info.name, program)
        self.loaded[key] = function
        return function

    def load_all(self, type: int | str) -> list[Function]:
        """Return every function, loaded as programs of `type`."""
        return [self.load(name, type) for name in self.names]

    def dump(self, name: Name) -> bytes:
        """Return a function's bytecode."""
        return self._source.bytecode(self.info(name).name)

    def disassemble(self, name: Name) -> str:
        """Return a function's bytecode as text."""
        return self._source.disassemble(self.info(name).name)

    def close(self) -> None:
        """Close the descriptors of the loaded programs."""
        for function in self.loaded.values():
            for link in function.links:
                link.close()
            function.program.close()
        self.loaded.clear()


def _spell_type(number: int) -> str:
    if 0 < number < len(PROGRAM_TYPES):
        return PROGRAM_TYPES[number]
    raise BccError(f"{number} is not a program type", hint="use a constant of BPF, such as BPF.KPROBE")
