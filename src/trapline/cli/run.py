"""Run a program: compile, attach, print until it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from trapline.cli.messages import print_message, print_warnings
from trapline.cli.options import UsageError
from trapline.errors import TraplineError, VerifierError

if TYPE_CHECKING:
    from trapline.api import Session
    from trapline.cli.modes import ModeRun
    from trapline.cli.options import Arguments
    from trapline.runtime.output.protocol import Output

_STAGES = ("ast", "types", "ir", "codegen", "codegen-opt", "dis", "libbpf", "verifier", "parse", "all")


def read_program(found: Arguments) -> tuple[str, str]:
    """Return (name, text) of the program; ``-e`` and ``-`` are called ``stdin``, as in bpftrace.

    Raises:
        TraplineError: the file cannot be read or is not text.
    """
    if found.program is not None:
        return "stdin", found.program
    assert found.file is not None
    try:
        if found.file == "-":
            return "stdin", sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
        with open(found.file, "rb") as file:
            return found.file, file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise TraplineError(f"cannot read the program '{found.file}': {error.strerror}") from None


def make_output(found: Arguments, stack: ExitStack) -> Output:
    """Return where and how the run prints; `stack` closes the file of ``-o``."""
    from trapline.runtime.output.sink import Sink

    target = open_output(found, stack)
    out, err = Sink(target, found.buffering or "line"), Sink(2, "none")
    if found.format == "json":
        from trapline.runtime.output.json import JsonOutput

        return JsonOutput(out, quiet=found.quiet, warnings=not found.no_warnings)
    from trapline.runtime.output.text import TextOutput

    return TextOutput(out, err, quiet=found.quiet, warnings=not found.no_warnings)


def open_output(found: Arguments, stack: ExitStack) -> int:
    """Return the descriptor of stdout, or of the file of ``-o``, which `stack` closes."""
    target = 1
    if found.output is not None:
        try:
            target = os.open(found.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise TraplineError(f"cannot write to '{found.output}' (-o): {error.strerror}") from None
        stack.callback(os.close, target)
    return target


def run_program(found: Arguments) -> int:
    """Run what the command line asks for; returns the exit code."""
    with ExitStack() as stack:
        return _run_program(found, stack)


def _run_program(found: Arguments, stack: ExitStack) -> int:
    unknown = [stage for stage in found.debug if stage not in _STAGES]
    if unknown:
        raise UsageError(f"-d: no stage '{unknown[0]}'", hint=f"stages are {', '.join(_STAGES)}")
    from trapline.api import Session

    name, text = read_program(found)
    if found.mode == "codegen":
        return _compile_only(found, name, text)
    wanted = re.compile(found.probe_filter) if found.probe_filter is not None else None
    special: ModeRun | None = None
    if found.mode in ("test", "bench"):
        from trapline.cli.modes import ModeRun

        special = ModeRun(found, stack)
    try:
        session = Session(
            text,
            args=found.operands,
            pid=found.pid,
            command=found.command,
            unsafe=found.unsafe,
            name=name,
            output=special.output if special else make_output(found, stack),
            report_faults=found.warnings,
            dump=_make_dump(found.debug) if found.debug else None,
            include_dirs=found.include_dirs,
            includes=found.includes,
            mode=found.mode if special else "",
            config={"print_maps_on_exit": False} if special else None,
            keep=None if wanted is None else lambda label: wanted.search(label) is not None,
        )
    except VerifierError as error:
        _explain(error, verbose=found.verbose > 0)
        return 1
    with session:
        if not found.no_warnings:
            print_warnings(session.warnings)
        if found.debug and {"verifier", "all"} & set(found.debug):
            for program, log in session.engine.verifier_logs:
                sys.stdout.write(f"\nVerifier log: {program}\n{log}\n")
        if found.debug:
            return 0
        if special is not None:
            return special.run(session)
        return _run(session, dry_run=found.dry_run)


def _compile_only(found: Arguments, name: str, text: str) -> int:
    from trapline.api import compile_program
    from trapline.frontends.bpftrace.config import CompileOptions, settings_from_environment
    from trapline.source import Source

    options = CompileOptions(
        positional=found.operands,
        pid=found.pid or 0,
        settings=settings_from_environment(os.environ),
        unsafe=found.unsafe,
        warnings=found.warnings,
        include_dirs=(*found.include_dirs, *(d for d in os.environ.get("CPATH", "").split(":") if d)),
        includes=found.includes,
    )
    compiled = compile_program(Source(name, text), options, dump=_make_dump(found.debug) if found.debug else None)
    if not found.no_warnings:
        print_warnings(compiled.warnings)
    return 0


def _run(session: Session, *, dry_run: bool) -> int:
    # A signal that comes while attaching must not be lost: it ends the run as soon as it starts.
    handlers = {number: signal.signal(number, lambda *_: session.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda *_: session.engine.signal())
    try:
        count = session.engine.attach()
        session.output.attached_probes(count)
        if os.environ.get("__BPFTRACE_NOTIFY_PROBES_ATTACHED"):
            session.output.printf(b"__BPFTRACE_NOTIFY_PROBES_ATTACHED\n")
            session.output.flush()
        if dry_run:
            return 0
        session.engine.release()
        return session.engine.run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _make_dump(stages: tuple[str, ...]) -> Callable[[str, str], None]:
    def dump(stage: str, text: str) -> None:
        if stage in stages or "all" in stages:
            sys.stdout.write(f"\n{stage}\n{'-' * len(stage)}\n{text.rstrip()}\n")

    return dump


def _explain(error: VerifierError, *, verbose: bool) -> None:
    """Print a rejection: the place in the program, the summary, and the log on request."""
    from trapline.source import Diagnostic, Span

    hints = [error.hint] if error.hint else []
    if not verbose:
        hints.append("-v shows the verifier's log")
    span = error.span if isinstance(error.span, Span) else None
    print_message(Diagnostic(error.message, span, hints=tuple(hints)).render())
    if verbose:
        sys.stderr.write(error.log.rstrip() + "\n")
