"""The public Python API: the engine bound to the bpftrace language.  Re-exported by `trapline`."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from trapline.engine.cache import Cache
from trapline.engine.child import Child
from trapline.engine.compile import Compiled, Dump, Translated, compile_source, options_key
from trapline.engine.host import live_target
from trapline.frontends.bpftrace.config import CompileOptions, Setting, settings_from_environment, split_arguments
from trapline.hints import TYPE_CHECKING
from trapline.runtime.output.protocol import Items, Location, Output
from trapline.runtime.output.sink import Sink
from trapline.runtime.output.text import TextOutput
from trapline.source import Source

if TYPE_CHECKING:
    from types import TracebackType

    from trapline.engine.session import EngineSession
    from trapline.ir.spec import FaultSite, MapSpec
    from trapline.ir.target import Target
    from trapline.kernel.missed import MissedHits
    from trapline.runtime.maps import MapView
    from trapline.runtime.typed import TypedEvent
    from trapline.source import Diagnostic

# What differs in every run, and so keeps a program that uses it out of the compile cache.
_PER_RUN = ("cpid", ":bpf:")
_USER_PROBE = re.compile(r"\b(?:u|ur|U|uprobe|uretprobe|usdt):")


class TraplineWarning(UserWarning):
    """Something about a run that its results do not show: lost events, missed hits, failing helper calls."""


class Session:
    """Trace with a program of the bpftrace language.

    A context manager: leaving it detaches everything.  Many sessions can live in one process.

        with trapline.Session('kprobe:do_nanosleep { printf("%s %d", comm, pid) }') as session:
            for event in session.events(timeout=10):
                print(event.comm, event.pid, event.nsecs)

    Args:
        program: the program's text.
        args: the script's arguments (``$1`` …).
        pid: trace only this process; the run ends when it ends.
        command: run this command (no shell) while the probes are attached; the run ends when it ends. User probes
            (uprobe, uretprobe, usdt) see its own process only, other probes every process.
        unsafe: allow what can harm the system (raw addresses, ``system()``, ``signal()``).
        config: settings by name (``max_map_keys``), stronger than the program's own and the environment's.
        name: what messages call the program.
        output: shows what the program prints; ``None`` makes printed values events (see `events`).
        report_faults: 1 reports failing map look-ups too, 2 all failing helper calls.
        cache: use the compile cache.
        dump: receives (stage, text) of the compiler's stages.
        keep: tells by its label whether an attach point is wanted.
        include_dirs: folders to search for the C headers that the program includes; those of ``CPATH`` come after.
        includes: C headers that are included before the program.
        mode: ``test`` or ``bench``: compile the blocks of that kind, too.

    Raises:
        SourceError: the program is wrong; its text shows where.
        TargetError: this machine lacks a probe, a feature or a privilege.
        VerifierError: the kernel rejected the program.
    """

    def __init__(
        self,
        program: str,
        *,
        args: Sequence[str] = (),
        pid: int | None = None,
        command: str | None = None,
        unsafe: bool = False,
        config: Mapping[str, Setting] | None = None,
        name: str = "stdin",
        output: Output | None = None,
        report_faults: int = 0,
        cache: bool = True,
        dump: Dump | None = None,
        keep: Callable[[str], bool] | None = None,
        include_dirs: Sequence[str] = (),
        includes: Sequence[str] = (),
        mode: str = "",
    ) -> None:
        from trapline.engine.session import EngineSession

        self._queue: deque[TypedEvent] = deque()
        self._printing = False
        self.output: Output = output if output is not None else _LibraryOutput()
        child = Child(command) if command is not None else None
        try:
            source = Source(name, program)
            positional, named = split_arguments(args)
            # Without uprobe_multi, the program itself tells the command's hits from those of other processes.
            filters = _USER_PROBE.search(program) is not None and not live_target().has("uprobe_multi")
            options = CompileOptions(
                positional=positional,
                named=named,
                pid=pid or 0,
                settings={**settings_from_environment(os.environ), **(config or {})},
                typed_events=output is None,
                unsafe=unsafe,
                warnings=report_faults,
                child_pid=child.pid if child and (filters or "cpid" in program) else 0,
                include_dirs=(*include_dirs, *(d for d in os.environ.get("CPATH", "").split(":") if d)),
                includes=tuple(includes),
                mode=mode,
            )
            per_run = options.child_pid != 0 or any(word in program for word in _PER_RUN)
            compiled = compile_program(source, options, cache=cache and not per_run, dump=dump)
            self.warnings: tuple[Diagnostic, ...] = compiled.warnings
            self._engine = EngineSession(
                compiled.object,
                live_target(),
                self.output,
                pid=pid,
                child=child,
                on_event=self._deliver if output is None else None,
                report_faults=report_faults > 0,
                verifier_log=dump is not None,
                keep=keep,
            )
        except BaseException:
            if child is not None:
                child.close()
            raise

    def _deliver(self, event: TypedEvent) -> None:
        if self._printing:
            self.output.printf(event.raw_text)
        else:
            self._queue.append(event)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def attach(self) -> int:
        """Attach all probes and let the command run; `events` and `run` do it when it was not done.

        Returns:
            How many probes are attached.

        Raises:
            TargetError: a probe cannot be attached: there is no such function, it is not traceable …; nothing stays
                attached.
        """
        count = self._engine.attach()
        self._engine.release()
        return count

    def events(self, timeout: float | None = None) -> Iterator[TypedEvent]:
        """Yield what the program prints, a `TypedEvent` for each ``printf`` or ``print(value)``, until the run ends.

        The run ends with ``exit()``, `stop`, the end of the command or the process.

        Args:
            timeout: end the iteration when this many seconds pass without an event; iterate again to go on.
        """
        if not isinstance(self.output, _LibraryOutput):
            raise ValueError("a session with an output has no events: it prints them")
        self.attach()
        yield from self._engine.events(self._queue, timeout)

    def run(self) -> int:
        """Print what the program prints, until the run ends, and then its maps, as the command line does.

        Returns:
            What the program gave to ``exit()``, else 0.
        """
        self._printing = True
        self.attach()
        return self._engine.run()

    def stop(self) -> None:
        """End the run soon; may be called from a signal handler or another thread."""
        self._engine.stop()

    def finish(self) -> None:
        """Detach, handle what was sent before, run the ``end`` probes; maps can still be read."""
        self._engine.finish()

    def close(self) -> None:
        """Detach and free everything; closing twice is allowed."""
        self._engine.close()

    @property
    def maps(self) -> Mapping[str, MapView]:
        """The program's maps by name (``@x``), as mappings with Python keys and values."""
        return self._engine.maps

    @property
    def lost(self) -> Mapping[str, int]:
        """Events that did not fit into the ring buffer, by probe; exact."""
        return self._engine.lost

    @property
    def missed(self) -> list[MissedHits]:
        """Hits that the kernel did not pass on, by probe, as far as this kernel counts them."""
        return self._engine.missed

    @property
    def engine(self) -> EngineSession:
        """The language-blind session underneath."""
        return self._engine


def compile_program(
    source: Source,
    options: CompileOptions | None = None,
    *,
    target: Target | None = None,
    cache: bool = True,
    dump: Dump | None = None,
) -> Compiled:
    """Compile a program of the bpftrace language to an `ObjectSpec`.

    Args:
        source: the program.
        options: positional parameters, settings and so on.
        target: the machine to compile for; the running kernel by default.
        cache: use the compile cache.
        dump: receives (stage, text) of the compiler's stages.

    Raises:
        SourceError, TargetError: as for `Session`.
    """
    chosen = options or CompileOptions()

    def frontend(source: Source, target: Target) -> Translated:
        from trapline.frontends.bpftrace.compile import compile_program as compile_bpftrace

        result = compile_bpftrace(source, target, chosen, dump=dump)
        return Translated(result.module, result.warnings, result.files)

    return compile_source(
        source,
        frontend,
        target or live_target(),
        options=options_key(chosen),
        cache=Cache.default() if cache else None,
        dump=dump,
    )


def list_program(source: Source, *, args: Sequence[str] = (), unsafe: bool = False, pid: int = 0) -> list[str]:
    """List the attach points of a program, wildcards expanded.

    Args:
        source: the program.
        args: the script's arguments (``$1`` …).
        unsafe: allow what can harm the system.
        pid: list for this process.

    Raises:
        SourceError, TargetError: as for `Session`.
    """
    from trapline.frontends.bpftrace.compile import list_attach_points

    options = CompileOptions(positional=tuple(args), unsafe=unsafe, pid=pid)
    return list(list_attach_points(source, live_target(), options))


def probes(pattern: str = "*") -> list[str]:
    """List the probes of this machine that match a pattern (``kprobe:vfs_*``, ``tracepoint:syscalls:*``), sorted.

    Raises:
        TargetError: tracefs is not mounted, or may not be read.
    """
    from trapline.engine.listing import list_probes

    return [row.name for row in list_probes(pattern, live_target())]


class _LibraryOutput(TextOutput):
    """What a program prints besides events goes to stdout; everything about the run itself is a Python warning."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._ended = False
        super().__init__(Sink(1), Sink(2), quiet=True)

    def lost_events(self, count: int) -> None:
        """Wait for the total."""

    def lost_total(self, counts: Mapping[str, int]) -> None:
        """Warn how many events were lost."""
        for probe, count in counts.items():
            _warn(f"lost {count} events of {probe}: the ring buffer was full")

    def missed_hits(self, probe: str, count: int, cause: str) -> None:
        """Warn how many hits the kernel did not pass on."""
        _warn(f"missed {count} hits of {probe}: {cause}")

    def fault(self, site: FaultSite, count: int, result: int, location: Location | None) -> None:
        """Warn of failing helper calls."""
        from trapline.runtime.output.protocol import fault_message

        _warn(f"{location.text + ': ' if location else ''}{fault_message(site, result)} ({count} times)")

    def warning(self, text: str) -> None:
        """Warn."""
        _warn(text)

    def end(self) -> None:
        """Print no maps from here on: they can be read."""
        self._ended = True

    def map(self, spec: MapSpec, items: Items) -> None:
        """Print a map when the program asks for it."""
        if not self._ended:
            super().map(spec, items)


def _warn(text: str) -> None:
    warnings.warn(text, TraplineWarning, stacklevel=2)


__all__: list[str] = ["Session", "TraplineWarning", "compile_program", "list_program", "live_target", "probes"]
