"""``USDT``: statically defined probes of a process or a file, enabled before the `BPF` object is made."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trapline.bcc.failures import BccError
from trapline.bcc.libraries import find_binary
from trapline.bcc.names import Name, to_bytes, to_text
from trapline.bcc.usdt_probes import ActiveProbe, FileProbe, USDTException, USDTProbe
from trapline.engine.machine import machine
from trapline.frontends.bcc_c.usdt_readers import argument_type, write_readers
from trapline.hints import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from trapline.engine.user_probes import UserProbe

__all__ = ["USDT", "USDTException", "USDTProbe", "attach_contexts", "check_contexts", "write_text"]


class ProbeFinder(Protocol):
    """Finds USDT probes; `trapline.engine.machine.Machine` does."""

    def process_probes(self, pid: int) -> Sequence[UserProbe]:
        """Return the probes of all files that a process has mapped as code."""

    def file_probes(self, path: str) -> Sequence[UserProbe]:
        """Return the probes of a file."""


class USDT:
    """The USDT probes of a process, of a file, or of a file as a process sees it.

    Args:
        pid: the process; its probes fire only there.
        path: a program or library, or its short name.
        finder: finds probes; the running machine if not given.

    Raises:
        USDTException: neither is given, or there is no such process or file.
    """

    def __init__(self, pid: int | None = None, path: Name | None = None, finder: ProbeFinder | None = None) -> None:
        self.pid = pid if pid and pid != -1 else -1
        self.path = None if path is None else to_text(path)
        source: ProbeFinder = machine() if finder is None else finder
        if self.path:
            found = find_binary(self.path, self.pid, program_first=True)
            if found is None:
                raise USDTException(f"USDT failed to instrument path {self.path}", hint="there is no such file")
            probes = source.file_probes(found)
        elif self.pid != -1:
            probes = source.process_probes(self.pid)
            if not probes and not _exists(self.pid):
                raise USDTException(f"USDT failed to instrument PID {pid}", hint="there is no such process")
        else:
            raise USDTException("either a pid or a binary path must be specified")
        self._probes = [FileProbe(probe) for probe in probes]

    def _find(self, name: Name) -> FileProbe | None:
        provider, colon, probe = to_text(name).partition(":")
        for found in self._probes:
            if colon:
                if (found.provider, found.name) == (provider, probe):
                    return found
            elif found.name == provider:
                return found
        return None

    def enable_probe(self, probe: Name, fn_name: Name) -> None:
        """Let `fn_name` run at a probe (``provider:name``, or the first one of that ``name``).

        Raises:
            USDTException: there is no such probe, or another function was given for it.
        """
        found = self._find(probe)
        function = to_text(fn_name)
        if found is None or found.function not in ("", function):
            near = ", ".join(dict.fromkeys(p.name for p in self._probes if to_text(probe).split(":")[-1] in p.name))
            raise USDTException(
                f"Failed to enable USDT probe '{to_text(probe)}':\n"
                "the specified pid might not contain the given language's runtime,\n"
                "or the runtime was not built with the required USDT probes. Look\n"
                "for a configure flag similar to --with-dtrace or --enable-dtrace.\n"
                "To check which probes are present in the process, use the tplist tool.\n",
                hint=f"{found.function} is enabled there already" if found else f"there are: {near}" if near else None,
            )
        found.function = function

    def enable_probe_or_bail(self, probe: Name, fn_name: Name) -> None:
        """Do what `enable_probe` does; where it fails, say so on stderr and exit with code 1."""
        try:
            self.enable_probe(probe, fn_name)
        except USDTException as error:
            print(error.message, file=sys.stderr)
            sys.exit(1)

    def get_context(self) -> USDT:
        """Return what stands for the enabled probes."""
        return self

    def get_text(self) -> str:
        """Return the C functions that read the enabled probes' arguments; `BPF` adds them to the text by itself."""
        return write_text([self])

    def get_probe_arg_ctype(self, probe_name: Name, arg_index: int) -> str:
        """Return the C type (``int32_t``) of an argument of a probe, counted from 0.

        Raises:
            USDTException: there is no such probe or argument.
        """
        found = self._find(probe_name)
        forms = [form for form in found.forms if arg_index < len(form)] if found else []
        if not forms or arg_index < 0:
            raise USDTException(f"USDT probe '{to_text(probe_name)}' has no argument {arg_index}")
        return argument_type([form[arg_index] for form in forms])

    def enumerate_probes(self) -> list[USDTProbe]:
        """Return all probes."""
        return [USDTProbe(probe) for probe in self._probes]

    def enabled(self) -> list[FileProbe]:
        """Return the enabled probes."""
        return [probe for probe in self._probes if probe.function]

    def enumerate_active_probes(self) -> list[tuple[bytes, bytes, int, int]]:
        """Return (file, function, address, pid) of every place of the enabled probes."""
        return [
            (to_bytes(probe.path), to_bytes(probe.function), place.address, self.pid)
            for probe in self.enabled()
            for place in probe.places
        ]

    def attach_uprobes(self, bpf: Any, attach_usdt_ignore_pid: bool = False) -> None:
        """Attach the enabled probes; `BPF` does it by itself for the contexts that it is given."""
        attach_contexts([self], bpf._user.attach_usdt, ignore_pid=attach_usdt_ignore_pid)


class _AttachUsdt(Protocol):
    def __call__(self, place: ActiveProbe) -> None: ...


def _exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb"):
            return True
    except OSError:
        return False


def _forms(contexts: Sequence[USDT]) -> dict[str, list[tuple[Any, ...]]]:
    """Return, by function, the arguments at the places where it runs: each form once, in a fixed order."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for context in contexts:
        for probe in context.enabled():
            forms = found.setdefault(probe.function, [])
            forms += [form for form in probe.forms if form not in forms]
    return found


def write_text(contexts: Sequence[USDT]) -> str:
    """Return the C functions that read the arguments of all enabled probes."""
    return "".join(write_readers(function, forms) for function, forms in _forms(contexts).items())


def attach_contexts(contexts: Sequence[USDT], attach: _AttachUsdt, *, ignore_pid: bool) -> None:
    """Attach all enabled probes.

    Args:
        contexts: all contexts of a `BPF` object: the cookies of their places count over all of them.
        attach: attaches a function to a place.
        ignore_pid: in every process, whatever the contexts say.
    """
    forms = _forms(contexts)
    for context in contexts:
        for probe in context.enabled():
            for place in probe.places:
                attach(
                    ActiveProbe(
                        path=probe.path,
                        offset=place.offset,
                        function=probe.function,
                        pid=-1 if ignore_pid else context.pid,
                        semaphore=place.semaphore,
                        cookie=forms[probe.function].index(place.operands),
                    )
                )


def check_contexts(contexts: Sequence[Any]) -> list[USDT]:
    """Return what `BPF` was given as ``usdt_contexts``.

    Raises:
        BccError: one of them is no `USDT`.
    """
    for context in contexts:
        if not isinstance(context, USDT):
            raise BccError(f"usdt_contexts takes USDT objects, not {type(context).__name__}")
    return list(contexts)
