"""Run a program: compile, attach, print until it ends."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

from trapline.cli.identity import NOTIFY, take_name
from trapline.cli.messages import check_colour_setting, print_error, print_message, print_warnings
from trapline.cli.options import UsageError
from trapline.cli.service import notify
from trapline.errors import SourceError, TraplineError, VerifierError
from trapline.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from trapline.api import Session
    from trapline.cli.modes import ModeRun
    from trapline.cli.options import Arguments
    from trapline.runtime.output.protocol import Output

EXIT_SETTING = 2  # an environment variable holds what its setting cannot take
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
        raise TraplineError(f"failed to open file '{found.file}': {error.strerror}") from None


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
            raise TraplineError(f'Failed to open output file: "{found.output}": {error.strerror}') from None
        stack.callback(os.close, target)
    return target


def run_program(found: Arguments) -> int:
    """Run what the command line asks for; returns the exit code."""
    take_name()
    check_colour_setting()
    with ExitStack() as stack:
        return _run_program(found, stack)


def _run_program(found: Arguments, stack: ExitStack) -> int:
    unknown = [stage for stage in found.debug if stage not in _STAGES]
    if unknown:
        raise UsageError(f"USAGE: invalid option for -d: {unknown[0]}", hint=f"stages are {', '.join(_STAGES)}")
    from trapline.api import Session
    from trapline.frontends.bpftrace.config import settings_from_environment

    name, text = read_program(found)
    try:
        settings_from_environment(os.environ)
    except SourceError as error:
        print_error(error)
        return EXIT_SETTING
    if found.mode == "codegen":
        return _compile_only(found, name, text)
    wanted = _filter(found.probe_filter)
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
            dump=make_dump(found),
            include_dirs=found.include_dirs,
            includes=found.includes,
            mode=found.mode if special else "",
            config={"print_maps_on_exit": False} if special else None,
            keep=wanted,
        )
    except VerifierError as error:
        _explain(error, verbose=found.verbose > 0)
        return 1
    with session:
        if not found.no_warnings:
            print_warnings(session.warnings)
        if {"verifier", "all"} & set(found.debug):
            for program, log in session.engine.verifier_logs:
                sys.stdout.write(f"\nBPF verifier log for {program}:\n{'-' * 38}\n{log.rstrip()}\n")
        sys.stdout.flush()
        if special is not None:
            gc.enable()
            return special.run(session)
        return _run(session, found)


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
    compiled = compile_program(Source(name, text), options, dump=make_dump(found))
    if not found.no_warnings:
        print_warnings(compiled.warnings)
    return 0


def _filter(pattern: str | None) -> Callable[[str], bool] | None:
    if pattern is None:
        return None
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise TraplineError(
            f"Invalid --probe-filter regex '{pattern}': {error}", hint="a backslash takes a character's meaning away"
        ) from None
    return lambda label: found.search(label) is not None


def _run(session: Session, found: Arguments) -> int:
    # A signal that comes while attaching must not be lost: it ends the run as soon as it starts.
    handlers = {number: signal.signal(number, lambda *_: session.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda *_: session.engine.signal())
    try:
        if found.verbose:
            for label in session.engine.places:
                sys.stderr.write(f"Attaching '{label}' probe\n")
        try:
            count = session.engine.attach()
        except TraplineError as error:
            print_error(error)
            return 1
        if found.dry_run:
            return 0
        session.output.attached_probes(count)
        session.output.flush()
        if os.environ.get(NOTIFY):
            sys.stdout.write(NOTIFY + "\n")
            sys.stdout.flush()
        notify("READY=1")
        session.engine.release()
        gc.enable()  # see `trapline.cli.main`
        code = session.engine.run()
        notify("STOPPING=1")
        return code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def make_dump(found: Arguments) -> Callable[[str, str], None] | None:
    """Return what receives the compiler's stages: ``-d`` prints them, ``--emit-…`` write them to files."""
    files = {"elf": found.emit_elf}
    if found.emit_llvm is not None:
        files |= {"codegen": found.emit_llvm + ".original.ll", "codegen-opt": found.emit_llvm + ".optimized.ll"}
    stages = [stage for stage in _STAGES if stage in found.debug or "all" in found.debug]
    if not stages and not any(files.values()):
        return None

    def dump(stage: str, text: str) -> None:
        if stage in stages:
            sys.stdout.write(f"\n{stage}\n{'-' * len(stage)}\n{text.rstrip()}\n")
        path = files.get(stage)
        if path is not None:
            _write(path, text.encode("latin-1" if stage == "elf" else "utf-8"))

    return dump


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise TraplineError(f"cannot write '{path}': {error.strerror}") from None


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
