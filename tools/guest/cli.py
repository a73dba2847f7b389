"""Run one command in a disposable guest, or keep a guest and run many in it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.guest.errors import GuestError, GuestTimeoutError
from tools.guest.machine import BOOT_TIMEOUT_S, RESULTS, Command, Guest, GuestSpec, Sink, state_folder

EXIT_TIMEOUT = 124
EXIT_GUEST = 125


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, do what they say, and return the exit code.

    The command's own exit code is passed on (128 + N when signal N ended it); 124 means that it took too long, 125
    that the guest failed.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.action(options)
    except GuestTimeoutError as error:
        print(f"guest: {error}", file=sys.stderr)
        return EXIT_TIMEOUT
    except GuestError as error:
        print(f"guest: {error}", file=sys.stderr)
        return EXIT_GUEST
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.guest", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    boot = argparse.ArgumentParser(add_help=False)
    boot.add_argument("--kernel", default="6.1", help="series or release (default: %(default)s)")
    boot.add_argument("--cpus", type=int, default=2, help="virtual CPUs (default: %(default)s)")
    boot.add_argument("--nodes", type=int, default=1, help="NUMA nodes (default: %(default)s)")
    boot.add_argument("--memory", type=int, default=3072, metavar="MIB", help="memory (default: %(default)s)")
    boot.add_argument("--append", default="", help="more words for the kernel command line")
    boot.add_argument("--results", default=str(RESULTS), help="folder that the guest may write (default: %(default)s)")
    boot.add_argument("--boot-timeout", type=float, default=BOOT_TIMEOUT_S, metavar="S", help="(default: %(default)s)")

    command = argparse.ArgumentParser(add_help=False)
    command.add_argument("--timeout", type=float, default=600.0, metavar="S", help="(default: %(default)s)")
    command.add_argument("--cwd", default=os.getcwd(), help="where the command starts (default: here)")
    command.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="variable for the command")
    command.add_argument("-v", "--verbose", action="store_true", help="say on stderr how long the boot took")
    command.add_argument("command", nargs="+", metavar="COMMAND", help="after --")

    run = actions.add_parser("run", parents=[boot, command], help="boot, run one command, stop")
    run.set_defaults(action=_run)
    start = actions.add_parser("start", parents=[boot], help="boot a guest and leave it running")
    start.add_argument(
        "--idle", type=int, default=5400, metavar="S", help="power off when unused (default: %(default)s)"
    )
    start.add_argument("--name", help="its name (default: the kernel)")
    start.set_defaults(action=_start)
    execute = actions.add_parser("exec", parents=[command], help="run a command in a started guest")
    stop = actions.add_parser("stop", help="end a started guest")
    console = actions.add_parser("console", help="print the console of a started guest")
    for action, function in ((execute, _exec), (stop, _stop), (console, _console)):
        action.add_argument("--name", "--kernel", default="6.1", help="the guest (default: %(default)s)")
        action.set_defaults(action=function)
    return parser


def _spec(options: argparse.Namespace, *, hold: bool, idle_s: int) -> GuestSpec:
    return GuestSpec(
        kernel=options.kernel,
        cpus=options.cpus,
        memory_mb=options.memory,
        nodes=options.nodes,
        append=options.append,
        results=str(Path(options.results).resolve()),
        idle_s=idle_s,
        hold=hold,
    )


def _run(options: argparse.Namespace) -> int:
    state = Path(tempfile.mkdtemp(prefix="trapline-guest-"))
    begun = time.monotonic()
    try:
        with Guest.start(_spec(options, hold=True, idle_s=0), state, options.boot_timeout) as guest:
            if options.verbose:
                print(f"guest: kernel {options.kernel} up in {time.monotonic() - begun:.1f} s", file=sys.stderr)
            return _relay(guest, options)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _start(options: argparse.Namespace) -> int:
    name = options.name or options.kernel
    if Guest.find(state_folder(name)) is not None:
        print(f"guest: {name} runs already", file=sys.stderr)
        return 0
    begun = time.monotonic()
    Guest.start(_spec(options, hold=False, idle_s=options.idle), state_folder(name), options.boot_timeout)
    print(f"guest: {name} up in {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return 0


def _exec(options: argparse.Namespace) -> int:
    return _relay(_find(options), options)


def _stop(options: argparse.Namespace) -> int:
    _find(options).stop()
    return 0


def _console(options: argparse.Namespace) -> int:
    sys.stdout.write(_find(options).console)
    return 0


def _find(options: argparse.Namespace) -> Guest:
    guest = Guest.find(state_folder(options.name))
    if guest is None:
        raise GuestError(
            f"no guest {options.name} runs; start it with: python -m tools.guest start --kernel {options.name}"
        )
    return guest


def _relay(guest: Guest, options: argparse.Namespace) -> int:
    """Run the command with our stdout and stderr; pass SIGINT and SIGTERM on, the third time kill it."""
    env = dict(item.partition("=")[::2] for item in options.env)
    with guest.start_command(options.command, cwd=options.cwd, env=env) as command:
        if sys.stdin is None or sys.stdin.isatty():
            command.write_stdin(b"")
        else:
            _send_stdin(command)
        seen = 0

        def pass_on(number: int, _frame: object) -> None:
            nonlocal seen
            seen += 1
            if seen > 2:
                raise KeyboardInterrupt
            command.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = command.wait(_writer(1), _writer(2), options.timeout)
        except KeyboardInterrupt:
            code = -signal.SIGKILL
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _send_stdin(command: Command) -> None:
    """Send what is in our stdin when it is a file; anything else could keep us waiting for ever."""
    if os.path.isfile("/proc/self/fd/0"):
        while data := os.read(0, 65536):
            command.write_stdin(data)
    command.write_stdin(b"")


def _writer(fd: int) -> Sink:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    return write
