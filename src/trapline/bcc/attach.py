"""Attaching functions to the kernel: kprobes, tracepoints, raw tracepoints, trampolines, perf events."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from trapline.bcc.failures import AttachError, BccError
from trapline.bcc.names import Name, kprobe_event_name, to_bytes, to_text
from trapline.bcc.programs import Programs
from trapline.errors import FeatureMissingError, PrivilegeError, TraplineError
from trapline.hints import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trapline.bcc.handles import LinkHandle
    from trapline.engine.dynamic import DynamicProgram

DEFAULT_PROBE_LIMIT = 1000

NOT_TRACEABLE = """it's not traceable (either non-existing, inlined, or marked as "notrace")"""


class KernelAttacher(Protocol):
    """Attaches loaded programs to the kernel; `trapline.engine.dynamic.DynamicObject` does."""

    def attach_kprobe(
        self, program: DynamicProgram, function: str, *, offset: int = 0, retprobe: bool = False
    ) -> LinkHandle:
        """Attach to a function's entry (plus `offset`) or return."""

    def attach_tracepoint(self, program: DynamicProgram, category: str, name: str) -> LinkHandle:
        """Attach to a tracepoint."""

    def attach_raw_tracepoint(self, program: DynamicProgram, name: str) -> LinkHandle:
        """Attach to a raw tracepoint."""

    def attach_trampoline(self, program: DynamicProgram, kind: str, function: str, module: str = "") -> LinkHandle:
        """Attach a typed program to the function that it was loaded for; `kind` as in `TrampolineAttach`."""

    def run_iterator(self, program: DynamicProgram, target: str) -> bytes:
        """Run an iterator's program; return what it wrote."""

    def attach_perf_event(
        self,
        program: DynamicProgram,
        type: int,
        config: int,
        *,
        period: int = 0,
        frequency: int = 0,
        pid: int = -1,
        cpu: int = -1,
        attr: bytes = b"",
        group_fd: int = -1,
    ) -> LinkHandle:
        """Attach to a perf event on one CPU, or on every online one (-1); `attr` is a whole perf_event_attr."""


def probe_limit() -> int:
    """Return how many probes a process may have open: ``BCC_PROBE_LIMIT``, or 1000."""
    text = os.environ.get("BCC_PROBE_LIMIT", "")
    return int(text) if text.isdigit() else DEFAULT_PROBE_LIMIT


class ProbeQuota:
    """Counts the probes that all `BPF` objects of the process have open."""

    open_probes = 0

    @classmethod
    def check(cls, wanted: int) -> None:
        """Raise `BccError` when `wanted` more would be too many."""
        if cls.open_probes + wanted > probe_limit():
            raise BccError(
                "Number of open probes would exceed global quota",
                hint=f"{cls.open_probes} are open, {wanted} more are wanted; set BCC_PROBE_LIMIT above {probe_limit()}",
            )


class LinkTable:
    """The open links of one mechanism: event name → function name → link; each counts as a probe."""

    def __init__(self) -> None:
        self.links: dict[bytes, dict[bytes, LinkHandle]] = {}

    def __len__(self) -> int:
        return len(self.links)

    def has(self, event: bytes, function: bytes) -> bool:
        """Whether `function` is attached to `event`."""
        return function in self.links.get(event, {})

    def add(self, event: bytes, function: bytes, link: LinkHandle) -> None:
        """Remember an open link."""
        self.links.setdefault(event, {})[function] = link
        ProbeQuota.open_probes += 1

    def replace(self, event: bytes, function: bytes, link: LinkHandle) -> None:
        """Remember an open link, in place of what the same function had there; other functions stay attached."""
        self.remove(event, function)
        self.add(event, function, link)

    def remove(self, event: bytes, function: bytes | None = None) -> bool:
        """Detach one function or all functions from an event; return whether there was anything to detach."""
        functions = self.links.get(event)
        if functions is None or (function is not None and function not in functions):
            return False
        for name in list(functions) if function is None else [function]:
            functions.pop(name).close()
            ProbeQuota.open_probes -= 1
        if not functions:
            del self.links[event]
        return True

    def close(self) -> None:
        """Detach everything."""
        for event in list(self.links):
            self.remove(event)


def attach_failure(error: TraplineError, function: Name, what: str) -> AttachError:
    """Return what a script gets when attaching failed: BCC's words first, then the cause."""
    if isinstance(error, PrivilegeError):
        return AttachError(f"Need super-user privileges to run: {error.message}", hint=error.hint)
    return AttachError(
        f"Failed to attach BPF program {to_bytes(function)!r} to {what}: {error.message}", hint=error.hint
    )


class KernelAttachments:
    """What a `BPF` object has attached to the kernel.

    Args:
        attacher: makes links.
        programs: loads functions.
        find_functions: returns the traceable functions that match a regular expression.
        find_tracepoints: returns the ``category:name`` that match a regular expression.
    """

    def __init__(
        self,
        attacher: KernelAttacher,
        programs: Programs,
        find_functions: Callable[[Name], Sequence[bytes]],
        find_tracepoints: Callable[[Name], Sequence[bytes]],
    ) -> None:
        self._attacher = attacher
        self._programs = programs
        self._find_functions = find_functions
        self._find_tracepoints = find_tracepoints
        self.kprobes = LinkTable()
        self.tracepoints = LinkTable()
        self.raw_tracepoints = LinkTable()
        self.trampolines = LinkTable()
        self.perf_events: dict[tuple[int, int], list[LinkHandle]] = {}

    # -- kprobes

    def attach_kprobe(
        self,
        event: Name,
        fn_name: Name,
        event_re: Name = b"",
        *,
        offset: int = 0,
        retprobe: bool = False,
        maxactive: int = 0,
    ) -> None:
        """Attach a function to a kernel function, or to all that match `event_re`; attaching twice does nothing."""
        if event_re:
            self._attach_kprobe_pattern(event_re, fn_name, retprobe=retprobe, maxactive=maxactive)
            return
        symbol = to_text(event)
        key = to_bytes(kprobe_event_name(symbol, retprobe=retprobe, offset=offset))
        name = to_bytes(fn_name)
        function = self._programs.load(fn_name, "KPROBE")
        if self.kprobes.has(key, name):
            return
        ProbeQuota.check(1)
        if maxactive:
            # Only probes in tracefs have it, and those would outlive a killed script.
            print(f"maxactive={maxactive} of {symbol} is ignored: the kernel's default holds", file=sys.stderr)
        try:
            link = self._attacher.attach_kprobe(function.program, symbol, offset=offset, retprobe=retprobe)
        except TraplineError as error:
            what = f"{'kretprobe' if retprobe else 'kprobe'} {to_bytes(event)!r}"
            if not isinstance(error, FeatureMissingError):
                what += f", {NOT_TRACEABLE}"
            raise attach_failure(error, fn_name, what) from error
        self.kprobes.add(key, name, link)

    def _attach_kprobe_pattern(self, pattern: Name, fn_name: Name, *, retprobe: bool, maxactive: int) -> None:
        matches = self._find_functions(pattern)
        ProbeQuota.check(len(matches))
        failed: list[bytes] = []
        first: AttachError | None = None
        for symbol in matches:
            try:
                self.attach_kprobe(symbol, fn_name, retprobe=retprobe, maxactive=maxactive)
            except AttachError as error:
                failed.append(symbol)
                first = first or error
        if len(failed) == len(matches):
            kind = "kretprobe" if retprobe else "kprobe"
            names = "/".join(to_text(symbol) for symbol in failed) or to_text(pattern)
            message = f"Failed to attach BPF program {to_bytes(fn_name)!r} to {kind} {names}, {NOT_TRACEABLE}"
            raise AttachError(message, hint=first.hint if first else "no traceable function matches the pattern")

    def detach_kprobe(self, event: Name, fn_name: Name | None = None, *, retprobe: bool = False) -> None:
        """Detach one function, or all, from a kernel function."""
        self.detach_kprobe_event(kprobe_event_name(to_text(event), retprobe=retprobe), fn_name)

    def detach_kprobe_event(self, ev_name: Name, fn_name: Name | None = None) -> None:
        """Detach by BCC's event name (``p_do_nanosleep``)."""
        name = None if fn_name is None else to_bytes(fn_name)
        if not self.kprobes.remove(to_bytes(ev_name), name):
            raise AttachError(f"Kprobe {to_bytes(ev_name)!r} is not attached")

    # -- tracepoints

    def attach_tracepoint(self, tp: Name, tp_re: Name, fn_name: Name) -> None:
        """Attach a function to ``category:name``, or to all tracepoints that match `tp_re`."""
        for point in self._find_tracepoints(tp_re) if tp_re else [to_bytes(tp)]:
            self._attach_tracepoint(point, fn_name)

    def _attach_tracepoint(self, tp: bytes, fn_name: Name) -> None:
        function = self._programs.load(fn_name, "TRACEPOINT")
        category, _, name = to_text(tp).partition(":")
        try:
            link = self._attacher.attach_tracepoint(function.program, category, name)
        except TraplineError as error:
            raise attach_failure(error, fn_name, f"tracepoint {tp!r}") from error
        self.tracepoints.replace(tp, to_bytes(fn_name), link)

    def detach_tracepoint(self, tp: Name) -> None:
        """Detach from ``category:name``."""
        if not self.tracepoints.remove(to_bytes(tp)):
            raise AttachError(f"Tracepoint {to_bytes(tp)!r} is not attached")

    def attach_raw_tracepoint(self, tp: Name, fn_name: Name) -> None:
        """Attach a function to a raw tracepoint."""
        key = to_bytes(tp)
        if key in self.raw_tracepoints.links:
            raise AttachError(f"Raw tracepoint {to_text(tp)} has been attached")
        function = self._programs.load(fn_name, "RAW_TRACEPOINT")
        try:
            link = self._attacher.attach_raw_tracepoint(function.program, to_text(tp))
        except TraplineError as error:
            raise attach_failure(error, fn_name, f"raw tracepoint {key!r}") from error
        self.raw_tracepoints.add(key, to_bytes(fn_name), link)

    def detach_raw_tracepoint(self, tp: Name) -> None:
        """Detach from a raw tracepoint."""
        if not self.raw_tracepoints.remove(to_bytes(tp)):
            raise AttachError(f"Raw tracepoint {to_text(tp)} is not attached")

    # -- trampolines

    def attach_trampoline(self, fn_name: Name, kind: str) -> None:
        """Attach a typed function (``kfunc__…``) to what its name says.

        Args:
            fn_name: the C name, with its prefix.
            kind: ``fentry``, ``fexit``, ``fmod_ret`` or ``lsm``.
        """
        prefix, spelled, expected, type_ = _TRAMPOLINES[kind]
        name = to_text(fn_name)
        if not name.startswith(prefix):
            fn_name, name = prefix + name, prefix + name
        key = to_bytes(name)
        if key in self.trampolines.links:
            raise AttachError(f"{spelled} probe {name} has been attached")
        attach = self._programs.info(name).attach
        if attach is None:
            raise AttachError(
                f"the name of {name} does not say what to attach to", hint=f"name it {prefix}vmlinux__FUNCTION"
            )
        target = f"{attach.module}:{attach.event}" if attach.module else attach.event
        function = self._programs.load(name, type_, expected, target)
        try:
            link = self._attacher.attach_trampoline(function.program, kind, attach.event, attach.module)
        except TraplineError as error:
            raise AttachError(f"Failed to attach BPF to entry {spelled}: {error.message}", hint=error.hint) from error
        self.trampolines.add(key, key, link)

    def detach_trampoline(self, fn_name: Name, kind: str) -> None:
        """Detach a typed function."""
        prefix, spelled, _, _ = _TRAMPOLINES[kind]
        name = to_text(fn_name)
        name = name if name.startswith(prefix) else prefix + name
        if not self.trampolines.remove(to_bytes(name)):
            raise AttachError(f"{spelled} probe {name} is not attached")

    def run_iterator(self, fn_name: Name) -> bytes:
        """Run a ``BPF_ITER`` program over all objects that its name says; return what it wrote."""
        attach = self._programs.info(fn_name).attach
        if attach is None or attach.kind != "iter":
            raise AttachError(f"{to_text(fn_name)} is no iterator", hint="declare it with BPF_ITER(TARGET)")
        function = self._programs.load(fn_name, "TRACING", "TRACE_ITER", attach.event)
        try:
            return self._attacher.run_iterator(function.program, attach.event)
        except TraplineError as error:
            raise attach_failure(error, fn_name, f"iterator {attach.event}") from error

    # -- perf events

    def attach_perf_event(
        self,
        ev_type: int,
        ev_config: int,
        fn_name: Name,
        *,
        sample_period: int = 0,
        sample_freq: int = 0,
        pid: int = -1,
        cpu: int = -1,
        attr: bytes = b"",
        group_fd: int = -1,
    ) -> None:
        """Run a function at every sample of a perf event, on one CPU or (-1) on every online one."""
        function = self._programs.load(fn_name, "PERF_EVENT")
        try:
            link = self._attacher.attach_perf_event(
                function.program,
                ev_type,
                ev_config,
                period=sample_period,
                frequency=sample_freq,
                pid=pid,
                cpu=cpu,
                attr=attr,
                group_fd=group_fd,
            )
        except TraplineError as error:
            raise attach_failure(error, fn_name, "perf event") from error
        self.perf_events.setdefault((ev_type, ev_config), []).append(link)

    def detach_perf_event(self, ev_type: int, ev_config: int) -> None:
        """Detach every function from a perf event."""
        links = self.perf_events.pop((ev_type, ev_config), None)
        if links is None:
            raise AttachError(f"Perf event type {ev_type} config {ev_config} not attached")
        for link in links:
            link.close()

    # -- all of them

    def autoload(self, fix_syscall: Callable[[str], str]) -> None:
        """Load and attach the functions whose names say where; in the order of their definition."""
        for name in self._programs.names:
            attach = self._programs.info(name).attach
            if attach is None or not attach.implicit:
                continue
            if attach.kind in ("kprobe", "kretprobe"):
                self.attach_kprobe(fix_syscall(attach.event), name, retprobe=attach.kind == "kretprobe")
            elif attach.kind == "tracepoint":
                self.attach_tracepoint(attach.event, b"", name)
            elif attach.kind == "raw_tracepoint":
                self.attach_raw_tracepoint(attach.event, name)
            elif attach.kind in _AUTOMATIC:
                self.attach_trampoline(name, _AUTOMATIC[attach.kind])

    def close(self) -> None:
        """Detach everything."""
        for table in (self.kprobes, self.tracepoints, self.raw_tracepoints, self.trampolines):
            table.close()
        for key in list(self.perf_events):
            self.detach_perf_event(*key)


# kind → prefix of the function's name, BCC's word, expected attach type, program type.
_TRAMPOLINES = {
    "fentry": ("kfunc__", "kfunc", "TRACE_FENTRY", "TRACING"),
    "fexit": ("kretfunc__", "kretfunc", "TRACE_FEXIT", "TRACING"),
    "fmod_ret": ("kmod_ret__", "fmod_ret", "MODIFY_RETURN", "TRACING"),
    "lsm": ("lsm__", "LSM", "LSM_MAC", "LSM"),
}
_AUTOMATIC = {"kfunc": "fentry", "kretfunc": "fexit", "lsm": "lsm"}
